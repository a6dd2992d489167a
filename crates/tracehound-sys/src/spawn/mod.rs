//! Making a process that is traced from before its first instruction.
//!
//! The thread that traces must not make the process: a fork copies the page tables
//! of a large host (45 ms at 4 GiB), and a vfork sleeps until the exec, which the
//! tracer thread has to attend to. So another thread [launches](Launch::run), and the
//! child waits at a futex until the tracer thread has seized it:
//!
//! 1. The child's pid is announced in a shared page and the tracer thread woken: by the child
//!    itself if it is vforked, which holds up its maker, else by the maker.
//! 2. The tracer thread seizes it and lets it [go](Launch::go), or [aborts](Launch::abort).
//! 3. The child becomes what the [`Program`] says and calls execve(2). `PTRACE_EVENT_EXEC`
//!    is success; an error number in the page, and the child's death, is failure.
//!
//! The child may be killed at any moment, before it has announced itself, too, or in the middle
//! of waking the tracer thread. Then its maker, whom the child's end wakes, does what it has not.
//!
//! No SIGSTOP, no pipe: the child sees nothing of it. `clone(CLONE_VM | CLONE_VFORK)` is
//! used, which costs the same in a host of any size, and fork(2) for programs with
//! closures to run in the child (they may do anything, on memory of their own), for those that
//! are held before their exec (the launching thread sleeps until the exec) and for those that
//! become another user: whoever changes its user makes the memory that it runs in undumpable,
//! which would be this program's.
//!
//! Not used: std's `Command`, whose `spawn` waits for the exec and whose `Child::wait`
//! takes the stops of a traced child; `PTRACE_TRACEME`, which attaches to the thread
//! that forked; a SIGSTOP to hold the child, which leaves a phantom group-stop.

mod child;
mod handshake;
mod program;

use std::io;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;

use crate::ptrace::SyscallEntry;
use crate::wake::Interrupter;
use crate::{Result, Tid};
use handshake::{Handshake, State};

pub use program::{PreExec, Program};

/// One launch: a program and the state that its child shares with its tracer.
#[derive(Debug)]
pub struct Launch {
    program: Program,
    closures: Mutex<Vec<PreExec>>,
    handshake: Handshake,
    fork: bool,
}

/// How far a launch has come, as the tracer thread sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No child yet.
    Pending,
    /// This child waits to be seized.
    Announced(Tid),
    /// No child could be made.
    Failed(Errno),
}

impl Launch {
    /// A launch of this program, running the closures in the child before its exec.
    ///
    /// `hold_before_exec` says that the child may be held at the entry of its execve
    /// for long.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(program: Program, closures: Vec<PreExec>, hold_before_exec: bool) -> Result<Self> {
        let fork = hold_before_exec || !closures.is_empty() || program.changes_user();
        Ok(Launch {
            program,
            closures: Mutex::new(closures),
            handshake: Handshake::new()?,
            fork,
        })
    }

    /// Makes the child. Blocks until it has called exec or ended, unless it was forked.
    ///
    /// The calling thread must block all signals. `tracer` is woken when the child has
    /// announced itself and when it could not be made. A child whose launch was aborted is
    /// reaped here.
    pub fn run(&self, tracer: &Interrupter) {
        let made = if self.fork {
            let mut closures = self.closures.lock().unwrap_or_else(PoisonError::into_inner);
            let made = child::fork(&self.program, &mut closures, &self.handshake);
            if let Ok(pid) = made {
                // The child's copy of the interrupter is of no use to it.
                self.handshake.announce(pid.as_raw());
                tracer.interrupt();
            }
            made
        } else {
            child::vfork(&self.program, &self.handshake, tracer)
        };
        match made {
            Ok(pid) => {
                if !self.fork {
                    self.attend_to_dead(pid, tracer);
                }
                if self.handshake.wait_while_announced() == State::Aborted {
                    child::reap(pid);
                }
            }
            Err(errno) => {
                self.handshake.fail(errno);
                tracer.interrupt();
            }
        }
    }

    /// The child has called exec or ended. If nobody has answered it, it was killed: perhaps
    /// before it announced itself, or while it woke the tracer.
    fn attend_to_dead(&self, pid: Tid, tracer: &Interrupter) {
        if self.handshake.give_up() {
            child::reap(pid);
        }
        if matches!(self.handshake.state(), State::Announced | State::Failed) {
            tracer.insist();
        }
    }

    /// How far the launch has come.
    pub fn progress(&self) -> Progress {
        match self.handshake.state() {
            State::New => Progress::Pending,
            State::Failed => Progress::Failed(self.handshake.errno()),
            State::Aborted => Progress::Failed(Errno::ECANCELED),
            State::Announced | State::Go => Progress::Announced(self.handshake.pid()),
        }
    }

    /// Lets the child, now seized, go on to its exec.
    pub fn go(&self) {
        self.handshake.advance(State::Go);
    }

    /// Tells the child, which could not be seized, to end; [`run`](Self::run) reaps it.
    pub fn abort(&self) {
        self.handshake.advance(State::Aborted);
    }

    /// Why the child ended without an exec.
    pub fn error(&self) -> io::Error {
        match self.handshake.errno() {
            // It was killed.
            Errno::UnknownErrno => io::Error::new(
                io::ErrorKind::Interrupted,
                "the process was killed before its exec",
            ),
            errno => errno.into(),
        }
    }

    /// Whether this system call is the child's execve of the program.
    pub fn is_exec(&self, entry: &SyscallEntry) -> bool {
        entry.sysno() == Some(syscalls::Sysno::execve)
            && entry.args[1] == self.program.argv_address()
    }
}

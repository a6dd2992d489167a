//! Making a process that is traced from before its first instruction.
//!
//! 1. The child is made, and waits at a futex.
//! 2. The tracer thread seizes it and lets it [go](Launch::go), or [aborts](Launch::abort).
//! 3. The child becomes what the [`Program`] says and calls execve(2). `PTRACE_EVENT_EXEC`
//!    is success; an error number in shared memory, and the child's death, is failure.
//! 4. A [`Guest`] gets its [signal mask](Launch::mask) in that stop.
//!
//! The child may be killed at any moment. No SIGSTOP, no pipe: it sees nothing of all this.
//!
//! The tracer thread makes it as a [`Guest`], in a few dozen microseconds in a host of any size.
//! Some are made by fork(2), on [another thread](Launch::run): a fork copies the page tables of a
//! large host (45 ms at 4 GiB). Those with closures to run in the child, which may do anything, on
//! memory of their own; those that are held before their exec, for how long nobody knows; and
//! those that become another user: whoever changes its user makes the memory that it runs in
//! undumpable, which would be this program's.
//!
//! Not used: std's `Command`, whose `spawn` waits for the exec and whose `Child::wait`
//! takes the stops of a traced child; `PTRACE_TRACEME`, which attaches to the thread
//! that forked; a SIGSTOP to hold the child, which leaves a phantom group-stop; vfork, whose
//! maker sleeps until the exec, so that a thread of its own had to make all children, one after
//! the other, and an exec that hung held up all others.

mod child;
mod guest;
mod handshake;
mod program;

use std::io;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;

use crate::ptrace::SyscallEntry;
use crate::wake::Interrupter;
use crate::{Result, SignalSet, Tid};
use handshake::{Handshake, State};

pub use guest::Guest;
pub use program::{PreExec, Program};

/// One launch: a program and the state that its child shares with its tracer.
#[derive(Debug)]
pub struct Launch {
    program: Program,
    closures: Mutex<Vec<PreExec>>,
    handshake: Handshake,
    maker: Tid,
    forks: bool,
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
        let forks = hold_before_exec || !closures.is_empty() || program.changes_user();
        Ok(Launch {
            program,
            closures: Mutex::new(closures),
            handshake: match forks {
                true => Handshake::mapped()?,
                false => Handshake::here(),
            },
            maker: Tid::current_process(),
            forks,
        })
    }

    /// Whether the child is forked, by [`run`](Self::run); else it is a [`Guest`].
    pub fn forks(&self) -> bool {
        self.forks
    }

    /// Forks the child, and waits until it is answered. The calling thread must block all signals.
    /// `tracer` is woken when the child is there, and when it could not be made. A child whose
    /// launch was aborted is reaped here.
    pub fn run(&self, tracer: &Interrupter) {
        let mut closures = self.closures.lock().unwrap_or_else(PoisonError::into_inner);
        match child::fork(&self.program, &mut closures, &self.handshake) {
            Ok(pid) => {
                self.handshake.announce(pid);
                tracer.interrupt();
                if self.handshake.wait() == State::Aborted {
                    child::reap(pid);
                }
            }
            Err(errno) => {
                self.handshake.fail(errno);
                tracer.interrupt();
            }
        }
    }

    /// How far the launch of one that is forked has come.
    pub fn progress(&self) -> Progress {
        match self.handshake.state() {
            State::New => Progress::Pending,
            State::Failed => Progress::Failed(self.handshake.errno()),
            State::Aborted => Progress::Failed(Errno::ECANCELED),
            State::Announced | State::Go => Progress::Announced(self.handshake.pid()),
        }
    }

    /// The signals that the program starts with blocked. A [`Guest`] does not set them itself.
    pub fn mask(&self) -> SignalSet {
        self.program.mask
    }

    /// Lets the child, now seized, go on to its exec.
    pub fn go(&self) {
        self.handshake.advance(State::Go);
    }

    /// Tells the child, which could not be seized, to end. [`run`](Self::run) or [`Guest::reap`]
    /// reaps it.
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

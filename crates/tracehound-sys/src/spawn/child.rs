//! The child, from its making to its exec.
//!
//! A vforked child shares all memory with its parent: everything here is
//! async-signal-safe, allocates nothing and takes no lock. System calls that the C
//! library would apply to all threads (setuid and its kind) are made directly.

use std::ffi::{c_int, c_void};
use std::ptr;

use nix::errno::Errno;

use super::handshake::{Handshake, State};
use super::program::{PreExec, Program};
use crate::wake::Interrupter;
use crate::{Result, Tid, seccomp};

/// Enough for the child's few frames and a signal frame.
const STACK: usize = 64 * 1024;

/// What a failed child ends with. Nobody sees it: the tracer reports the error.
const FAILED: c_int = 127;

struct Task<'a> {
    program: &'a Program,
    handshake: &'a Handshake,
    /// Who is told of a child that holds up its maker.
    tracer: Option<&'a Interrupter>,
    parent: i32,
}

/// Makes the child by `clone(CLONE_VM | CLONE_VFORK)`; returns when it has called exec
/// or ended.
pub(super) fn vfork(program: &Program, handshake: &Handshake, tracer: &Interrupter) -> Result<Tid> {
    let mut stack = Vec::<u128>::with_capacity(STACK / size_of::<u128>());
    let task = Task {
        program,
        handshake,
        tracer: Some(tracer),
        parent: Tid::current_process().as_raw(),
    };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the end of an allocation of STACK bytes, aligned as u128 is: the top of
    // a stack that grows down.
    let top = unsafe { stack.as_mut_ptr().byte_add(STACK) };
    // SAFETY: the parent sleeps until the child has left this memory, so the stack and
    // the task outlive it; the child keeps to async-signal-safe calls.
    let pid = unsafe {
        libc::clone(
            vforked,
            top.cast(),
            flags,
            (&raw const task).cast_mut().cast(),
        )
    };
    Errno::result(pid).map(Tid::from_raw)
}

extern "C" fn vforked(task: *mut c_void) -> c_int {
    // SAFETY: `vfork` passes its task, which lives as long as the child runs here.
    let task = unsafe { &*task.cast::<Task<'_>>() };
    run(task, &mut [])
}

/// Makes the child by fork(2), and runs the closures there.
pub(super) fn fork(
    program: &Program,
    closures: &mut [PreExec],
    handshake: &Handshake,
) -> Result<Tid> {
    let task = Task {
        program,
        handshake,
        tracer: None,
        parent: Tid::current_process().as_raw(),
    };
    // SAFETY: the child only runs `run`, which keeps to what a forked child of a
    // threaded process may do, and the closures, whose maker vouched for them.
    match unsafe { libc::fork() } {
        0 => {
            let code = run(&task, closures);
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(code) }
        }
        pid => Errno::result(pid).map(Tid::from_raw),
    }
}

/// Takes the status of a child that was never traced.
pub(super) fn reap(pid: Tid) {
    let mut status = 0;
    // SAFETY: `status` is an int that outlives the call.
    while unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) } < 0
        && Errno::last() == Errno::EINTR
    {}
}

/// All that the child does. Returns only if there was no exec.
fn run(task: &Task<'_>, closures: &mut [PreExec]) -> c_int {
    reset_handlers();
    // A child that waits for a tracer which has died would wait for ever.
    // SAFETY: prctl and getppid with numbers.
    let orphaned = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::getppid() != task.parent && libc::getppid() != 0
    };
    if orphaned {
        return FAILED;
    }
    if let Some(tracer) = task.tracer {
        // SAFETY: takes and gives numbers.
        task.handshake.announce(unsafe { libc::getpid() });
        tracer.interrupt();
    }
    if task.handshake.wait_while_announced() != State::Go {
        return FAILED;
    }
    let errno = match become_program(task.program, closures) {
        Ok(()) => exec(task.program),
        Err(errno) => errno,
    };
    task.handshake.set_errno(errno);
    FAILED
}

/// A handler of the host must not run in the child, which is about to unblock all
/// signals. What is ignored stays ignored, as across any exec; SIGPIPE, which Rust
/// programs ignore, is what std makes of it.
fn reset_handlers() {
    for signal in 1..=crate::SIGNAL_MAX {
        // SAFETY: zero is a value of every field, and means SIG_DFL.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: writes the present action to `action`; fails for signals that are
        // the C library's own, whose handlers need their signals sent.
        let known = unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) } == 0;
        let default = action.sa_sigaction == libc::SIG_DFL;
        let ignored = action.sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE;
        if known && !default && !ignored {
            // SAFETY: zero is a value of every field, and means SIG_DFL.
            let action: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: sets a default action; the child's table is its own.
            unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
        }
    }
}

fn check(result: libc::c_long) -> std::result::Result<(), c_int> {
    if result < 0 {
        Err(Errno::last_raw())
    } else {
        Ok(())
    }
}

/// The filter; then descriptors, identity, directory, signals, in std's order.
fn become_program(program: &Program, closures: &mut [PreExec]) -> std::result::Result<(), c_int> {
    use std::os::fd::AsRawFd;
    if let Some(filter) = &program.filter {
        seccomp::install(filter)?;
    }
    for (target, source) in (0..).zip(&program.stdio) {
        if let Some(source) = source {
            // SAFETY: duplicates an open descriptor onto one of the child's.
            check(unsafe { libc::dup2(source.as_raw_fd(), target) }.into())?;
        }
    }
    if let Some(gid) = program.gid {
        // SAFETY: takes a number.
        check(unsafe { libc::syscall(libc::SYS_setgid, gid) })?;
    }
    if let Some(uid) = program.uid {
        // SAFETY: takes numbers; an empty list needs no pointer.
        unsafe {
            if libc::getuid() == 0 {
                check(libc::syscall(libc::SYS_setgroups, 0, ptr::null::<u32>()))?;
            }
            check(libc::syscall(libc::SYS_setuid, uid))?;
        }
    }
    if let Some(directory) = &program.directory {
        // SAFETY: reads a string that ends in NUL.
        check(unsafe { libc::chdir(directory.as_ptr()) }.into())?;
    }
    if let Some(group) = program.process_group {
        // SAFETY: takes numbers.
        check(unsafe { libc::setpgid(0, group) }.into())?;
    }
    // SAFETY: takes numbers. From here on the child is its tracer's business.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) };
    // SAFETY: reads a live set; only the child's mask changes.
    unsafe {
        libc::sigprocmask(libc::SIG_SETMASK, program.mask.as_raw(), ptr::null_mut());
    }
    for closure in closures {
        (closure.0)().map_err(|error| error.raw_os_error().unwrap_or(libc::EINVAL))?;
    }
    Ok(())
}

/// Tries the files in turn, as execvp(3) does; gives the error if none would do.
fn exec(program: &Program) -> c_int {
    let mut refused = false;
    let mut errno = libc::ENOENT;
    for file in &program.files {
        // SAFETY: strings that end in NUL and arrays that end in null. The look
        // before the call keeps failed execs out of sight of a tracer.
        unsafe {
            let only = program.files.len() == 1;
            if only || libc::access(file.as_ptr(), libc::X_OK) == 0 {
                libc::execve(file.as_ptr(), program.argv(), program.envp());
            }
        }
        errno = Errno::last_raw();
        match errno {
            libc::EACCES => refused = true,
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            _ => return errno,
        }
    }
    if refused { libc::EACCES } else { errno }
}

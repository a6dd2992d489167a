//! The child, from its making to its exec.
//!
//! One that is not forked shares all memory with its maker, which runs on meanwhile, and with
//! it the thread-local storage of the thread that made it. So everything here is
//! async-signal-safe, allocates nothing, takes no lock, and makes its system calls directly:
//! the C library's functions would set that thread's errno, and apply some calls (setuid and
//! its kind) to all threads.

use std::ffi::c_int;
use std::os::fd::AsRawFd;
use std::ptr;

use nix::errno::Errno;
use syscalls::{Sysno, syscall};

use super::handshake::{Handshake, State};
use super::program::{PreExec, Program};
use crate::{Result, Tid, seccomp};

/// Whose memory the child runs in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// A copy of its own. It resets the host's handlers and sets its signal mask.
    Copied,
    /// Its maker's. All signals stay blocked, so that no handler runs; its tracer sets the mask
    /// at its exec, which resets the handlers.
    Shared,
}

/// What a failed child ends with. Nobody sees it: the tracer reports the error.
const FAILED: c_int = 127;

/// Makes the child by fork(2), and runs the closures there.
pub(super) fn fork(
    program: &Program,
    closures: &mut [PreExec],
    handshake: &Handshake,
) -> Result<Tid> {
    let maker = Tid::current_process();
    // SAFETY: the child only runs `run`, which keeps to what a forked child of a
    // threaded process may do, and the closures, whose maker vouched for them.
    match unsafe { libc::fork() } {
        0 => {
            let code = run(program, closures, handshake, maker, Memory::Copied);
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(code) }
        }
        pid => Errno::result(pid).map(Tid::from_raw),
    }
}

/// Takes the status of a child that was never traced, when it has ended.
pub(super) fn reap(pid: Tid) {
    let mut status = 0;
    // SAFETY: `status` is an int that outlives the call.
    while unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) } < 0
        && Errno::last() == Errno::EINTR
    {}
}

/// All that the child of this process does. Returns only if there was no exec.
pub(super) fn run(
    program: &Program,
    closures: &mut [PreExec],
    handshake: &Handshake,
    maker: Tid,
    memory: Memory,
) -> c_int {
    match memory {
        Memory::Copied => reset_handlers(),
        Memory::Shared => reset(libc::SIGPIPE),
    }
    if is_orphaned(maker) || handshake.wait() != State::Go {
        return FAILED;
    }
    let errno = match become_program(program, closures, memory) {
        Ok(()) => exec(program),
        Err(errno) => errno,
    };
    handshake.set_errno(errno);
    FAILED
}

/// Whether the maker has died. Whose does later, dies with it: a child that waits for a tracer
/// which has died would wait for ever.
fn is_orphaned(maker: Tid) -> bool {
    // SAFETY: takes numbers.
    let _ = unsafe { syscall!(Sysno::prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: takes nothing.
    let parent = unsafe { syscall!(Sysno::getppid) };
    // In a process namespace of its own its maker has no number.
    parent.is_ok_and(|parent| parent != maker.as_raw() as usize && parent != 0)
}

/// The signals before the real-time ones.
const STANDARD_SIGNALS: c_int = 31;

/// A handler of the host must not run in the child, which is about to unblock all
/// signals. What is ignored stays ignored, as across any exec; but for SIGPIPE, which Rust
/// programs ignore: its default is what std gives to children.
fn reset_handlers() {
    // Between the two ranges are the C library's own.
    let real_time = libc::SIGRTMIN()..=crate::SIGNAL_MAX;
    for signal in (1..=STANDARD_SIGNALS).chain(real_time) {
        // SAFETY: zero is a value of every field, and means SIG_DFL.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: writes the present action to `action`. It never fails, so errno stays.
        let known = unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) } == 0;
        let default = action.sa_sigaction == libc::SIG_DFL;
        let ignored = action.sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE;
        if known && !default && !ignored {
            reset(signal);
        }
    }
}

fn reset(signal: c_int) {
    // SAFETY: zero is a value of every field, and means SIG_DFL.
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: sets a default action; the child's table is its own. It does not fail, so errno
    // stays.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
}

/// The filter; then descriptors, identity, directory, signals, in std's order.
fn become_program(
    program: &Program,
    closures: &mut [PreExec],
    memory: Memory,
) -> std::result::Result<(), c_int> {
    if let Some(filter) = &program.filter {
        seccomp::install(filter)?;
    }
    set_up(program, memory).map_err(syscalls::Errno::into_raw)?;
    for closure in closures {
        (closure.0)().map_err(|error| error.raw_os_error().unwrap_or(libc::EINVAL))?;
    }
    Ok(())
}

fn set_up(program: &Program, memory: Memory) -> std::result::Result<(), syscalls::Errno> {
    for (target, source) in (0_usize..).zip(&program.stdio) {
        if let Some(source) = source {
            // SAFETY: duplicates an open descriptor onto another one, of the child's.
            unsafe { syscall!(Sysno::dup3, source.as_raw_fd(), target, 0) }?;
        }
    }
    if let Some(gid) = program.gid {
        // SAFETY: takes a number.
        unsafe { syscall!(Sysno::setgid, gid) }?;
    }
    if let Some(uid) = program.uid {
        // SAFETY: takes nothing.
        if unsafe { syscall!(Sysno::getuid) }? == 0 {
            // SAFETY: an empty list needs no pointer.
            unsafe { syscall!(Sysno::setgroups, 0, 0) }?;
        }
        // SAFETY: takes a number.
        unsafe { syscall!(Sysno::setuid, uid) }?;
    }
    if let Some(directory) = &program.directory {
        // SAFETY: reads a string that ends in NUL.
        unsafe { syscall!(Sysno::chdir, directory.as_ptr()) }?;
    }
    if let Some(group) = program.process_group {
        // SAFETY: takes numbers.
        unsafe { syscall!(Sysno::setpgid, 0, group) }?;
    }
    // SAFETY: takes numbers. From here on the child is its tracer's business.
    unsafe { syscall!(Sysno::prctl, libc::PR_SET_PDEATHSIG, 0) }?;
    if memory == Memory::Copied {
        let mask = program.mask.bits();
        let (how, mask) = (libc::SIG_SETMASK, &raw const mask);
        // SAFETY: reads a live set of the kernel's size; only the child's mask changes.
        unsafe { syscall!(Sysno::rt_sigprocmask, how, mask, 0, size_of::<u64>()) }?;
    }
    Ok(())
}

/// Tries the files in turn, as execvp(3) does; gives the error if none would do.
fn exec(program: &Program) -> c_int {
    let mut refused = false;
    let mut errno = libc::ENOENT;
    let only = program.files.len() == 1;
    for file in &program.files {
        let file = file.as_ptr();
        // SAFETY: strings that end in NUL and arrays that end in null. The look
        // before the call keeps failed execs out of sight of a tracer.
        let result = unsafe {
            match only {
                true => Ok(0),
                false => syscall!(Sysno::faccessat, libc::AT_FDCWD, file, libc::X_OK),
            }
            .and_then(|_| syscall!(Sysno::execve, file, program.argv(), program.envp()))
        };
        // There is no other result of an exec that returns.
        errno = result
            .err()
            .map_or(libc::ENOEXEC, syscalls::Errno::into_raw);
        match errno {
            libc::EACCES => refused = true,
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            _ => return errno,
        }
    }
    if refused { libc::EACCES } else { errno }
}

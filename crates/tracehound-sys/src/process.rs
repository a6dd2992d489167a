//! Whole processes: signals to them, and waiting for those that are not traced.
//!
//! A pidfd names a process for as long as the descriptor is open, whatever becomes of
//! its number.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::process::ExitStatus;

use nix::errno::Errno;

use crate::wait::{Target, WaitStatus, poll_with_usage};
use crate::{ResourceUsage, Result, Signal, Tid, Usage};

/// Sends a signal to a process: kill(2). The id of any of its threads will do.
///
/// # Errors
///
/// `ESRCH` if there is no such process, also for an id that names no thread (zero and
/// negative numbers never reach kill(2), where they mean groups).
pub fn signal_process(pid: Tid, signal: Signal) -> Result<()> {
    if !pid.is_valid() {
        return Err(Errno::ESRCH);
    }
    // SAFETY: kill takes numbers only.
    Errno::result(unsafe { libc::kill(pid.as_raw(), signal.as_raw()) }).map(drop)
}

/// Whether there is a process or thread with this id, be it a zombie, whoever it belongs to:
/// kill(2) with no signal.
pub fn process_exists(pid: Tid) -> bool {
    // SAFETY: kill takes numbers only.
    pid.is_valid() && Errno::result(unsafe { libc::kill(pid.as_raw(), 0) }) != Err(Errno::ESRCH)
}

/// Sends a signal to one thread: tgkill(2).
///
/// # Errors
///
/// `ESRCH` if the process has no such thread.
pub fn signal_thread(pid: Tid, tid: Tid, signal: Signal) -> Result<()> {
    // SAFETY: tgkill takes numbers only, and refuses those that are not positive.
    let result = unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            pid.as_raw(),
            tid.as_raw(),
            signal.as_raw(),
        )
    };
    Errno::result(result).map(drop)
}

/// A descriptor of a process: pidfd_open(2), Linux 5.3.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens the process with this id.
    ///
    /// # Errors
    ///
    /// `ESRCH`, `EMFILE`, `ENFILE`, `ENOSYS`.
    pub fn open(pid: Tid) -> Result<Self> {
        // SAFETY: pidfd_open takes numbers only.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
        // SAFETY: a new descriptor, which nobody else knows.
        Ok(Pidfd(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// Sends a signal: pidfd_send_signal(2), Linux 5.1.
    ///
    /// # Errors
    ///
    /// `ESRCH` if it is dead and reaped.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // SAFETY: the siginfo may be null; the rest are numbers.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal.as_raw(),
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        Errno::result(result).map(drop)
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Takes the exit status of a child that is not traced, if it has ended, and what it has
/// used.
///
/// # Errors
///
/// `ECHILD` if it is no child of this process, or was waited for.
pub fn reap(pid: Tid) -> Result<Option<(ExitStatus, Option<ResourceUsage>)>> {
    let report = poll_with_usage(Target::One(pid), libc::WEXITED, Usage::Wanted)?;
    Ok(report.and_then(|report| match report.status {
        WaitStatus::Dead(status) => Some((status, report.usage)),
        _ => None,
    }))
}

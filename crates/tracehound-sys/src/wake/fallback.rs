//! Without assembly: the check and the call are two steps, so a signal between
//! them is lost, and is sent again until the wait has ended.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// No SA_RESTART: the call must fail with EINTR, since nothing else ends it.
pub(super) const HANDLER_FLAGS: libc::c_int = 0;

/// There is no section.
pub(super) fn section() -> Option<Range<usize>> {
    None
}

/// Makes the system call unless the flag is set, which gives `-EINTR`.
///
/// # Safety
///
/// The arguments must be what the system call takes.
pub(super) unsafe fn check_and_call(
    flag: &AtomicU32,
    number: libc::c_long,
    args: &[usize; 6],
) -> isize {
    if flag.load(Ordering::SeqCst) != 0 {
        return -(libc::EINTR as isize);
    }
    let [a, b, c, d, e, f] = *args;
    // SAFETY: the caller vouches for the arguments.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 {
        return -(nix::errno::Errno::last_raw() as isize);
    }
    result as isize
}

/// There is no section to leave.
pub(super) fn leave_section(_context: &mut libc::ucontext_t) -> bool {
    false
}

/// Sends until the thread has left its wait.
pub(super) fn send(waiting: &AtomicU32, send: impl Fn()) {
    while waiting.load(Ordering::SeqCst) == 1 {
        send();
        std::thread::sleep(Duration::from_micros(50));
    }
}

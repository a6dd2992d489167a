//! The signal mask of the calling thread.

use crate::Signal;

fn set_of(signals: impl IntoIterator<Item = Signal>) -> libc::sigset_t {
    // SAFETY: zero is a value of every field; sigemptyset then makes it a set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is live and writable.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in signals {
        // SAFETY: `set` is an initialized set; an invalid number is refused.
        unsafe { libc::sigaddset(&raw mut set, signal.as_raw()) };
    }
    set
}

fn change(how: libc::c_int, set: &libc::sigset_t) {
    // SAFETY: `set` is live; no old set is asked for. It fails only for a wrong
    // `how`.
    unsafe { libc::pthread_sigmask(how, set, std::ptr::null_mut()) };
}

/// Blocks every signal but these in the calling thread: no handler of the host runs
/// there.
pub fn block_all_but(open: &[Signal]) {
    let all = (1..=crate::SIGNAL_MAX)
        .map(Signal::from_raw)
        .filter(|signal| !open.contains(signal));
    change(libc::SIG_SETMASK, &set_of(all));
}

/// Takes these signals out of the calling thread's mask.
pub fn unblock(signals: &[Signal]) {
    change(libc::SIG_UNBLOCK, &set_of(signals.iter().copied()));
}

//! The signal mask of the calling thread.

use std::cell::Cell;

use crate::{Signal, SignalSet};

thread_local! {
    /// The mask that the thread had before [`block_all_but`].
    static BEFORE: Cell<Option<SignalSet>> = const { Cell::new(None) };
}

/// The mask that a program started by the calling thread gets, as from std: the thread's
/// own. A thread that blocked everything for its own purposes passes on what it had before.
pub fn mask_for_children() -> SignalSet {
    BEFORE.get().unwrap_or_else(current_mask)
}

fn current_mask() -> SignalSet {
    let mut now = set_of([]);
    // SAFETY: without a new set the call only writes the present one to `now`.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut now) };
    let is_in = |signal: &Signal| {
        // SAFETY: the set is initialized; the number is valid.
        unsafe { libc::sigismember(&raw const now, signal.as_raw()) == 1 }
    };
    all().filter(is_in).collect()
}

fn all() -> impl Iterator<Item = Signal> {
    (1..=crate::SIGNAL_MAX).map(Signal::from_raw)
}

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

/// Gives the mask before.
fn change(how: libc::c_int, set: &libc::sigset_t) -> libc::sigset_t {
    let mut before = set_of([]);
    // SAFETY: `set` is live, `before` writable. It fails only for a wrong `how`.
    unsafe { libc::pthread_sigmask(how, set, &raw mut before) };
    before
}

/// Blocks every signal but these in the calling thread: no handler of the host runs
/// there.
pub fn block_all_but(open: &[Signal]) {
    BEFORE.set(Some(current_mask()));
    let others = all().filter(|signal| !open.contains(signal));
    change(libc::SIG_SETMASK, &set_of(others));
}

/// Calls this with every signal blocked in the calling thread.
pub(crate) fn without_signals<T>(f: impl FnOnce() -> T) -> T {
    let before = change(libc::SIG_SETMASK, &set_of(all()));
    let result = f();
    change(libc::SIG_SETMASK, &before);
    result
}

/// Takes these signals out of the calling thread's mask.
pub fn unblock(signals: &[Signal]) {
    change(libc::SIG_UNBLOCK, &set_of(signals.iter().copied()));
}

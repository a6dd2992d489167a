//! Who wants the thread's attention, and whether it has to be interrupted for that.
//!
//! The thread says that it waits, then looks whether somebody wants it; the others say that they
//! want it, then look whether it waits. Either one sees the other, so no wake is lost; and of
//! several only the first makes a system call.
//!
//! Nothing here knows how the thread waits: `models` checks this file with loom.

use super::sync::{AtomicU32, Ordering, fence};

/// The flags of a thread that waits, and of those that wake it.
#[derive(Debug)]
pub(super) struct Flags {
    /// Set by whoever wants the thread's attention; the wait's check reads it.
    pub(super) pending: AtomicU32,
    /// Set by the thread while it is in a wait, or about to be.
    pub(super) waiting: AtomicU32,
}

impl Flags {
    pub(super) fn new() -> Self {
        Flags {
            pending: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
        }
    }

    /// Somebody wants attention. Gives whether the thread has to be interrupted.
    pub(super) fn raise(&self) -> bool {
        self.pending.swap(1, Ordering::SeqCst) == 0 && self.is_waiting()
    }

    /// The thread is about to look whether it is wanted, and to wait if not.
    pub(super) fn enter(&self) {
        self.waiting.store(1, Ordering::Relaxed);
        // The look must not pass the store: either it sees the flag, or the other side sees that
        // this thread waits.
        fence(Ordering::SeqCst);
    }

    /// The wait is over.
    pub(super) fn leave(&self) {
        self.waiting.store(0, Ordering::Relaxed);
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 1
    }

    pub(super) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Relaxed) != 0
    }

    /// Forgets what was raised; gives whether anything was. What was done before it was raised
    /// is seen after this.
    pub(super) fn acknowledge(&self) -> bool {
        self.is_pending() && self.pending.swap(0, Ordering::SeqCst) != 0
    }
}

//! What other threads have asked of a tracer thread, until it comes to it.
//!
//! One lock, held for no longer than a push or a swap. `models` checks this file with loom,
//! together with what wakes the thread.

use super::sync::{Instant, Mutex, MutexGuard};

pub(super) struct Queue<T>(Mutex<Inner<T>>);

struct Inner<T> {
    ops: Vec<T>,
    /// When the first of them came.
    since: Option<Instant>,
    /// The thread has ended, or is about to and takes no more.
    closed: bool,
}

/// The thread takes no more.
#[derive(Debug)]
pub(super) struct Closed;

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Queue(Mutex::new(Inner {
            ops: Vec::new(),
            since: None,
            closed: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    pub(super) fn push(&self, op: T) -> Result<(), Closed> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Closed);
        }
        inner.since.get_or_insert_with(Instant::now);
        inner.ops.push(op);
        Ok(())
    }

    /// Takes what is there, in place of the vector that is given; and since when the first of it
    /// has waited.
    pub(super) fn take(&self, into: &mut Vec<T>) -> Option<Instant> {
        let mut inner = self.lock();
        std::mem::swap(&mut inner.ops, into);
        inner.since.take()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Refuses everything from now on; gives what is there.
    pub(super) fn close(&self) -> Vec<T> {
        let mut inner = self.lock();
        inner.closed = true;
        std::mem::take(&mut inner.ops)
    }
}

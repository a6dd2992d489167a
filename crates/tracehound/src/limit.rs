//! How many tracees a tracer may have.
//!
//! A tracee that was handed out, or is about to be, has a seat, which it gives back when it ends
//! for the tracer. Who is only being let go has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// The limit of a tracer, which all its threads share.
#[derive(Debug)]
pub(crate) struct Limit {
    most: usize,
    taken: AtomicUsize,
}

/// The place of one tracee, until this is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Limit>);

impl Limit {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Limit {
            most,
            taken: AtomicUsize::new(0),
        })
    }

    /// Takes a place, if one is free.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Seat> {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        let taken = &self.taken;
        match taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Seat(Arc::clone(self))),
            Err(_) => Err(Error::TooManyTracees { most: self.most }),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

//! Global state that a forked child does not share.
//!
//! A child made by fork(2) has a copy of every lock, some of them held by threads that it
//! does not have. So it must not even try a lock of its parent: it makes a value of its
//! own. pthread_atfork(3) was rejected: its handlers would run in every fork of the host,
//! and would have to wait for all that the locks protect.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::{ForkGuard, Result};

/// A static whose value belongs to one process: a forked child makes another.
///
/// The values are never freed: one is made in each process that asks for it.
#[derive(Debug)]
pub struct PerProcess<T: 'static> {
    current: AtomicPtr<Owned<T>>,
    make: fn() -> T,
}

#[derive(Debug)]
struct Owned<T> {
    guard: ForkGuard,
    value: T,
}

impl<T: Sync> PerProcess<T> {
    /// A value that is made when it is first asked for.
    pub const fn new(make: fn() -> T) -> Self {
        PerProcess {
            current: AtomicPtr::new(ptr::null_mut()),
            make,
        }
    }

    /// The calling process's value.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` before Linux 4.14.
    pub fn get(&self) -> Result<&'static T> {
        let found = self.current.load(Ordering::Acquire);
        // SAFETY: the pointer is null or comes from a leaked box below.
        if let Some(owned) = unsafe { found.as_ref() }
            && !owned.guard.is_forked()
        {
            return Ok(&owned.value);
        }
        let fresh = Box::into_raw(Box::new(Owned {
            guard: ForkGuard::new()?,
            value: (self.make)(),
        }));
        let exchange =
            self.current
                .compare_exchange(found, fresh, Ordering::AcqRel, Ordering::Acquire);
        let winner = match exchange {
            Ok(_) => fresh,
            Err(other) => {
                // SAFETY: made above, and shared with nobody.
                drop(unsafe { Box::from_raw(fresh) });
                other
            }
        };
        // SAFETY: one that was put in its place is never freed, and not null. Another thread
        // can only have put one of this process.
        Ok(unsafe { &(*winner).value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    static NUMBER: PerProcess<Mutex<i32>> = PerProcess::new(|| Mutex::new(1));

    #[test]
    fn a_forked_child_finds_a_fresh_value() {
        let mut number = NUMBER.get().expect("a page").lock().expect("no panic");
        *number = 2;
        // SAFETY: the child allocates, which fork(2) of the C library provides for, and
        // takes no other lock.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let fresh = NUMBER.get().ok().and_then(|n| n.try_lock().ok());
            let code = fresh.map_or(100, |n| *n);
            // SAFETY: ends the child at once, without running anything else.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: `status` is an int that outlives the call.
        let reaped = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(reaped, child);
        assert_eq!(libc::WEXITSTATUS(status), 1);
        drop(number);
        assert_eq!(*NUMBER.get().expect("a page").lock().expect("no panic"), 2);
    }
}

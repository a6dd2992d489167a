//! Waiting for many threads with one wake-up.
//!
//! Each tracee wakes whoever waits for it. One task that waits for a thousand of them would
//! be woken a thousand times, and look at all of them each time. So all get the same waker,
//! which does nothing but be dropped, and the last drop wakes the task.
//!
//! `join_all` of a future for each wakes for each, too, if only to poll that one.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Poll, Wake, Waker};

use crate::slot::{Phase, Slot};

/// Resolves when none of these tracees is in such a phase.
///
/// Takes the place of whoever waited for one of them.
pub(super) async fn none(mut slots: Vec<Arc<Slot>>, is_in: impl Fn(Phase) -> bool) {
    let mut former = Weak::<Last>::new();
    poll_fn(|cx| {
        // All are looked at again. Else this would wake itself for ever, by taking the place of
        // the one that it left when something else had it polled.
        if let Some(former) = former.upgrade() {
            former.disarm();
        }
        let last = Arc::new(Last(Mutex::new(Some(cx.waker().clone()))));
        former = Arc::downgrade(&last);
        let waker = Waker::from(Arc::clone(&last));
        slots.retain(|slot| {
            let mut state = slot.lock();
            let stays = is_in(state.phase);
            if stays {
                state.waker = Some(waker.clone());
            }
            stays
        });
        if slots.is_empty() {
            last.disarm();
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// Wakes the task when the last reference to it is dropped. A tracee drops its own when it
/// would wake: with what it has to report, or to let another one wait.
struct Last(Mutex<Option<Waker>>);

impl Last {
    /// Wakes nobody any more.
    fn disarm(&self) -> Option<Waker> {
        let mut waker = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waker.take()
    }
}

impl Wake for Last {
    fn wake(self: Arc<Self>) {}

    fn wake_by_ref(self: &Arc<Self>) {}
}

impl Drop for Last {
    fn drop(&mut self) {
        if let Some(waker) = self.disarm() {
            waker.wake();
        }
    }
}

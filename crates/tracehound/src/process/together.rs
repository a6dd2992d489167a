//! Waiting for many threads with one wake-up.
//!
//! Each tracee wakes whoever waits for it. One task that waits for a thousand of them would
//! be woken a thousand times, and look at all of them each time. So all get the same waker,
//! which does nothing but be dropped, and the last drop wakes the task.
//!
//! `join_all` of a future for each wakes for each, too, if only to poll that one.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use crate::slot::{Phase, Slot};

/// Resolves when none of these tracees is in such a phase.
///
/// Takes the place of whoever waited for one of them.
pub(super) async fn none(mut slots: Vec<Arc<Slot>>, is_in: impl Fn(Phase) -> bool) {
    poll_fn(|cx| {
        let waker = Waker::from(Arc::new(Last(cx.waker().clone())));
        slots.retain(|slot| {
            let mut state = slot.lock();
            let stays = is_in(state.phase);
            if stays {
                state.waker = Some(waker.clone());
            }
            stays
        });
        match slots.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// Wakes the task when the last reference to it is dropped. A tracee drops its own when it
/// would wake: with what it has to report, or to let another one wait.
struct Last(Waker);

impl Wake for Last {
    fn wake(self: Arc<Self>) {}

    fn wake_by_ref(self: &Arc<Self>) {}
}

impl Drop for Last {
    fn drop(&mut self) {
        self.0.wake_by_ref();
    }
}

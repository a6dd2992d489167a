//! Dropping a future at one of its polls.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::until;

struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a future so many times, after the first only when it was woken; drops it. Gives
/// the output if that came first.
///
/// # Panics
///
/// If it is never woken.
pub async fn poll_and_drop<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let wakes = Arc::new(Wakes(AtomicUsize::new(1)));
    let waker = Waker::from(Arc::clone(&wakes));
    for poll in 0..polls {
        // The last one of an even number comes without being woken.
        if poll % 2 == 1 {
            until("a wake", || wakes.0.load(Ordering::SeqCst) > 0).await;
        }
        wakes.0.store(0, Ordering::SeqCst);
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
    }
    None
}

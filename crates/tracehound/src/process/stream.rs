//! The events of all threads of a process as one stream.
//!
//! `SelectAll` of the futures crate would do, but for one thing: it polls only what was
//! woken, and whoever takes a thread out by [`Process::thread`] and awaits its events
//! directly takes the wake-up, too. So a thread that was lent is polled again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures::stream::StreamExt;
use futures_core::Stream;
use tracehound_sys::Tid;

use super::{Key, Process};
use crate::event::Event;

/// Which threads are to be polled.
#[derive(Default)]
pub(super) struct Ready {
    state: Mutex<ReadyState>,
}

#[derive(Default)]
struct ReadyState {
    keys: VecDeque<Key>,
    waker: Option<Waker>,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, ReadyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the process's stream for one thread.
pub(super) struct ThreadWaker {
    key: Key,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl ThreadWaker {
    pub(super) fn new(key: Key, ready: &Arc<Ready>) -> Arc<Self> {
        Arc::new(ThreadWaker {
            key,
            queued: AtomicBool::new(false),
            ready: Arc::clone(ready),
        })
    }

    pub(super) fn queue(&self) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut state = self.ready.lock();
        state.keys.push_back(self.key);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.queue();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue();
    }
}

impl Process {
    /// Polls one thread.
    fn poll_thread(&mut self, key: Key) -> Poll<Option<(Tid, Event)>> {
        let Some(thread) = self.threads.get_mut(&key) else {
            return Poll::Pending;
        };
        thread.waker.queued.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&thread.waker));
        let event = ready!(
            thread
                .tracee
                .poll_next_unpin(&mut Context::from_waker(&waker))
        );
        let Some(event) = event else {
            self.threads.remove(&key);
            return Poll::Ready(None);
        };
        let tid = thread.tracee.tid();
        if event.is_terminal() {
            // At once: another thread may have its id by now.
            self.threads.remove(&key);
            return Poll::Ready(Some((tid, event)));
        }
        // Polled again when the next event is asked for: that resumes it.
        thread.waker.queue();
        let pid = self.pid;
        let born = event.birth().filter(|_| matches!(event, Event::Clone(_)));
        // A thread joins; a process stays with its parent, to be taken.
        let joins = born.and_then(|birth| thread.tracee.take_thread(birth, pid));
        if let Some(tracee) = joins {
            self.join(tracee);
        }
        Poll::Ready(Some((tid, event)))
    }
}

impl Stream for Process {
    type Item = (Tid, Event);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Each at most once: a thread whose turn was cut short by tokio's cooperative budget
        // wakes itself, and would again for as long as this task keeps the CPU.
        let turns = self.ready.lock().keys.len();
        for _ in 0..turns {
            let Some(key) = self.ready.lock().keys.pop_front() else {
                break;
            };
            if let Poll::Ready(Some(item)) = self.poll_thread(key) {
                return Poll::Ready(Some(item));
            }
        }
        if self.threads.is_empty() {
            return Poll::Ready(None);
        }
        let mut state = self.ready.lock();
        if state.keys.is_empty() {
            state.waker = Some(cx.waker().clone());
        } else {
            drop(state);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

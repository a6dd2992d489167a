//! All threads of a process as one.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures::future::join_all;
use futures::stream::StreamExt;
use futures_core::Stream;
use tracehound_sys::Tid;

use crate::error::{Error, Result};
use crate::event::Event;
use crate::tracee::Tracee;

/// The threads of an attached process.
///
/// A stream of the events of all its threads, each with the thread's id; asking for the
/// next one resumes the thread whose event was handed out last. Threads that are born join,
/// threads that end leave. Processes that it forks are not part of it: take them with
/// [`thread`](Process::thread) and [`take_child`](Tracee::take_child), or they are
/// detached.
///
/// Dropping it detaches all threads, which run on.
pub struct Process {
    pid: Tid,
    threads: BTreeMap<Key, Thread>,
    next_key: Key,
    ready: Arc<Ready>,
}

type Key = u64;

/// Which threads are to be polled.
///
/// `SelectAll` of the futures crate polls only what was woken. But whoever takes a thread
/// out by [`Process::thread`] and awaits its events directly takes the wake-up, too; so a
/// thread that was lent is polled again.
#[derive(Default)]
struct Ready {
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
struct ThreadWaker {
    key: Key,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl ThreadWaker {
    fn queue(&self) {
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

struct Thread {
    tracee: Tracee,
    waker: Arc<ThreadWaker>,
}

impl Process {
    pub(crate) fn new(pid: Tid, threads: Vec<Tracee>) -> Self {
        let mut process = Process {
            pid,
            threads: BTreeMap::new(),
            next_key: 0,
            ready: Arc::default(),
        };
        for tracee in threads {
            process.join(tracee);
        }
        process
    }

    fn join(&mut self, tracee: Tracee) {
        let key = self.next_key;
        self.next_key += 1;
        let waker = Arc::new(ThreadWaker {
            key,
            queued: AtomicBool::new(false),
            ready: Arc::clone(&self.ready),
        });
        waker.queue();
        self.threads.insert(key, Thread { tracee, waker });
    }

    /// The process id.
    pub fn pid(&self) -> Tid {
        self.pid
    }

    /// The threads that are traced.
    pub fn threads(&self) -> impl Iterator<Item = &Tracee> {
        self.threads.values().map(|thread| &thread.tracee)
    }

    /// The thread with this id. Events that are awaited on it directly do not come on the
    /// process's stream.
    pub fn thread(&mut self, tid: impl Into<Tid>) -> Option<&mut Tracee> {
        let tid = tid.into();
        let thread = self
            .threads
            .values_mut()
            .find(|thread| thread.tracee.tid() == tid)?;
        thread.waker.queue();
        Some(&mut thread.tracee)
    }

    /// The threads, each to be handled by itself.
    pub fn into_threads(self) -> Vec<Tracee> {
        self.threads.into_values().map(|t| t.tracee).collect()
    }

    /// Detaches every thread; they run on. Afterwards the stream gives their terminal
    /// events and ends.
    ///
    /// # Errors
    ///
    /// The first error of [`Tracee::detach`], after all have been tried. A thread that has
    /// ended is no error.
    ///
    /// # Cancel safety
    ///
    /// The detach cannot be recalled; dropping the future only stops waiting for it.
    pub async fn detach(&mut self) -> Result<()> {
        let detach = self.threads.values_mut().map(|thread| {
            thread.waker.queue();
            thread.tracee.detach()
        });
        join_all(detach)
            .await
            .into_iter()
            .find(|result| !matches!(result, Ok(()) | Err(Error::Gone(_) | Error::Detached(_))))
            .unwrap_or(Ok(()))
    }

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
        // Polled again when the next event is asked for: that resumes it.
        thread.waker.queue();
        let tid = thread.tracee.tid();
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
        loop {
            if self.threads.is_empty() {
                return Poll::Ready(None);
            }
            let key = {
                let mut state = self.ready.lock();
                match state.keys.pop_front() {
                    Some(key) => key,
                    None => {
                        state.waker = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                }
            };
            if let Poll::Ready(Some(item)) = self.poll_thread(key) {
                return Poll::Ready(Some(item));
            }
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("pid", &self.pid)
            .field("threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}

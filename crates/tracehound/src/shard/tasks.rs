//! Tasks that run on the tracer thread, between two waits.
//!
//! A tokio `LocalSet`, polled by the reaper's loop. Its waker notes that there is
//! something to poll and, when fired on another thread, interrupts the wait. The thread
//! is inside `Handle::block_on` of the host's runtime, so tokio's timers and sockets work
//! in the tasks, and a nested `block_on`, which would stop the shard for ever, is refused
//! with a panic of that task; the guard of `futures::executor` does the same for its own.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use pin_project_lite::pin_project;
use tokio::task::{AbortHandle, LocalSet};
use tracing::Instrument;

use super::{Local, Shard};
use crate::slot::Slot;

struct Woken {
    flag: AtomicBool,
    shard: Arc<Shard>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.flag.swap(true, Ordering::SeqCst) && !self.shard.is_current() {
            self.shard.interrupter().interrupt();
        }
    }
}

pub(super) struct Tasks {
    set: RefCell<Option<LocalSet>>,
    /// Somebody watches for tasks that block.
    watched: Cell<bool>,
    woken: Arc<Woken>,
    waker: Waker,
}

impl Tasks {
    pub(super) fn new(shard: Arc<Shard>) -> Self {
        let woken = Arc::new(Woken {
            // The first poll gives the set its waker.
            flag: AtomicBool::new(true),
            shard,
        });
        Tasks {
            set: RefCell::new(Some(LocalSet::new())),
            watched: Cell::new(false),
            waker: Waker::from(Arc::clone(&woken)),
            woken,
        }
    }

    /// Whether a task is ready to run.
    pub(super) fn ready(&self) -> bool {
        self.woken.flag.load(Ordering::SeqCst)
    }

    /// Runs the tasks that are ready, up to tokio's number for one turn.
    pub(super) fn poll(&self) {
        if !self.woken.flag.swap(false, Ordering::SeqCst) {
            return;
        }
        // Taken out: a task may spawn others while it runs.
        let Some(mut set) = self.set.take() else {
            return;
        };
        self.woken.shard.run_tasks(|| {
            let _ = Pin::new(&mut set).poll(&mut Context::from_waker(&self.waker));
        });
        self.set.replace(Some(set));
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) -> AbortHandle {
        let handle = match &*self.set.borrow() {
            Some(set) => set.spawn_local(task),
            // Called by a task, while the set is being polled.
            None => tokio::task::spawn_local(task),
        };
        handle.abort_handle()
    }

    /// Ends all tasks, whose destructors run now.
    pub(super) fn clear(&self) {
        let set = self.set.take();
        drop(set);
    }
}

pin_project! {
    /// A task that says whose it is while it is polled.
    struct Named<F> {
        slot: Arc<Slot>,
        #[pin]
        task: F,
    }
}

impl<F: Future<Output = ()>> Future for Named<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let polls = this.slot.shard.polls();
        polls.of(this.slot.tid());
        let polled = this.task.poll(cx);
        polls.of_nobody();
        polled
    }
}

impl Local {
    /// Starts the task of a tracee on this thread, in the tracee's span. Nothing is started once
    /// the thread is ending.
    pub(crate) fn spawn_task(
        &self,
        slot: Arc<Slot>,
        task: impl Future<Output = ()> + 'static,
    ) -> Option<AbortHandle> {
        if self.closing.get() {
            return None;
        }
        if !self.tasks.watched.replace(true)
            && let Some(handles) = self.shard.handles()
        {
            handles.watch_tasks();
        }
        self.tasks.woken.flag.store(true, Ordering::SeqCst);
        // Two kinds of tasks: a span that nobody wants costs each poll nothing.
        Some(match slot.observed.is_wanted() {
            true => {
                let task = task.instrument(slot.observed.span());
                self.tasks.spawn(Named { slot, task })
            }
            false => self.tasks.spawn(Named { slot, task }),
        })
    }
}

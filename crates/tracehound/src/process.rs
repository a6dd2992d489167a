//! All threads of a process as one.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::join_all;
use futures::stream::{SelectAll, StreamExt};
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
    threads: SelectAll<Thread>,
}

/// A tracee whose events carry its id, and which outlives its terminal event by one poll.
struct Thread(Tracee);

impl Stream for Thread {
    type Item = (Tid, Event);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = self.0.poll_next_unpin(cx);
        event.map(|event| event.map(|event| (self.0.tid(), event)))
    }
}

impl Process {
    pub(crate) fn new(pid: Tid, threads: Vec<Tracee>) -> Self {
        Process {
            pid,
            threads: threads.into_iter().map(Thread).collect(),
        }
    }

    /// The process id.
    pub fn pid(&self) -> Tid {
        self.pid
    }

    /// The threads that are traced.
    pub fn threads(&self) -> impl Iterator<Item = &Tracee> {
        self.threads.iter().map(|thread| &thread.0)
    }

    /// The thread with this id.
    pub fn thread(&mut self, tid: impl Into<Tid>) -> Option<&mut Tracee> {
        let tid = tid.into();
        self.threads
            .iter_mut()
            .map(|thread| &mut thread.0)
            .find(|tracee| tracee.tid() == tid)
    }

    /// The threads, each to be handled by itself.
    pub fn into_threads(self) -> Vec<Tracee> {
        self.threads.into_iter().map(|thread| thread.0).collect()
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
        let detached = join_all(self.threads.iter_mut().map(|thread| thread.0.detach())).await;
        detached
            .into_iter()
            .find(|result| !matches!(result, Ok(()) | Err(Error::Gone(_) | Error::Detached(_))))
            .unwrap_or(Ok(()))
    }

    /// A thread that was born joins; a process that was forked stays with its parent, to
    /// be taken.
    fn adopt(&mut self, tid: Tid, event: &Event) {
        let Event::Clone(birth) = event else {
            return;
        };
        let pid = self.pid;
        let child = self
            .thread(tid)
            .filter(|parent| {
                parent
                    .slot()
                    .lock()
                    .birth
                    .as_ref()
                    .is_some_and(|c| c.tgid() == pid)
            })
            .and_then(|parent| parent.take_child(birth));
        self.threads.extend(child.map(Thread));
    }
}

impl Stream for Process {
    type Item = (Tid, Event);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = self.threads.poll_next_unpin(cx);
        if let Poll::Ready(Some((tid, event))) = &item {
            self.adopt(*tid, event);
        }
        item
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

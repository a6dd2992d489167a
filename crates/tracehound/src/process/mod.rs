//! All threads of a process as one.

mod stop;
mod stream;
mod together;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tracehound_sys::Tid;

use self::stream::{Ready, ThreadWaker};
use crate::error::{Error, Result};
use crate::shard::{AttachPlan, Local, Shard};
use crate::slot::Phase;
use crate::tracee::Tracee;

/// The threads of an attached process.
///
/// A stream of the events of all its threads, each with the thread's id; asking for the
/// next one resumes the thread whose event was handed out last. Threads that are born join,
/// threads that end leave. Processes that it forks are not part of it: take them with
/// [`thread`](Process::thread) and [`take_child`](Tracee::take_child), or they are
/// let go.
///
/// # Cancel safety
///
/// No event is lost with a `next` that is dropped before it is ready. If it was polled, the
/// resumes that it began with are made all the same.
///
/// # Dropping
///
/// Dropping it detaches all threads, which run on; or it kills the process, if the tracer was
/// [told to](crate::TracerBuilder::let_go).
pub struct Process {
    pid: Tid,
    threads: BTreeMap<Key, Thread>,
    next_key: Key,
    ready: Arc<Ready>,
    shard: Arc<Shard>,
    /// For threads that are found later.
    plan: AttachPlan,
}

type Key = u64;

struct Thread {
    tracee: Tracee,
    waker: Arc<ThreadWaker>,
}

impl Thread {
    fn has_ended(&self) -> bool {
        matches!(self.tracee.slot().lock().phase, Phase::Ended(_))
    }
}

impl Process {
    pub(crate) fn new(pid: Tid, threads: Vec<Tracee>, shard: Arc<Shard>, plan: AttachPlan) -> Self {
        let mut process = Process {
            pid,
            threads: BTreeMap::new(),
            next_key: 0,
            ready: Arc::default(),
            shard,
            plan,
        };
        for tracee in threads {
            process.join(tracee);
        }
        process
    }

    fn join(&mut self, tracee: Tracee) {
        let key = self.next_key;
        self.next_key += 1;
        let waker = ThreadWaker::new(key, &self.ready);
        waker.queue();
        let tracee = tracee.handed_out();
        self.threads.insert(key, Thread { tracee, waker });
    }

    /// The process id.
    pub fn pid(&self) -> Tid {
        self.pid
    }

    /// The threads that are traced, with those whose terminal event was not handed out yet.
    pub fn threads(&self) -> impl Iterator<Item = &Tracee> {
        self.threads.values().map(|thread| &thread.tracee)
    }

    /// The thread with this id. Events that are awaited on it directly do not come on the
    /// process's stream.
    ///
    /// After an exec of another thread than the leader, the leader's id is that thread's.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchProcess`] if it is none of those that are traced.
    pub fn thread(&mut self, tid: impl Into<Tid>) -> Result<&mut Tracee> {
        let tid = tid.into();
        let named = self.threads.values_mut();
        let named = named.filter(|thread| thread.tracee.tid() == tid);
        // A leader that was replaced, and has not told so yet, has the id of who replaced it.
        let thread = named.min_by_key(|thread| thread.has_ended());
        let thread = thread.ok_or(Error::NoSuchProcess(tid))?;
        thread.waker.queue();
        Ok(&mut thread.tracee)
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
        let tracees = self.threads().filter(|t| t.may_detach().is_ok());
        let slots: Vec<_> = tracees.map(|t| Arc::clone(t.slot())).collect();
        let asked = slots.clone();
        let detach = move |local: &Local| asked.iter().for_each(|slot| local.let_go(slot));
        self.shard.run(detach)?;
        // The stream's wakers are replaced. First: this may be dropped.
        self.threads
            .values()
            .for_each(|thread| thread.waker.queue());
        together::none(slots, |phase| !matches!(phase, Phase::Ended(_))).await;
        self.threads()
            .map(Tracee::may_detach)
            .find(|result| !matches!(result, Ok(()) | Err(Error::Gone(_) | Error::Detached(_))))
            .unwrap_or(Ok(()))
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

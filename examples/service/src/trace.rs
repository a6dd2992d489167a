//! The life of a trace: it is started, its tracees are followed, it ends by itself or is told to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::future::AbortHandle;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracehound::{Control, Follow, ResumeMode, Tid, Tracee, Tracer};

use crate::error::{ApiError, ApiResult};
use crate::lock;
use crate::metrics::{Metrics, count};
use crate::now;
use crate::record::{End, Record, What};
use crate::request::{Plan, Target};
use crate::ring::Ring;
use crate::tree::{Counts, Node, Tree};
use crate::watch::{Life, watch};

/// How a trace is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    /// What is traced runs on.
    Detach,
    /// It is killed.
    Kill,
}

/// A trace.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) id: u64,
    pub(crate) plan: Plan,
    pub(crate) ring: Arc<Ring>,
    pub(crate) readers: AtomicUsize,
    pub(crate) metrics: Arc<Metrics>,
    limits: Limits,
    began: u64,
    /// When it has ended.
    done: OnceLock<u64>,
    tree: Mutex<Tree>,
    tasks: Mutex<Tasks>,
    ended: watch::Sender<Option<End>>,
}

/// What a trace may take.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Tracees at a time.
    pub(crate) max_tracees: usize,
    /// Places for those of all traces.
    pub(crate) tracees: Arc<Semaphore>,
    /// For how long a reader may hold it up without reading.
    pub(crate) max_block: Duration,
}

/// The tasks of the tracees.
#[derive(Debug)]
struct Tasks {
    running: HashMap<u64, Task>,
    last: u64,
    /// The first ones are not all there yet.
    starting: bool,
    stopping: Option<How>,
    /// How the first tracee has ended.
    first: Option<End>,
}

#[derive(Debug)]
struct Task {
    control: Control,
    abort: AbortHandle,
    _place: OwnedSemaphorePermit,
}

/// A trace as a client sees it.
#[derive(Debug, Serialize)]
pub(crate) struct Summary<'a> {
    id: u64,
    #[serde(flatten)]
    plan: &'a Plan,
    state: &'static str,
    end: Option<End>,
    began: u64,
    now: u64,
    tracees: usize,
    readers: usize,
    events: Events,
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    tree: Option<Vec<Node>>,
}

/// Which events are kept.
#[derive(Debug, Serialize)]
struct Events {
    oldest: u64,
    next: u64,
    overwritten: u64,
    policy: &'static str,
}

impl Trace {
    /// Starts a trace, which then runs by itself.
    pub(crate) async fn start(
        id: u64,
        plan: Plan,
        tracer: &Tracer,
        limits: Limits,
        metrics: Arc<Metrics>,
    ) -> ApiResult<Arc<Self>> {
        let trace = Arc::new(Trace {
            id,
            ring: Arc::new(Ring::new(plan.buffer)),
            plan,
            readers: AtomicUsize::new(0),
            metrics,
            limits,
            began: now(),
            done: OnceLock::new(),
            tree: Mutex::default(),
            tasks: Mutex::new(Tasks {
                running: HashMap::new(),
                last: 0,
                starting: true,
                stopping: None,
                first: None,
            }),
            ended: watch::Sender::new(None),
        });
        // The first has its place before it is there: else it would be let go.
        let Some(place) = trace.place() else {
            let message = "as many threads and processes are traced as there may be";
            return Err(ApiError::too_many("too-many-tracees", message));
        };
        match &trace.plan.target {
            Target::Command(command) => {
                let spawned = tracer.spawn(trace.plan.command(command)).await;
                // It is awaited without its handle, too.
                let (tracee, _child) = spawned?;
                trace.follow_at(Some(place), tracee, None);
            }
            Target::Pid(pid) => {
                let attach = tracer.attach(*pid).follow(Follow::Everything);
                let process = attach.resume_mode(ResumeMode::Syscall).await?;
                let mut place = Some(place);
                for thread in process.into_threads() {
                    trace.follow_at(place.take().or_else(|| trace.place()), thread, None);
                }
            }
        }
        lock(&trace.tasks).starting = false;
        trace.end_if_done();
        count(&trace.metrics.traces);
        Ok(trace)
    }

    /// A place for a tracee, if there is one among those of all traces.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.limits.tracees).try_acquire_owned().ok()
    }

    /// Starts the task of a tracee, if there is a place for it.
    pub(crate) fn follow(self: &Arc<Self>, tracee: Tracee, parent: Option<Tid>) {
        self.follow_at(self.place(), tracee, parent);
    }

    fn follow_at(
        self: &Arc<Self>,
        place: Option<OwnedSemaphorePermit>,
        tracee: Tracee,
        parent: Option<Tid>,
    ) {
        let (abort, aborted) = AbortHandle::new_pair();
        let control = tracee.control();
        let mut tasks = lock(&self.tasks);
        let place = place.filter(|_| tasks.running.len() < self.limits.max_tracees);
        let Some(place) = place.filter(|_| tasks.stopping != Some(How::Detach)) else {
            let is_told = tasks.stopping.is_none();
            drop(tasks);
            if is_told {
                count(&self.metrics.unfollowed);
                self.tree(|tree| tree.counts.unfollowed += 1);
            }
            // It is let go.
            return;
        };
        if tasks.stopping == Some(How::Kill) {
            // An error: it has died already.
            let _ = control.kill();
        }
        tasks.last += 1;
        let number = tasks.last;
        let task = Task {
            control,
            abort,
            _place: place,
        };
        tasks.running.insert(number, task);
        drop(tasks);
        count(&self.metrics.tracees);
        let life = Life::new(Arc::clone(self), number, &tracee, parent);
        drop(tracee.spawn_pinned(move |tracee| watch(tracee, life, aborted)));
    }

    /// The task of a tracee has ended.
    pub(crate) fn leave(&self, number: u64, end: End) {
        let mut tasks = lock(&self.tasks);
        tasks.running.remove(&number);
        if number == 1 {
            tasks.first = Some(end);
        }
        drop(tasks);
        self.end_if_done();
    }

    fn end_if_done(&self) {
        let tasks = lock(&self.tasks);
        if tasks.starting || !tasks.running.is_empty() {
            return;
        }
        let end = match tasks.stopping {
            Some(How::Detach) => End::Detached,
            _ => tasks.first.unwrap_or(End::Detached),
        };
        drop(tasks);
        self.done.get_or_init(now);
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(end);
            first
        });
        self.ring.close();
    }

    /// Ends the trace. Its tracees are let go or die soon.
    pub(crate) fn stop(&self, how: How) {
        let mut tasks = lock(&self.tasks);
        // Who is dying is not let go.
        if tasks.stopping != Some(How::Kill) {
            tasks.stopping = Some(how);
        }
        for task in tasks.running.values() {
            match how {
                How::Detach => task.abort.abort(),
                // An error: it has died already.
                How::Kill => drop(task.control.kill()),
            }
        }
        drop(tasks);
        // Nobody is waited for any more.
        self.ring.release();
    }

    /// How it is stopped if nothing else is said.
    pub(crate) fn usual_end(&self) -> How {
        match self.plan.target {
            Target::Command(_) => How::Kill,
            Target::Pid(_) => How::Detach,
        }
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> Option<End> {
        let mut ended = self.ended.subscribe();
        // An error would mean that the sender is gone, which is a field of self.
        ended
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|end| *end)
    }

    pub(crate) fn end(&self) -> Option<End> {
        *self.ended.borrow()
    }

    /// When it has ended, if it has.
    pub(crate) fn ended_at(&self) -> Option<u64> {
        self.end().and_then(|_| self.done.get().copied())
    }

    /// Looks at the tree, or changes it.
    pub(crate) fn tree<T>(&self, look: impl FnOnce(&mut Tree) -> T) -> T {
        look(&mut lock(&self.tree))
    }

    /// Records what has happened; waits if that is what a reader has asked for.
    pub(crate) async fn record(&self, tid: Tid, pid: Tid, time: u64, what: What) {
        let mut record = Record {
            time,
            tid,
            pid,
            what,
        };
        loop {
            match self.ring.push(record) {
                Ok(overwrote) => return self.count_event(overwrote),
                Err(refused) => record = refused,
            }
            self.ring.room(self.limits.max_block).await;
        }
    }

    /// Records the end of a tracee, which nobody can wait with.
    pub(crate) fn record_end(&self, tid: Tid, pid: Tid, end: End) {
        let overwrote = self.ring.force(Record {
            time: now(),
            tid,
            pid,
            what: What::End { end },
        });
        self.count_event(overwrote);
    }

    fn count_event(&self, overwrote: bool) {
        count(&self.metrics.events);
        if overwrote {
            count(&self.metrics.overwritten);
        }
    }

    /// The trace as a client sees it, with its tree if that is wanted.
    pub(crate) fn summary(&self, with_tree: bool) -> Summary<'_> {
        let (oldest, next) = self.ring.bounds();
        let end = self.end();
        let (counts, tracees, tree) = self.tree(|tree| {
            let nodes = with_tree.then(|| tree.nodes());
            (tree.counts.clone(), tree.alive(), nodes)
        });
        Summary {
            id: self.id,
            plan: &self.plan,
            state: if end.is_some() { "ended" } else { "running" },
            end,
            began: self.began,
            now: now(),
            tracees,
            readers: self.readers.load(Relaxed),
            events: Events {
                oldest,
                next,
                overwritten: oldest - 1,
                policy: "drop-oldest",
            },
            counts,
            tree,
        }
    }
}

//! A shard: one tracer thread and the tracees that it attached.
//!
//! ptrace(2) requests work only from the thread that attached, so that thread does
//! everything: it attaches, waits in waitid(2), makes every request, and polls the
//! tasks that were pinned to it. This file is the side that other threads see: a queue
//! of operations and the means to interrupt the wait. `Local` (in [`local`]) is the
//! side of the thread itself.
//!
//! Code finds out where it runs by comparing a thread-local number: on the shard's own
//! thread an operation is a plain call, elsewhere it is queued and the thread woken.
//!
//! A reaper thread separate from the requesting one was rejected: it costs a hop at
//! each stop, and without `__WNOTHREAD` it sees the host's children. So was a thread per
//! tracee, which meets pid limits.

mod attach;
mod births;
mod burst;
mod claim;
mod detach;
mod hold;
mod launch;
mod local;
mod orphans;
mod pass;
mod patrol;
mod queue;
mod reaper;
mod rotation;
mod status;
mod stops;
mod sync;
mod tasks;
mod thread;
mod trees;

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::watch;
use tracehound_sys::wake::{Interrupter, WakeSignal};
use tracehound_sys::{ForkGuard, Tid, Usage};

use crate::error::{Error, Result};
use crate::let_go::LetGo;
use crate::limit::{Limit, Seat};
use crate::metrics::Counters;
use crate::pace::{self, LOOKS, LOOKS_AT_ONCE, Patience, Yields};
use crate::slot::{Action, Slot};
use crate::tracer::Handles;
use crate::watchdog::{Polls, Watchdog};

use queue::{Closed, Queue};

pub(crate) use attach::{AttachPlan, Attached, Extent, are_all_threads};
pub(crate) use burst::ask_at_once;
pub(crate) use launch::{LaunchPlan, Launched};
pub(crate) use local::{Local, rotate_in};
pub(crate) use rotation::Place;
pub(crate) use thread::start;
pub(crate) use trees::{TreeId, TreePlan};

/// What is asked of a tracer thread by others.
pub(crate) enum Op {
    /// Resume a tracee that is still in this stop.
    Resume {
        slot: Arc<Slot>,
        serial: u32,
        action: Action,
    },
    /// Anything else.
    Call(Box<dyn FnOnce(&Local) + Send>),
}

/// What a shard is made from.
pub(crate) struct ShardPlan {
    pub(crate) signal: WakeSignal,
    /// The CPU that its thread is confined to.
    pub(crate) cpu: Option<usize>,
    /// What becomes of tracees that are let go.
    pub(crate) let_go: LetGo,
    /// How many tracees there may be.
    pub(crate) limit: Option<Arc<Limit>>,
    pub(crate) watchdog: Arc<Watchdog>,
    pub(crate) fork_guard: Arc<ForkGuard>,
    /// What every handle keeps alive.
    pub(crate) handles: Weak<Handles>,
}

/// The side of a shard that every thread may use.
pub(crate) struct Shard {
    /// Never given twice in the life of the process.
    id: u64,
    queue: Queue<Op>,
    interrupter: Interrupter,
    /// The one that the thread is confined to.
    cpu: Option<usize>,
    let_go: LetGo,
    limit: Option<Arc<Limit>>,
    /// Those of the thread, and of the tasks that wait for it.
    yields: Yields,
    counters: Counters,
    fork_guard: Arc<ForkGuard>,
    /// What every handle keeps alive.
    handles: Weak<Handles>,
    /// How many tracees it has: new processes go to the emptiest shard.
    load: AtomicUsize,
    /// Somebody wants to know what the dead have used.
    usage_wanted: AtomicBool,
    /// Whether the thread has ended.
    ended: watch::Sender<bool>,
    /// Tasks are not polled any more: the host's runtime is ending.
    tasks_stopped: AtomicBool,
    /// The polls of tasks.
    polls: Polls,
    watchdog: Arc<Watchdog>,
    /// The thread has ended for the tracer, and goes on for tracees that nobody watches.
    lingers: AtomicBool,
}

thread_local! {
    /// The shard whose tracer thread this is; zero for none.
    static CURRENT_SHARD: Cell<u64> = const { Cell::new(0) };
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Shard {
    pub(crate) fn new(plan: ShardPlan) -> Self {
        Shard {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            queue: Queue::new(),
            interrupter: Interrupter::new(plan.signal),
            cpu: plan.cpu,
            let_go: plan.let_go,
            limit: plan.limit,
            yields: Yields::new(),
            counters: Counters::default(),
            fork_guard: plan.fork_guard,
            handles: plan.handles,
            load: AtomicUsize::new(0),
            usage_wanted: AtomicBool::new(false),
            ended: watch::Sender::new(false),
            tasks_stopped: AtomicBool::new(false),
            polls: Polls::default(),
            watchdog: plan.watchdog,
            lingers: AtomicBool::new(false),
        }
    }

    /// Whether the calling thread is this shard's tracer thread.
    pub(crate) fn is_current(&self) -> bool {
        CURRENT_SHARD.get() == self.id && !self.fork_guard.is_forked()
    }

    /// Whether this is a fork of the process that the tracer thread belongs to.
    pub(crate) fn is_forked(&self) -> bool {
        self.fork_guard.is_forked()
    }

    /// Queues an operation and wakes the thread.
    pub(crate) fn push(&self, op: Op) -> Result<()> {
        self.queue_up(op)?;
        self.interrupter.interrupt();
        Ok(())
    }

    fn queue_up(&self, op: Op) -> Result<()> {
        if self.fork_guard.is_forked() {
            return Err(Error::Forked);
        }
        self.queue.push(op).map_err(|Closed| Error::Shutdown)
    }

    /// Runs a closure on the tracer thread: at once if this is it, else when it comes
    /// to it. Nothing is waited for.
    pub(crate) fn run(&self, f: impl FnOnce(&Local) + Send + 'static) -> Result<()> {
        if self.is_current() {
            return local::with(f).ok_or(Error::Shutdown);
        }
        self.push(Op::Call(Box::new(f)))
    }

    /// As [`run`](Shard::run), but the thread is not woken for it: somebody is about to do
    /// that.
    pub(crate) fn run_with_the_next(&self, f: impl FnOnce(&Local) + Send + 'static) -> Result<()> {
        if self.is_current() {
            return local::with(f).ok_or(Error::Shutdown);
        }
        self.queue_up(Op::Call(Box::new(f)))
    }

    /// Runs a closure on the tracer thread and gives what it returns.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        f: impl FnOnce(&Local) -> R + Send + 'static,
    ) -> Result<R> {
        if self.is_current() {
            return local::with(f).ok_or(Error::Shutdown);
        }
        let (reply, answer) = oneshot::channel();
        self.push(Op::Call(Box::new(move |local| {
            // The one who asked may have gone: nothing is lost but the answer.
            let _ = reply.send(f(local));
        })))?;
        self.answer(answer).await
    }

    /// The answer of the tracer thread, which is mostly microseconds away.
    pub(crate) async fn answer<T>(&self, mut answer: oneshot::Receiver<T>) -> Result<T> {
        let mut patience = Patience::default();
        poll_fn(|cx| {
            for _ in 0..LOOKS_AT_ONCE {
                match answer.try_recv() {
                    Ok(value) => return Poll::Ready(Ok(value)),
                    Err(TryRecvError::Closed) => return Poll::Ready(Err(Error::Shutdown)),
                    Err(TryRecvError::Empty) => {}
                }
                if !patience.goes_on(&self.yields, LOOKS) {
                    let answer = Pin::new(&mut answer);
                    return answer.poll(cx).map_err(|_| Error::Shutdown);
                }
            }
            pace::come_again(cx);
            Poll::Pending
        })
        .await
    }

    /// A share in the tracer's life; nothing if it is ending.
    pub(crate) fn handles(&self) -> Option<Arc<Handles>> {
        self.handles.upgrade()
    }

    pub(crate) fn yields(&self) -> &Yields {
        &self.yields
    }

    pub(crate) fn interrupter(&self) -> &Interrupter {
        &self.interrupter
    }

    /// The tracer thread.
    pub(crate) fn thread(&self) -> Tid {
        self.interrupter.thread()
    }

    /// A place for a tracee; nothing where there is no limit.
    pub(crate) fn seat(&self) -> Result<Option<Seat>> {
        self.limit.as_ref().map(Limit::take).transpose()
    }

    /// The CPU that was chosen for the tracer thread.
    pub(crate) fn cpu(&self) -> Option<usize> {
        self.cpu
    }

    /// From the next wait on, what the dead have used is asked for. Before an operation is
    /// queued, which ends the present wait.
    pub(crate) fn want_usage(&self) {
        self.usage_wanted.store(true, Ordering::Relaxed);
    }

    fn usage(&self) -> Usage {
        if self.usage_wanted.load(Ordering::Relaxed) {
            Usage::Wanted
        } else {
            Usage::Unwanted
        }
    }

    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Takes what was queued. On the tracer thread.
    fn take_ops(&self, into: &mut Vec<Op>) {
        if let Some(since) = self.queue.take(into) {
            self.counters.delay(since.elapsed());
        }
    }

    /// What the tracer thread counts.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether the tracer thread has ended, and refuses everything.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Refuses everything from now on; gives what had been queued.
    fn close(&self) -> Vec<Op> {
        self.queue.close()
    }

    /// Polls tasks, unless that was stopped.
    fn run_tasks(&self, poll: impl FnOnce()) {
        self.polls.turn();
        self.watchdog.stir();
        // Either this sees that they were stopped, or whoever stops them sees that they run.
        if !self.tasks_stopped.load(Ordering::SeqCst) {
            poll();
        }
        self.polls.turn();
    }

    /// Stops the polling of tasks for good; waits for a poll under way, no longer than this.
    pub(crate) fn stop_tasks(&self, limit: Duration) {
        self.tasks_stopped.store(true, Ordering::SeqCst);
        let start = Instant::now();
        while self.polls.is_under_way() && start.elapsed() < limit {
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Resolves when the tracer thread has ended.
    pub(crate) async fn ended(&self) {
        // An error means that the sender, a field of self, is gone.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Whether the thread goes on when the tracer has ended.
    pub(crate) fn lingers(&self) -> bool {
        self.lingers.load(Ordering::SeqCst)
    }

    /// What is told of its polls.
    pub(crate) fn polls(&self) -> &Polls {
        &self.polls
    }

    pub(crate) fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("thread", &self.thread())
            .field("cpu", &self.cpu)
            .field("tracees", &self.load())
            .finish()
    }
}

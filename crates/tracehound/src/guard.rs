//! Work that a tracee can hold up for ever, on threads that can be given up.
//!
//! A page that a userfaultfd or a FUSE file serves blocks its reader, in a state that no
//! signal ends, until whoever serves it answers or the process is dead. So such a read is
//! made on a reader thread, and a clock thread gives it up for whoever waits; the reader
//! stays behind until the tracee lets it go.
//!
//! There are [`READERS`] threads at most, and a process of which one is stuck gets no
//! second: a tracee cannot use them up alone. They start when there is work, end when there
//! has been none for a while, and do not outlive the tracer, but for those that are stuck,
//! which nothing waits for.
//!
//! Tokio's blocking threads were rejected: the end of a runtime waits for them. Its timers,
//! too: a tracee may be used where there is no runtime.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracehound_sys::{Tid, thread};

use crate::error::{Error, Result};
use crate::placement::start_thread;
use crate::slot::Slot;

/// How many threads read at the same time.
const READERS: usize = 32;

/// How long a thread waits for work.
const IDLE: Duration = Duration::from_secs(1);

/// How long the end of the tracer waits for threads that may get stuck.
const LAST_CALL: Duration = Duration::from_millis(50);

/// Longer than anybody waits.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A stack for system calls and a page of memory.
const STACK: usize = 128 * 1024;

type Id = u64;

/// Why nobody waits for a piece of work any more.
#[derive(Clone, Copy)]
enum Ending {
    TimedOut,
    Shutdown,
}

/// Work that somebody waits for.
struct Work {
    process: Tid,
    deadline: Instant,
    /// A reader has it.
    running: bool,
    give_up: Box<dyn FnOnce(Ending) + Send>,
}

#[derive(Default)]
struct State {
    /// What no reader has begun.
    queue: VecDeque<(Id, Box<dyn FnOnce() + Send>)>,
    waited_for: HashMap<Id, Work>,
    deadlines: BTreeSet<(Instant, Id)>,
    /// How many readers of a process were given up, and have not come back.
    stuck: HashMap<Tid, usize>,
    next: Id,
    readers: usize,
    /// Readers without work.
    idle: usize,
    clock_runs: bool,
    closed: bool,
}

/// The reader threads of a tracer.
#[derive(Default)]
pub(crate) struct Guard {
    state: Mutex<State>,
    /// There is something in the queue.
    work: Condvar,
    /// There is a new deadline.
    clock: Condvar,
    /// A thread has ended.
    ended: Condvar,
}

/// Does something with a tracee on a reader thread, and waits for it no longer than
/// `timeout`.
pub(crate) async fn run<T: Send + 'static>(
    slot: &Arc<Slot>,
    request: &'static str,
    timeout: Duration,
    f: impl FnOnce(&Slot) -> Result<T> + Send + 'static,
) -> Result<T> {
    slot.lock_here()?.check_attached(slot.tid())?;
    let tid = slot.tid();
    let process = slot.tgid();
    let (reply, answer) = oneshot::channel();
    // Whoever is first: the reader, or the clock.
    let reply = Arc::new(Mutex::new(Some(reply)));
    let take = |reply: &Mutex<Option<_>>| {
        let mut reply = reply.lock().unwrap_or_else(PoisonError::into_inner);
        reply.take()
    };
    let given_up = Arc::clone(&reply);
    let give_up = move |ending| {
        let error = match ending {
            Ending::TimedOut => Error::TimedOut { tid, request },
            Ending::Shutdown => Error::Shutdown,
        };
        if let Some(reply) = take(&given_up) {
            let reply: oneshot::Sender<Result<T>> = reply;
            let _ = reply.send(Err(error));
        }
    };
    let slot_there = Arc::clone(slot);
    let work = move || {
        let result = f(&slot_there);
        if let Some(reply) = take(&reply) {
            // Whoever asked may have gone.
            let _ = reply.send(result);
        }
    };
    {
        // The tracer is ending. The wait itself does not keep it alive.
        let handles = slot.shard.handles().ok_or(Error::Shutdown)?;
        let request: Request = (process, timeout, Box::new(work), Box::new(give_up));
        handles.guard().submit(request)?;
    }
    answer.await.map_err(|_| Error::Shutdown)?
}

type Request = (
    Tid,
    Duration,
    Box<dyn FnOnce() + Send>,
    Box<dyn FnOnce(Ending) + Send>,
);

impl Guard {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(self: &Arc<Self>, (process, timeout, run, give_up): Request) -> Result<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Shutdown);
        }
        if state.stuck.contains_key(&process) {
            drop(state);
            give_up(Ending::TimedOut);
            return Ok(());
        }
        let id = state.next;
        state.next += 1;
        let deadline = Instant::now() + timeout.min(YEAR);
        state.deadlines.insert((deadline, id));
        state.queue.push_back((id, run));
        let work = Work {
            process,
            deadline,
            running: false,
            give_up,
        };
        state.waited_for.insert(id, work);
        let started = self.staff(&mut state);
        if started.is_err() {
            state.queue.retain(|(queued, _)| *queued != id);
            state.waited_for.remove(&id);
            state.deadlines.remove(&(deadline, id));
        }
        drop(state);
        self.work.notify_one();
        self.clock.notify_one();
        started
    }

    /// Sees to it that there is a clock, and a reader for what is in the queue.
    fn staff(self: &Arc<Self>, state: &mut State) -> Result<()> {
        if !state.clock_runs {
            self.start("tracehound-clock", Guard::keep_time)?;
            state.clock_runs = true;
        }
        if state.idle < state.queue.len() && state.readers < READERS {
            match self.start("tracehound-read", Guard::read) {
                Ok(()) => state.readers += 1,
                // Another will come to it.
                Err(_) if state.readers > 0 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn start(self: &Arc<Self>, name: &str, f: fn(&Guard)) -> Result<()> {
        let guard = Arc::clone(self);
        let builder = std::thread::Builder::new().name(name.into());
        let thread = start_thread(builder.stack_size(STACK), move || {
            // No handler of the host runs here.
            thread::block_all_but(&[]);
            f(&guard);
        });
        thread.map(drop)
    }

    /// A reader thread.
    fn read(&self) {
        let mut state = self.lock();
        loop {
            if let Some((id, run)) = state.queue.pop_front() {
                let Some(work) = state.waited_for.get_mut(&id) else {
                    continue;
                };
                work.running = true;
                let process = work.process;
                drop(state);
                run();
                state = self.lock();
                state.came_back(id, process);
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, IDLE);
            let (woken, wait) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if wait.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.readers -= 1;
        drop(state);
        self.ended.notify_all();
    }

    /// The clock thread.
    fn keep_time(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let limit = match state.deadlines.first() {
                Some((deadline, id)) if *deadline <= now => {
                    let id = *id;
                    let give_up = state.give_up(id);
                    // What it wakes is foreign code.
                    drop(state);
                    if let Some(give_up) = give_up {
                        give_up(Ending::TimedOut);
                    }
                    state = self.lock();
                    continue;
                }
                Some((deadline, _)) => *deadline - now,
                None if state.closed => break,
                None => IDLE,
            };
            let waited = self.clock.wait_timeout(state, limit);
            let (woken, wait) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if wait.timed_out() && state.deadlines.is_empty() {
                break;
            }
        }
        state.clock_runs = false;
        drop(state);
        self.ended.notify_all();
    }

    /// Gives up everything, and takes nothing more.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let ids: Vec<Id> = state.waited_for.keys().copied().collect();
        let given_up: Vec<_> = ids.into_iter().filter_map(|id| state.give_up(id)).collect();
        drop(state);
        self.work.notify_all();
        self.clock.notify_all();
        for give_up in given_up {
            give_up(Ending::Shutdown);
        }
    }

    /// Waits for the threads to end, after [`close`](Guard::close): not for one that is
    /// stuck.
    pub(crate) fn join(&self) {
        let deadline = Instant::now() + LAST_CALL;
        let mut state = self.lock();
        while state.readers > 0 || state.clock_runs {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let readers = state.readers;
                tracing::warn!(readers, "threads that read memory are stuck: left behind");
                return;
            }
            let waited = self.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    /// Nobody waits for this any more.
    fn give_up(&mut self, id: Id) -> Option<Box<dyn FnOnce(Ending) + Send>> {
        let work = self.waited_for.remove(&id)?;
        self.deadlines.remove(&(work.deadline, id));
        if work.running {
            let stuck = self.stuck.entry(work.process).or_default();
            *stuck += 1;
            tracing::warn!(process = %work.process, "a guarded access was given up");
        } else {
            self.queue.retain(|(queued, _)| *queued != id);
        }
        Some(work.give_up)
    }

    /// A reader has done this.
    fn came_back(&mut self, id: Id, process: Tid) {
        if let Some(work) = self.waited_for.remove(&id) {
            self.deadlines.remove(&(work.deadline, id));
            return;
        }
        // It had been given up.
        if let Some(stuck) = self.stuck.get_mut(&process) {
            *stuck -= 1;
            if *stuck == 0 {
                self.stuck.remove(&process);
            }
        }
    }
}

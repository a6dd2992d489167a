//! Pinned tasks that block their tracer thread are reported.
//!
//! A thread that looks at the tracer threads from time to time, and only while they poll tasks:
//! each has a count that is odd while it does. A count that stays odd and the same for several
//! looks is that of a thread that has not come back to its tracees. When no count has moved
//! between two looks, and none is odd, the watchdog sleeps without a limit, and the next poll
//! wakes it. So an idle tracer costs nothing, a poll two stores that were there before, and what
//! never comes back is reported all the same.
//!
//! Looks are counted, not time: a process that was stopped, or a machine that slept, has not
//! blocked anything.
//!
//! What was rejected: reading the clock at each poll (a twentieth of a stop), a timer of the
//! kernel (a system call at each poll), reports by whoever queues something (nobody may), the
//! host's runtime (its clock may be paused, or have no timers).

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracehound_sys::{Tid, thread};

use crate::error::Result;
use crate::placement::start_thread;
use crate::shard::Shard;

/// What is reported if nothing else is said.
pub(crate) const LIMIT: Duration = Duration::from_secs(1);

/// How many looks make up the limit.
const LOOKS: u32 = 4;

/// A stack for system calls and a subscriber of `tracing`.
const STACK: usize = 512 * 1024;

/// What a tracer thread tells of its polls.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    /// Odd during a poll.
    count: AtomicU64,
    /// The tracee whose task is polled; zero if that is not known.
    tracee: AtomicI32,
}

impl Polls {
    /// A poll begins, or ends. On the tracer thread.
    pub(crate) fn turn(&self) {
        let count = self.count.load(Ordering::Relaxed);
        self.count.store(count.wrapping_add(1), Ordering::SeqCst);
    }

    pub(crate) fn is_under_way(&self) -> bool {
        !self.count.load(Ordering::SeqCst).is_multiple_of(2)
    }

    /// The task of this tracee is polled from here on. On the tracer thread.
    pub(crate) fn of(&self, tracee: Tid) {
        self.tracee.store(tracee.as_raw(), Ordering::Relaxed);
    }

    /// It has been polled.
    pub(crate) fn of_nobody(&self) {
        self.tracee.store(0, Ordering::Relaxed);
    }

    fn tracee(&self) -> Option<Tid> {
        let raw = self.tracee.load(Ordering::Relaxed);
        (raw != 0).then(|| Tid::from_raw(raw))
    }
}

/// What the tracer threads and the watchdog share.
#[derive(Debug)]
pub(crate) struct Watchdog {
    limit: Duration,
    /// It sleeps until somebody wakes it.
    asleep: AtomicBool,
    state: Mutex<Option<JoinHandle<()>>>,
    woken: Condvar,
}

/// What the watchdog has seen of one tracer thread.
struct Watched {
    shard: Arc<Shard>,
    count: u64,
    /// For how many looks it has been odd and the same.
    looks: u32,
    /// After how many it is reported next.
    next: u32,
    since: Instant,
}

impl Watchdog {
    pub(crate) fn new(limit: Duration) -> Arc<Self> {
        Arc::new(Watchdog {
            limit,
            asleep: AtomicBool::new(false),
            state: Mutex::default(),
            woken: Condvar::new(),
        })
    }

    /// Starts it, if it does not run.
    pub(crate) fn start(self: &Arc<Self>, shards: Vec<Arc<Shard>>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_none() && self.limit < Duration::MAX {
            let own = Arc::clone(self);
            let builder = std::thread::Builder::new().name("tracehound-watch".into());
            let thread = start_thread(builder.stack_size(STACK), move || {
                // No handler of the host runs here.
                thread::block_all_but(&[]);
                own.watch(shards.into_iter().map(Watched::new).collect());
            });
            *state = Some(thread?);
        }
        Ok(())
    }

    /// A poll has begun, or a tracer thread has ended. Seldom more than a look at a flag.
    pub(crate) fn stir(&self) {
        if self.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        // Under the lock: it sleeps, or looks at the flag again.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.store(false, Ordering::SeqCst);
        drop(state);
        self.woken.notify_one();
    }

    /// Waits for its end, which comes with that of the tracer threads.
    pub(crate) fn join(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = state.take();
        drop(state);
        self.wake();
        // A panic was reported.
        drop(thread.map(JoinHandle::join));
    }

    fn watch(&self, mut watched: Vec<Watched>) {
        let pause = (self.limit / LOOKS).max(Duration::from_millis(1));
        loop {
            let mut moved = false;
            watched.retain_mut(|one| {
                moved |= one.look(self.limit);
                !one.shard.has_ended()
            });
            if watched.is_empty() {
                return;
            }
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if watched.iter().any(|one| one.shard.has_ended()) {
                // Whoever says so takes the lock afterwards.
                continue;
            }
            if moved {
                // Woken or not, it looks.
                drop(self.woken.wait_timeout(state, pause));
                continue;
            }
            self.asleep.store(true, Ordering::SeqCst);
            // Either this sees that something has moved, or whoever moves sees that it sleeps.
            if watched.iter().any(Watched::has_moved) {
                self.asleep.store(false, Ordering::SeqCst);
                continue;
            }
            drop(
                self.woken
                    .wait_while(state, |_| self.asleep.load(Ordering::SeqCst)),
            );
        }
    }
}

impl Watched {
    fn new(shard: Arc<Shard>) -> Self {
        Watched {
            shard,
            count: 0,
            looks: 0,
            next: LOOKS,
            since: Instant::now(),
        }
    }

    fn has_moved(&self) -> bool {
        self.shard.has_ended() || self.shard.polls().count.load(Ordering::SeqCst) != self.count
    }

    /// Gives whether the thread has polled since the last look, or does.
    fn look(&mut self, limit: Duration) -> bool {
        let polls = self.shard.polls();
        let count = polls.count.load(Ordering::SeqCst);
        let thread = self.shard.thread();
        if count != self.count {
            if self.next > LOOKS {
                let blocked = self.since.elapsed();
                tracing::warn!(%thread, ?blocked, "the tracer thread serves its tracees again");
            }
            self.count = count;
            self.looks = 0;
            self.next = LOOKS;
            self.since = Instant::now();
            return true;
        }
        if count.is_multiple_of(2) {
            return false;
        }
        self.looks += 1;
        if self.looks >= self.next {
            // Again when it has gone on for twice as long.
            self.next = self.next.saturating_mul(2);
            let blocked = self.since.elapsed().max(limit);
            match polls.tracee() {
                Some(tid) => tracing::warn!(
                    %tid, %thread, ?blocked,
                    "a pinned task blocks its tracer thread: its tracees wait"
                ),
                None => tracing::warn!(
                    %thread, ?blocked,
                    "a task blocks its tracer thread: its tracees wait"
                ),
            }
        }
        true
    }
}

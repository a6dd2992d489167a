//! The options of a tracer, and its start.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tracehound_sys::cpu::CPUS_MAX;
use tracehound_sys::wake::WakeSignal;
use tracehound_sys::{ForkGuard, Signal, proc};

use crate::error::{Error, Result};
use crate::let_go::LetGo;
use crate::limit::Limit;
use crate::shard::{Shard, ShardPlan};
use crate::spawner;
use crate::tracer::{Handles, Tracer};
use crate::watchdog::{self, Watchdog};

/// Options of a [`Tracer`].
#[derive(Clone, Debug)]
pub struct TracerBuilder {
    threads: usize,
    wake_signal: Option<Signal>,
    cpus: Option<Vec<usize>>,
    let_go: LetGo,
    max_tracees: Option<usize>,
    blocked_after: Duration,
}

impl TracerBuilder {
    pub(crate) fn new() -> Self {
        TracerBuilder {
            threads: 1,
            wake_signal: None,
            cpus: None,
            let_go: LetGo::default(),
            max_tracees: None,
            blocked_after: watchdog::LIMIT,
        }
    }

    /// How many tracer threads there are. The default is one, which serves hundreds of
    /// tracees; more of them serve tracees that run on several CPUs at once. What a
    /// tracee forks stays on its thread.
    pub fn threads(&mut self, threads: usize) -> &mut Self {
        self.threads = threads;
        self
    }

    /// The signal that interrupts a tracer thread's wait: a standard one, without a
    /// handler. The default is the first free one of `SIGURG`, `SIGSTKFLT`, `SIGPWR`.
    pub fn wake_signal(&mut self, signal: Signal) -> &mut Self {
        self.wake_signal = Some(signal);
        self
    }

    /// The CPUs of the tracer threads, one for each in turn: of `n` CPUs, thread `i` runs on
    /// number `i % n` and on no other (sched_setaffinity(2)). Without it the scheduler places
    /// them. [`allowed_cpus`](crate::allowed_cpus) tells which there are, and
    /// [`guide::placement`](crate::guide::placement) what to choose.
    ///
    /// Only the tracer threads are confined, none of the host's. But threads and processes that
    /// a pinned task starts itself inherit its CPU.
    pub fn cpus(&mut self, cpus: impl IntoIterator<Item = usize>) -> &mut Self {
        // More than that are no use, whatever is given.
        self.cpus = Some(cpus.into_iter().take(CPUS_MAX).collect());
        self
    }

    /// What becomes of a tracee whose handle is dropped, and of all of them when the tracer
    /// ends: by [`shutdown`](Tracer::shutdown), with its last handle, or with the runtime that
    /// it was made in. The default is that they are detached and run on.
    ///
    /// If this process dies first, [`Command::exit_kill`](crate::Command::exit_kill) counts.
    pub fn let_go(&mut self, how: LetGo) -> &mut Self {
        self.let_go = how;
        self
    }

    /// How many tracees there may be at the same time, on all tracer threads. The default is no
    /// limit.
    ///
    /// At the limit [`spawn`](Tracer::spawn), [`trace`](Tracer::trace) and
    /// [`attach`](Tracer::attach) are refused with [`Error::TooManyTracees`]. What a tracee makes
    /// then is let go at once, before it has run: it is detached or killed, as
    /// [`let_go`](TracerBuilder::let_go) says, and the event of its birth is
    /// [`over_limit`](crate::event::Birth::over_limit). One that inherits a seccomp
    /// [filter](crate::Command::trace_syscalls) cannot be detached, and is killed.
    ///
    /// A tracee counts from its spawn or birth until it is dead or detached, threads one by one.
    pub fn max_tracees(&mut self, most: usize) -> &mut Self {
        self.max_tracees = Some(most);
        self
    }

    /// For how long a pinned task may keep its tracer thread before that is reported, as a
    /// warning of `tracing` with the tracee and the time: it computes, or blocks in a system call
    /// or on a lock, where it should await. Nothing else is done about it. The default is one
    /// second, and `Duration::MAX` reports nothing.
    ///
    /// It is reported while it goes on, again whenever it has lasted twice as long, and when it
    /// is over; at the latest a quarter later than after this time. What takes less is not
    /// reported, nor what happens outside of the polls of tasks: in destructors at the tracer's
    /// end, for instance. Tasks that a pinned task starts itself are reported without a tracee,
    /// and many tasks that each take less, but do not let the thread get on, as if they were one.
    ///
    /// A thread watches for this, from the first pinned task on. It sleeps when no task runs.
    pub fn report_blocked_after(&mut self, limit: Duration) -> &mut Self {
        self.blocked_after = limit;
        self
    }

    /// Starts the tracer; see [`Tracer::new`].
    ///
    /// # Errors
    ///
    /// As [`Tracer::new`]; [`Error::InvalidArgument`] for no threads, no tracees, or a list without
    /// a CPU;
    /// [`Error::CpuUnavailable`] for a [CPU](TracerBuilder::cpus) that is not there or not
    /// allowed, of those that the threads need.
    pub fn build(&self) -> Result<Tracer> {
        if self.threads == 0 {
            return Err(Error::InvalidArgument("a tracer needs a thread"));
        }
        if self.cpus.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::InvalidArgument("tracer threads need a CPU"));
        }
        if self.max_tracees == Some(0) {
            return Err(Error::InvalidArgument("a tracer needs room for a tracee"));
        }
        check_kernel()?;
        let signal = WakeSignal::claim(self.wake_signal).map_err(Error::WakeSignal)?;
        let fork_guard = ForkGuard::new().map_err(|source| Error::System {
            call: "madvise",
            source,
        })?;
        let fork_guard = Arc::new(fork_guard);
        let user = spawner::User::new()?;
        let watchdog = Watchdog::new(self.blocked_after);
        let limit = self.max_tracees.map(Limit::new);
        let mut cpus = self.cpus.iter().flatten().copied().cycle();
        let mut shard = |own: &Weak<Handles>| {
            Arc::new(Shard::new(ShardPlan {
                signal,
                cpu: cpus.next(),
                let_go: self.let_go,
                limit: limit.clone(),
                watchdog: Arc::clone(&watchdog),
                fork_guard: Arc::clone(&fork_guard),
                handles: own.clone(),
            }))
        };
        let handles = Arc::new_cyclic(|own| Handles {
            first: shard(own),
            others: (1..self.threads).map(|_| shard(own)).collect(),
            threads: Mutex::default(),
            user: Mutex::new(Some(user)),
            guard: Arc::default(),
            watchdog: Arc::clone(&watchdog),
            fork_guard: Arc::clone(&fork_guard),
        });
        handles.start()?;
        Ok(Tracer { handles })
    }
}

/// `PTRACE_GET_SYSCALL_INFO` is what tells syscall stops apart; without it every trace
/// would be a guess.
fn check_kernel() -> Result<()> {
    if proc::kernel_version() < (5, 3) {
        return Err(Error::Unsupported {
            what: "tracehound",
            since: "5.3",
        });
    }
    Ok(())
}

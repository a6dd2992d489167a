//! Attaching to a running process or thread: its options, and the request.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use tracehound_sys::ptrace::ResumeKind;
use tracehound_sys::{Tid, proc};

use crate::command::{Follow, Tracing};
use crate::error::{Error, Result};
use crate::process::Process;
use crate::refusal::Refusal;
use crate::shard::{AttachPlan, Attached, Extent, Shard};
use crate::tracee::Tracee;
use crate::tracer::Handles;

/// How long an exec may hold up an attach, unless something else is said.
const PATIENCE: Duration = Duration::from_secs(5);

/// An attach that was not begun.
#[derive(Clone)]
struct Request {
    handles: Arc<Handles>,
    shard: Arc<Shard>,
    pid: Tid,
    extent: Extent,
    tracing: Tracing,
    mode: ResumeKind,
    stop: bool,
    own_child: bool,
    patience: Duration,
}

macro_rules! options {
    () => {
        /// Sets the resume mode that the tracees start with. With any other than `Cont`
        /// each is stopped for a moment and resumed in that mode; a restartable system call
        /// that it sleeps in goes on.
        pub fn resume_mode(mut self, mode: ResumeKind) -> Self {
            self.0.mode = mode;
            self
        }

        /// Asks for [`Event::Exiting`](crate::Event::Exiting): `PTRACE_O_TRACEEXIT`.
        pub fn exit_stops(mut self, stops: bool) -> Self {
            self.0.tracing.exit_stops = stops;
            self
        }

        /// Asks for what the dead have used; see
        /// [`Command::resource_usage`](crate::Command::resource_usage).
        pub fn resource_usage(mut self, usage: bool) -> Self {
            self.0.tracing.resource_usage = usage;
            self
        }

        /// Reads the registers at each stop; see
        /// [`Tracee::set_prefetch_registers`](crate::Tracee::set_prefetch_registers).
        pub fn prefetch_registers(mut self, prefetch: bool) -> Self {
            self.0.tracing.prefetch = prefetch;
            self
        }

        /// Attaches also to a child of this process. Whoever waits for it in this process
        /// (`std::process::Child::wait`, `waitpid(-1)`) takes its stops for exits: only for
        /// a child that nobody waits for.
        pub fn own_child(mut self, own: bool) -> Self {
            self.0.own_child = own;
            self
        }

        /// How long an exec of the target may hold up the attach before it ends with
        /// [`Error::Busy`]. The default is five seconds. The tracer's other tracees are
        /// served meanwhile.
        pub fn patience(mut self, patience: Duration) -> Self {
            self.0.patience = patience;
            self
        }
    };
}

/// An attach to a process that was not begun; await it. Made by
/// [`Tracer::attach`](crate::Tracer::attach).
///
/// # Errors
///
/// Awaiting it gives [`Error::NoSuchProcess`], [`Error::NotPermitted`] with the reason,
/// [`Error::Busy`], [`Error::TooManyTracees`] or [`Error::Shutdown`]. On an error no thread stays attached.
///
/// # Cancel safety
///
/// A process whose attach is dropped is detached again.
#[derive(Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct Attach(Request);

impl Attach {
    pub(crate) fn new(handles: Arc<Handles>, shard: Arc<Shard>, pid: Tid) -> Self {
        Attach(Request::new(handles, shard, pid, Extent::Process))
    }

    /// Chooses which new tracees are traced. The default is everything.
    pub fn follow(mut self, follow: Follow) -> Self {
        self.0.tracing.follow = follow;
        self
    }

    /// Stops every thread, as [`Process::stop_all`] does afterwards, but each as soon as it is
    /// seized: `PTRACE_INTERRUPT`. For whoever wants them stopped anyway this is the shorter
    /// way: threads that are about to stop need not be looked at one by one.
    ///
    /// The attach is complete when no thread of the process runs, which a thread in
    /// uninterruptible sleep can delay, as it can `stop_all`. [`Process::resume_all`] lets them go
    /// on.
    pub fn stop_all(mut self, stop: bool) -> Self {
        self.0.stop = stop;
        self
    }

    options!();
}

impl IntoFuture for Attach {
    type Output = Result<Process>;
    type IntoFuture = BoxFuture<'static, Result<Process>>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let (attached, shard) = self.0.run().await?;
            let (pid, threads) = (attached.tgid, attached.tracees);
            let mut process = Process::new(pid, threads, shard, self.0.plan());
            if self.0.stop {
                process.stop_all().await?;
            }
            Ok(process)
        }
        .boxed()
    }
}

/// An attach to one thread that was not begun; await it. Made by
/// [`Tracer::attach_thread`](crate::Tracer::attach_thread).
///
/// The handle has the id that the thread has by then: if an exec of its own held up the
/// attach, that is its process's.
///
/// # Errors
///
/// As [`Attach`].
///
/// # Cancel safety
///
/// A thread whose attach is dropped is detached again.
#[derive(Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct AttachThread(Request);

impl AttachThread {
    pub(crate) fn new(handles: Arc<Handles>, shard: Arc<Shard>, tid: Tid) -> Self {
        let mut request = Request::new(handles, shard, tid, Extent::Thread);
        request.tracing.follow = Follow::Nothing;
        AttachThread(request)
    }

    /// Chooses which new tracees, made by this thread, are traced. The default is none.
    pub fn follow(mut self, follow: Follow) -> Self {
        self.0.tracing.follow = follow;
        self
    }

    options!();
}

impl IntoFuture for AttachThread {
    type Output = Result<Tracee>;
    type IntoFuture = BoxFuture<'static, Result<Tracee>>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let (mut attached, _) = self.0.run().await?;
            let thread = attached.tracees.pop().map(Tracee::handed_out);
            thread.ok_or(Error::NoSuchProcess(self.0.pid))
        }
        .boxed()
    }
}

impl Request {
    fn new(handles: Arc<Handles>, shard: Arc<Shard>, pid: Tid, extent: Extent) -> Self {
        Request {
            handles,
            shard,
            pid,
            extent,
            tracing: Tracing::default(),
            mode: ResumeKind::Cont,
            stop: false,
            own_child: false,
            patience: PATIENCE,
        }
    }

    /// Attaches; in the shard that has other threads of the process, if there is one.
    async fn run(&self) -> Result<(Attached, Arc<Shard>)> {
        let since = Instant::now();
        let mut shard = self.home();
        loop {
            let refused = match self.run_in(&shard).await {
                Ok(attached) => return Ok((attached, shard)),
                Err(error) => error,
            };
            let other = traced_by(&refused).and_then(|tracer| self.handles.shard_of(tracer));
            shard = match other {
                Some(other) if !Arc::ptr_eq(&other, &shard) => other,
                _ => return Err(refused),
            };
            // One of the two is letting go what it had. It comes to it before this is over.
            if since.elapsed() > self.patience {
                return Err(refused);
            }
            shard.call(|_| ()).await?;
        }
    }

    /// The shard that has a thread of the process, or is about to let it go; else the one that
    /// was chosen. To begin in another would take the threads that are left, and those would
    /// then be in the way where they belong.
    fn home(&self) -> Arc<Shard> {
        let chosen = Arc::clone(&self.shard);
        if self.handles.is_single() {
            return chosen;
        }
        let tgid = proc::status(self.pid).map_or(self.pid, |status| status.tgid);
        let tracers = proc::tasks(tgid).unwrap_or_default().into_iter();
        let tracers = tracers.filter_map(|tid| proc::status(tid).ok().map(|of| of.tracer));
        let mut homes = tracers.filter_map(|tracer| self.handles.shard_of(tracer));
        homes.next().unwrap_or(chosen)
    }

    async fn run_in(&self, shard: &Arc<Shard>) -> Result<Attached> {
        if self.tracing.resource_usage {
            shard.want_usage();
        }
        self.plan().run(shard).await
    }

    fn plan(&self) -> AttachPlan {
        AttachPlan {
            pid: self.pid,
            extent: self.extent,
            options: self.tracing.options(),
            mode: self.mode,
            prefetch: self.tracing.prefetch,
            stop: self.stop,
            own_child: self.own_child,
            patience: self.patience,
        }
    }
}

/// Who traces the thread that could not be attached.
fn traced_by(error: &Error) -> Option<Tid> {
    match error {
        Error::NotPermitted {
            reason: Refusal::AlreadyTraced { tracer, .. },
            ..
        } => *tracer,
        _ => None,
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attach")
            .field("pid", &self.pid)
            .field("extent", &self.extent)
            .field("tracing", &self.tracing)
            .field("resume_mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Attach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for AttachThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

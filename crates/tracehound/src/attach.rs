//! Attaching to a running process: its options, and the request.

use std::future::IntoFuture;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tracehound_sys::Tid;
use tracehound_sys::ptrace::ResumeKind;

use crate::command::{Follow, Tracing};
use crate::error::Result;
use crate::process::Process;
use crate::shard::{AttachPlan, Shard};
use crate::tracer::Handles;

/// An attach that was not begun; await it.
///
/// # Errors
///
/// Awaiting it gives [`Error::NoSuchProcess`](crate::Error::NoSuchProcess),
/// [`Error::NotPermitted`](crate::Error::NotPermitted) with the reason, or
/// [`Error::Shutdown`](crate::Error::Shutdown). On an error no thread stays attached.
///
/// # Cancel safety
///
/// A process whose attach is dropped is let go again.
#[derive(Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct Attach {
    handles: Arc<Handles>,
    shard: Arc<Shard>,
    pid: Tid,
    tracing: Tracing,
    mode: ResumeKind,
    own_child: bool,
}

impl Attach {
    pub(crate) fn new(handles: Arc<Handles>, shard: Arc<Shard>, pid: Tid) -> Self {
        Attach {
            handles,
            shard,
            pid,
            tracing: Tracing::default(),
            mode: ResumeKind::Cont,
            own_child: false,
        }
    }

    /// Chooses which new tracees are traced. The default is everything.
    pub fn follow(mut self, follow: Follow) -> Self {
        self.tracing.follow = follow;
        self
    }

    /// Sets the resume mode that the tracees start with. With any other than `Cont` each
    /// is stopped for a moment and resumed in that mode; a restartable system call that it
    /// sleeps in goes on.
    pub fn resume_mode(mut self, mode: ResumeKind) -> Self {
        self.mode = mode;
        self
    }

    /// Asks for [`Event::Exiting`](crate::Event::Exiting): `PTRACE_O_TRACEEXIT`.
    pub fn exit_stops(mut self, stops: bool) -> Self {
        self.tracing.exit_stops = stops;
        self
    }

    /// Attaches also to a child of this process. Whoever waits for it in this process
    /// (`std::process::Child::wait`, `waitpid(-1)`) takes its stops for exits: only for a
    /// child that nobody waits for.
    pub fn own_child(mut self, own: bool) -> Self {
        self.own_child = own;
        self
    }
}

impl IntoFuture for Attach {
    type Output = Result<Process>;
    type IntoFuture = BoxFuture<'static, Result<Process>>;

    fn into_future(self) -> Self::IntoFuture {
        let plan = AttachPlan {
            pid: self.pid,
            options: self.tracing.options(),
            mode: self.mode,
            own_child: self.own_child,
        };
        let handles = self.handles;
        let shard = self.shard;
        async move {
            let attached = shard.call(move |local| local.attach(&plan)).await?;
            drop(handles);
            let (pid, threads) = attached?;
            Ok(Process::new(pid, threads))
        }
        .boxed()
    }
}

impl std::fmt::Debug for Attach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attach")
            .field("pid", &self.pid)
            .field("tracing", &self.tracing)
            .field("resume_mode", &self.mode)
            .finish_non_exhaustive()
    }
}

//! What holds for tracees with a seccomp filter.
//!
//! A filter cannot be taken away, and a call that it stops fails with `ENOSYS` if there is no
//! tracer. So a tracee with a filter is never detached: every process that inherits the
//! filter is traced, whoever is followed, and one that nobody watches is killed, or stays
//! attached and is let through each stop (`shard::pass`). When the tracer's process dies,
//! `PTRACE_O_EXITKILL` kills them all.
//!
//! What was rejected: a second filter at the detach (the strictest answer of all filters
//! counts, and `SECCOMP_RET_TRACE` is stricter than letting pass); a listener that answers
//! `SECCOMP_USER_NOTIF_FLAG_CONTINUE` (its calls fail with `ENOSYS`, too, when its descriptor
//! is closed); `PTRACE_O_SUSPEND_SECCOMP` (it ends with the attachment); a process of its own
//! that takes over (between two tracers there is none).

use tracehound_sys::ptrace::Options;

use crate::command::Follow;

/// What becomes of a tracee with a seccomp filter that nobody watches any more: its handle
/// was dropped, its birth was not taken, or the tracer was shut down.
///
/// It cannot simply be detached: without a tracer the calls that its filter stops fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unwatched {
    /// Its process is killed. [`Tracee::detach`](crate::Tracee::detach) is refused:
    /// [`Error::Filtered`](crate::Error::Filtered).
    #[default]
    Kill,
    /// It runs on, and the calls that its filter stops are made: it stays attached, and the
    /// tracer thread resumes it at each stop, as asking for one event after the other would.
    /// Its stream ends with [`Detached`](crate::Event::Detached).
    ///
    /// The tracer thread lives until the last such tracee has ended, also after
    /// [`Tracer::shutdown`](crate::Tracer::shutdown), which does not wait for that. If this
    /// process ends, they are killed.
    Pass,
}

/// What holds for a tracee with a filter, and for those that it makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FilterRule {
    pub(crate) unwatched: Unwatched,
    /// Which new tracees are followed. All are traced.
    pub(crate) follow: Follow,
}

impl FilterRule {
    /// What all of them need.
    pub(crate) const OPTIONS: Options = Options::TRACESECCOMP
        .union(Options::TRACEFORK)
        .union(Options::TRACEVFORK)
        .union(Options::TRACECLONE)
        .union(Options::EXITKILL);
}

//! Errors that say what to do.

use std::io;

use tracehound_sys::ptrace::RegSet;
use tracehound_sys::{Errno, Signal, Tid};

pub use crate::explain::Privilege;
use crate::placement::CpuRefusal;
use crate::refusal::Refusal;

/// The result of what tracehound does.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done.
///
/// Nothing here is inferred from `ESRCH` alone: the runtime knows which tracees are
/// held. Each error has a page that says what happened and what to do: see
/// [`guide::errors`](crate::guide::errors), and
/// [`guide::refusals`](crate::guide::refusals) for [`NotPermitted`](Error::NotPermitted).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request needs a held tracee, and this one runs, or its stop has not been
    /// asked for yet. Wait for its next event, or interrupt it.
    #[error("tracee {0} is running: wait for its next event first")]
    Running(Tid),

    /// The tracee is dead or dying. Its terminal event tells how, and comes in any
    /// case.
    #[error("tracee {0} is gone")]
    Gone(Tid),

    /// The tracee was detached: it is not traced any more.
    #[error("tracee {0} was detached")]
    Detached(Tid),

    /// The tracee has a [seccomp filter](crate::Command::trace_syscalls), and without a tracer
    /// its calls would fail. Let it be killed, or choose
    /// [`Unwatched::Pass`](crate::Unwatched::Pass) for it.
    #[error("tracee {0} has a seccomp filter and cannot be detached")]
    Filtered(Tid),

    /// There is no such process or thread.
    #[error("there is no process or thread {0}")]
    NoSuchProcess(Tid),

    /// Attaching is not permitted.
    #[error("not permitted to trace {pid}: {reason}")]
    NotPermitted {
        /// The process or thread.
        pid: Tid,
        /// Why.
        reason: Refusal,
    },

    /// The process was in the middle of an exec for all the time that the attach had, or
    /// makes threads faster than they can be attached. Try again, or wait for
    /// [longer](crate::Attach::patience).
    #[error("process {0} was busy with an exec for too long")]
    Busy(Tid),

    /// There are as many tracees as there [may be](crate::TracerBuilder::max_tracees). Nothing was
    /// started, and what had been attached is let go.
    #[error("the tracer may have {most} tracees and has them")]
    TooManyTracees {
        /// How many there may be.
        most: usize,
    },

    /// The tracer was shut down.
    #[error("the tracer was shut down")]
    Shutdown,

    /// The handle was inherited by a child of fork(2), where it cannot be used: the
    /// tracer's threads are not there.
    #[error("the handle belongs to the parent of this forked process")]
    Forked,

    /// A signal can only be given in a signal-delivery-stop, and only one that exists.
    #[error("tracee {tid} cannot be resumed with {signal}: it is in no signal-delivery-stop")]
    NotASignalStop {
        /// The tracee.
        tid: Tid,
        /// The signal.
        signal: Signal,
    },

    /// There is no such signal.
    #[error("there is no signal {}", .0.as_raw())]
    NoSuchSignal(Signal),

    /// The request makes no sense in the tracee's present stop: listening outside of a
    /// group-stop, the siginfo of a stop that has none.
    #[error("{request} is not possible in the present stop of tracee {tid}")]
    WrongStop {
        /// The ptrace(2) request.
        request: &'static str,
        /// The tracee.
        tid: Tid,
    },

    /// The memory cannot be read or written, not even its first byte.
    #[error("memory of {tid} at {address:#x}: {errno}", errno = .source.desc())]
    Memory {
        /// The tracee.
        tid: Tid,
        /// The address.
        address: u64,
        /// The system's error: `EFAULT`, `EPERM`, or `EIO` from a request.
        source: Errno,
    },

    /// A guarded access to memory did not end in time, or an earlier one to the same process
    /// has not ended since. Whoever serves the page (a userfaultfd, a FUSE file) does not
    /// answer; the end of the process frees what waits for it.
    #[error("{request}: tracee {tid} does not let its memory be accessed")]
    TimedOut {
        /// The tracee.
        tid: Tid,
        /// What was asked for.
        request: &'static str,
    },

    /// An argument that no system can serve.
    #[error("invalid argument: {0}")]
    InvalidArgument(&'static str),

    /// The running kernel lacks something.
    #[error("{what} needs Linux {since} or later")]
    Unsupported {
        /// What.
        what: &'static str,
        /// The first version that has it.
        since: &'static str,
    },

    /// The running kernel is new enough, but was built without something.
    #[error("{what} needs a kernel with {option}")]
    NotConfigured {
        /// What.
        what: &'static str,
        /// The kernel's build option.
        option: &'static str,
    },

    /// The machine's architecture, or its processor, has no such thing.
    #[error("this machine has no {what}")]
    Architecture {
        /// What.
        what: &'static str,
    },

    /// The kernel, the processor, or this thread has no such register set.
    #[error("tracee {tid} has no register set {set}")]
    NoRegisterSet {
        /// The tracee.
        tid: Tid,
        /// The set.
        set: RegSet,
    },

    /// All debug registers of the tracee are in use.
    #[error("no debug register of tracee {tid} is free")]
    NoFreeDebugRegister {
        /// The tracee.
        tid: Tid,
    },

    /// A request for which being the tracer is not enough.
    #[error("{request} takes {lacks}")]
    NotPrivileged {
        /// The ptrace(2) request.
        request: &'static str,
        /// What this process lacks.
        lacks: Privilege,
    },

    /// A program could not be started. The error is the one that
    /// [`std::process::Command::spawn`] gives.
    #[error("cannot start the program: {0}")]
    Spawn(#[source] io::Error),

    /// No signal is left to wake the tracer's threads with, or the chosen one has a
    /// handler. Choose another: [`wake_signal`](crate::TracerBuilder::wake_signal).
    #[error("no free signal to wake tracer threads with: {0}")]
    WakeSignal(#[source] Errno),

    /// The [tracer threads](crate::TracerBuilder::cpus) cannot run on a CPU that was chosen for
    /// them. [`allowed_cpus`](crate::allowed_cpus) tells on which they can.
    #[error("tracer threads cannot run on CPU {cpu}: {reason}")]
    CpuUnavailable {
        /// The number of the CPU.
        cpu: usize,
        /// Why.
        reason: CpuRefusal,
    },

    /// A system call failed that fails only when the system is short of something.
    #[error("{call}: {source}")]
    System {
        /// The call.
        call: &'static str,
        /// The error.
        #[source]
        source: Errno,
    },
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Spawn(source) => source,
            Error::System { source, .. } => source.into(),
            other => {
                let kind = match &other {
                    Error::Gone(_) | Error::NoSuchProcess(_) => io::ErrorKind::NotFound,
                    Error::NotPermitted { .. } => io::ErrorKind::PermissionDenied,
                    Error::Busy(_) => io::ErrorKind::TimedOut,
                    Error::NotPrivileged { .. } => io::ErrorKind::PermissionDenied,
                    Error::Unsupported { .. }
                    | Error::NotConfigured { .. }
                    | Error::Architecture { .. }
                    | Error::NoRegisterSet { .. } => io::ErrorKind::Unsupported,
                    Error::TooManyTracees { .. } => io::ErrorKind::QuotaExceeded,
                    Error::Shutdown => io::ErrorKind::BrokenPipe,
                    Error::TimedOut { .. } => io::ErrorKind::TimedOut,
                    Error::NoSuchSignal(_)
                    | Error::InvalidArgument(_)
                    | Error::CpuUnavailable { .. }
                    | Error::NotASignalStop { .. } => io::ErrorKind::InvalidInput,
                    _ => io::ErrorKind::Other,
                };
                io::Error::new(kind, other)
            }
        }
    }
}

//! Why a process may not be traced.
//!
//! The kernel says `EPERM` and no more. The reason is read from `/proc` afterwards, when
//! things may have changed: it is the best that can be said, not a proof.

use std::ffi::{OsStr, OsString};
use std::fmt;

use tracehound_sys::{Errno, Tid, proc};

use crate::error::Error;

/// Why a process may not be traced.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Another tracer has it: a thread has one tracer.
    #[non_exhaustive]
    AlreadyTraced {
        /// The thread that traces it.
        tracer: Tid,
        /// The process of that thread, if it can be known.
        process: Option<Tid>,
        /// The name of that process, if it can be known: any bytes.
        name: Option<OsString>,
    },
    /// It is a thread of the calling process.
    OwnProcess,
    /// It is a child of the calling process, whose own wait for it would take stops for
    /// exits. Say [`own_child`](crate::Attach::own_child) if nobody waits for it.
    OwnChild,
    /// It is a kernel thread.
    KernelThread,
    /// It is a zombie: dead, and waited for by nobody yet.
    Zombie,
    /// Another user, a capability that is missing, a security module, or a program
    /// that was made undumpable.
    Denied,
}

impl Refusal {
    /// Traced by this thread, whose process is looked up.
    pub(crate) fn already_traced(tracer: Tid) -> Self {
        let process = proc::status(tracer).ok().map(|status| status.tgid);
        Refusal::AlreadyTraced {
            tracer,
            process,
            name: process.and_then(|process| proc::comm(process).ok()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::AlreadyTraced {
                tracer,
                process,
                name,
            } => {
                write!(f, "it is traced already, by ")?;
                write_tracer(f, *tracer, *process, name.as_deref())?;
                f.write_str("; end that first")
            }
            Refusal::OwnProcess => {
                f.write_str("it belongs to this process; trace it from another one")
            }
            Refusal::OwnChild => f.write_str(
                "it is a child of this process, whose own wait for it would see its stops",
            ),
            Refusal::KernelThread => f.write_str("it is a kernel thread"),
            Refusal::Zombie => f.write_str("it is dead, and waits for its parent to notice"),
            Refusal::Denied => f.write_str(
                "it takes the same user, or CAP_SYS_PTRACE, and the consent of security \
                 modules (see kernel.yama.ptrace_scope)",
            ),
        }
    }
}

fn write_tracer(
    f: &mut fmt::Formatter<'_>,
    tracer: Tid,
    process: Option<Tid>,
    name: Option<&OsStr>,
) -> fmt::Result {
    match process {
        Some(process) if process == Tid::current_process() => f.write_str("this process")?,
        Some(process) => write!(f, "process {process}")?,
        None => return write!(f, "thread {tracer}"),
    }
    if let Some(name) = name {
        // A name may hold whatever a terminal obeys.
        write!(f, " ({})", name.as_encoded_bytes().escape_ascii())?;
    }
    if process != Some(tracer) {
        write!(f, ", thread {tracer}")?;
    }
    Ok(())
}

/// The reason behind an error of `PTRACE_SEIZE`.
pub(crate) fn explain(pid: Tid, errno: Errno) -> Error {
    let Ok(status) = proc::status(pid) else {
        return Error::NoSuchProcess(pid);
    };
    let reason = match errno {
        Errno::EPERM if status.tracer != Tid::from_raw(0) => Refusal::already_traced(status.tracer),
        Errno::EPERM if status.kernel_thread => Refusal::KernelThread,
        Errno::EPERM if matches!(status.state, 'Z' | 'X') => Refusal::Zombie,
        Errno::EPERM | Errno::EACCES => Refusal::Denied,
        Errno::ESRCH => return Error::NoSuchProcess(pid),
        source => {
            return Error::System {
                call: "PTRACE_SEIZE",
                source,
            };
        }
    };
    Error::NotPermitted { pid, reason }
}

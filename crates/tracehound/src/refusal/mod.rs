//! Why a process may not be traced.
//!
//! The kernel says `EPERM` and no more. The reason is read from `/proc` afterwards, when
//! things may have changed: it is the best that can be said, not a proof.

mod facts;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;

use tracehound_sys::proc::{self, Capabilities, Ids};
use tracehound_sys::{Errno, Tid, process_exists, ptrace};

use crate::error::Error;
use facts::Facts;

/// Why a process may not be traced. Each reason has a page that says what to do: see
/// [`guide::refusals`](crate::guide::refusals).
///
/// Where several hold at once, it is the one that the kernel meets first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// ptrace(2) itself fails, whoever the target is: see
    /// [`call_blocked`](crate::guide::refusals::call_blocked).
    #[non_exhaustive]
    CallBlocked {
        /// What it fails with.
        errno: Errno,
    },
    /// It is a kernel thread: see
    /// [`kernel_thread`](crate::guide::refusals::kernel_thread).
    KernelThread,
    /// It is a thread of the calling process: see
    /// [`own_process`](crate::guide::refusals::own_process).
    OwnProcess,
    /// It is a child of the calling process, whose own wait for it would take stops for
    /// exits: see [`own_child`](crate::guide::refusals::own_child).
    OwnChild,
    /// It runs as another user: see
    /// [`different_user`](crate::guide::refusals::different_user).
    #[non_exhaustive]
    DifferentUser {
        /// The target's user ids. Each must be the tracer's.
        uids: Ids,
        /// The tracer's real user id.
        own: u32,
    },
    /// It runs as another group: see
    /// [`different_user`](crate::guide::refusals::different_user).
    #[non_exhaustive]
    DifferentGroup {
        /// The target's group ids. Each must be the tracer's.
        gids: Ids,
        /// The tracer's real group id.
        own: u32,
    },
    /// Its memory is protected, also from its own user: see
    /// [`not_dumpable`](crate::guide::refusals::not_dumpable).
    NotDumpable,
    /// It is in a user namespace in which the tracer lacks `CAP_SYS_PTRACE`: see
    /// [`user_namespace`](crate::guide::refusals::user_namespace).
    UserNamespace,
    /// It may do more than the tracer: see
    /// [`missing_capabilities`](crate::guide::refusals::missing_capabilities).
    #[non_exhaustive]
    MissingCapabilities {
        /// Those that it is permitted and the tracer is not.
        missing: Capabilities,
    },
    /// The system's setting `kernel.yama.ptrace_scope`: see
    /// [`yama`](crate::guide::refusals::yama).
    #[non_exhaustive]
    Yama {
        /// The setting: 1, 2 or 3.
        scope: u8,
    },
    /// It is a zombie, dead, and waited for by nobody yet: see
    /// [`zombie`](crate::guide::refusals::zombie).
    Zombie,
    /// Another tracer has it, and a thread has one tracer: see
    /// [`already_traced`](crate::guide::refusals::already_traced).
    #[non_exhaustive]
    AlreadyTraced {
        /// The thread that traces it; nothing if that is outside of this pid namespace.
        tracer: Option<Tid>,
        /// The process of that thread, if it can be known.
        process: Option<Tid>,
        /// The name of that process, if it can be known: any bytes.
        name: Option<OsString>,
    },
    /// It exists, but `/proc` does not show it: see
    /// [`hidden`](crate::guide::refusals::hidden).
    Hidden,
    /// None of the others: a security module denies it, most likely. See
    /// [`denied`](crate::guide::refusals::denied).
    #[non_exhaustive]
    Denied {
        /// The names of the active security modules that could.
        modules: Vec<&'static str>,
    },
}

impl Refusal {
    /// Traced by this thread, whose process is looked up.
    pub(crate) fn already_traced(tracer: Tid) -> Self {
        let process = proc::status(tracer).ok().map(|status| status.tgid);
        Refusal::AlreadyTraced {
            tracer: tracer.is_valid().then_some(tracer),
            process,
            name: process.and_then(|process| proc::comm(process).ok()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::CallBlocked { errno } => write!(
                f,
                "ptrace(2) itself fails here ({}), most likely by a seccomp filter; \
                 run the tracer where it is allowed",
                errno.desc()
            ),
            Refusal::KernelThread => {
                f.write_str("it is a kernel thread, which nobody can trace; see ftrace and perf")
            }
            Refusal::OwnProcess => {
                f.write_str("it belongs to this process; trace it from another one")
            }
            Refusal::OwnChild => f.write_str(
                "it is a child of this process, whose own wait for it would see its stops; \
                 say own_child(true) if nothing waits for it",
            ),
            Refusal::DifferentUser { uids, own } => write!(
                f,
                "it runs as user {uids}, the tracer as {own}; \
                 run the tracer as that user, or with CAP_SYS_PTRACE"
            ),
            Refusal::DifferentGroup { gids, own } => write!(
                f,
                "it runs as group {gids}, the tracer as {own}; \
                 run the tracer as that group, or with CAP_SYS_PTRACE"
            ),
            Refusal::NotDumpable => f.write_str(
                "its memory is protected (it changed its user, or asked for it, or its \
                 program cannot be read); run the tracer with CAP_SYS_PTRACE",
            ),
            Refusal::UserNamespace => f.write_str(
                "it is in another user namespace; run the tracer there, \
                 or with CAP_SYS_PTRACE in one above it",
            ),
            Refusal::MissingCapabilities { missing } => write!(
                f,
                "it has {missing}, the tracer has not; \
                 run the tracer with these, or with CAP_SYS_PTRACE"
            ),
            Refusal::Yama { scope } => write_yama(f, *scope),
            Refusal::Zombie => f.write_str(
                "it is dead, and waits for its parent to notice; nothing of it can be traced",
            ),
            Refusal::AlreadyTraced {
                tracer,
                process,
                name,
            } => {
                f.write_str("it is traced already, by ")?;
                write_tracer(f, *tracer, *process, name.as_deref())?;
                f.write_str("; end that first")
            }
            Refusal::Hidden => f.write_str("/proc does not show it; mount /proc, without hidepid"),
            Refusal::Denied { modules } => match modules.as_slice() {
                [] => f.write_str("the kernel does not say why; try again in a moment"),
                modules => write!(
                    f,
                    "a security module denies it ({} could); see its log and its rules",
                    modules.join(", ")
                ),
            },
        }
    }
}

fn write_yama(f: &mut fmt::Formatter<'_>, scope: u8) -> fmt::Result {
    write!(f, "kernel.yama.ptrace_scope is {scope}: ")?;
    f.write_str(match scope {
        1 => {
            "only descendants may be traced; spawn it from the tracer, \
             or run the tracer with CAP_SYS_PTRACE"
        }
        2 => "run the tracer with CAP_SYS_PTRACE",
        _ => "nobody may trace until the next boot",
    })
}

fn write_tracer(
    f: &mut fmt::Formatter<'_>,
    tracer: Option<Tid>,
    process: Option<Tid>,
    name: Option<&OsStr>,
) -> fmt::Result {
    let Some(tracer) = tracer else {
        return f.write_str("somebody outside of this pid namespace");
    };
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
    if errno == Errno::ESRCH {
        return Error::NoSuchProcess(pid);
    }
    let reason = match (ptrace::blocked(), errno) {
        (Some(errno), _) => Refusal::CallBlocked { errno },
        (None, Errno::EPERM | Errno::EACCES) => match Facts::gather(pid) {
            Some(facts) => facts.decide(errno),
            None => return unseen(pid),
        },
        // An option that the kernel does not know.
        (None, Errno::EIO) => {
            return Error::Unsupported {
                what: "PTRACE_SEIZE with these options",
                since: "3.8",
            };
        }
        (None, source) => {
            return Error::System {
                call: "PTRACE_SEIZE",
                source,
            };
        }
    };
    Error::NotPermitted { pid, reason }
}

/// What to say of a process whose directory in `/proc` could not be read: this process may
/// have come to a limit of its own.
pub(crate) fn unread(pid: Tid, error: &io::Error) -> Error {
    shortage(error).unwrap_or_else(|| unseen(pid))
}

/// What an error of reading `/proc` says of this process, if it says nothing of the other.
pub(crate) fn shortage(error: &io::Error) -> Option<Error> {
    let source = Errno::from_raw(error.raw_os_error()?);
    let is_own = matches!(source, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM);
    is_own.then_some(Error::System {
        call: "open",
        source,
    })
}

/// What to say of a process that has no directory in `/proc`.
pub(crate) fn unseen(pid: Tid) -> Error {
    match process_exists(pid) {
        true => Error::NotPermitted {
            pid,
            reason: Refusal::Hidden,
        },
        false => Error::NoSuchProcess(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn traced(tracer: i32, process: Option<i32>, name: Option<&[u8]>) -> String {
        Refusal::AlreadyTraced {
            tracer: (tracer != 0).then(|| Tid::from_raw(tracer)),
            process: process.map(Tid::from_raw),
            name: name.map(|name| OsString::from_vec(name.to_vec())),
        }
        .to_string()
    }

    #[test]
    fn a_tracer_is_named_as_well_as_can_be() {
        let outside = traced(0, None, None);
        assert!(outside.contains("by somebody outside of this pid namespace;"));
        assert!(traced(3, None, None).contains("by thread 3;"));
        assert!(traced(3, Some(3), None).contains("by process 3;"));
        assert!(traced(4, Some(3), Some(b"gdb")).contains("by process 3 (gdb), thread 4;"));
        let hostile = traced(3, Some(3), Some(b"\x1b[2J\n\xff"));
        assert!(
            hostile.contains(r"by process 3 (\x1b[2J\n\xff);"),
            "{hostile}"
        );
        let own = Tid::current_process().as_raw();
        assert!(traced(own, Some(own), None).contains("by this process;"));
    }

    #[test]
    fn nobody_is_there() {
        for raw in [0, -1, i32::MIN, i32::MAX] {
            let nobody = Tid::from_raw(raw);
            for errno in [Errno::ESRCH, Errno::EPERM, Errno::EACCES] {
                let error = explain(nobody, errno);
                assert!(matches!(error, Error::NoSuchProcess(tid) if tid == nobody));
            }
        }
    }

    #[test]
    fn other_errors_stay_what_they_are() {
        let own = Tid::current();
        let error = explain(own, Errno::EIO);
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        let error = explain(own, Errno::ENOMEM);
        assert!(matches!(
            error,
            Error::System {
                source: Errno::ENOMEM,
                ..
            }
        ));
    }
}

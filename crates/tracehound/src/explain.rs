//! From the kernel's error number for a request to an error that says what to do.
//!
//! The kernel has few numbers for many reasons: `EIO` is a request that it does not know, one
//! that makes no sense in this stop, a bad address, a bad value. Which it is follows from the
//! request, and where that is not enough from the kernel's version. The version alone proves
//! nothing: distributions add requests to older kernels.

use std::fmt;

use tracehound_sys::ptrace::{self, Request};
use tracehound_sys::{Errno, Tid, proc};

use crate::error::Error;

/// What a privileged request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Privilege {
    /// The capability `CAP_SYS_ADMIN`.
    SysAdmin,
    /// `CAP_SYS_ADMIN` in the first user namespace, not in one of its own, as in a container.
    InitialNamespace,
    /// A tracer that is not under seccomp itself.
    NoSeccomp,
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Privilege::SysAdmin => "CAP_SYS_ADMIN",
            Privilege::InitialNamespace => "CAP_SYS_ADMIN in the initial user namespace",
            Privilege::NoSeccomp => {
                "a tracer without seccomp filters, and this process runs under some"
            }
        })
    }
}

/// Why the calling thread may not do what takes `CAP_SYS_ADMIN` and no seccomp.
fn lacking_privilege() -> Privilege {
    let own = Tid::current();
    if proc::status(own).is_ok_and(|own| own.seccomp != 0) {
        Privilege::NoSeccomp
    } else if proc::credentials(own).is_ok_and(|own| own.effective.has_sys_admin()) {
        Privilege::InitialNamespace
    } else {
        Privilege::SysAdmin
    }
}

/// The error of a request to a held tracee. Not for `ESRCH`, which says that it is gone.
pub(crate) fn explain(request: Request, tid: Tid, errno: Errno) -> Error {
    let what = request.name();
    if request.code().is_none() {
        return Error::Architecture { what };
    }
    if matches!(errno, Errno::EIO | Errno::EINVAL) && proc::kernel_is_older_than(request.since()) {
        let since = request.since();
        return Error::Unsupported { what, since };
    }
    if let Some(value) = bad_value(request, errno) {
        return Error::InvalidArgument(value);
    }
    match (request, errno) {
        (Request::SECCOMP_GET_FILTER | Request::SECCOMP_GET_METADATA, Errno::EACCES)
        | (Request::SETOPTIONS, Errno::EPERM) => Error::NotPrivileged {
            request: what,
            lacks: lacking_privilege(),
        },
        (
            Request::SECCOMP_GET_FILTER | Request::SECCOMP_GET_METADATA | Request::SETOPTIONS,
            Errno::EINVAL,
        ) => lacks_option(what, "CONFIG_SECCOMP_FILTER and CONFIG_CHECKPOINT_RESTORE"),
        (Request::GET_RSEQ_CONFIGURATION, Errno::EIO) => lacks_option(what, "CONFIG_RSEQ"),
        (Request::GET_THREAD_AREA | Request::SET_THREAD_AREA, Errno::EIO) => {
            lacks_option(what, "CONFIG_IA32_EMULATION")
        }
        (Request::GET_SYSCALL_USER_DISPATCH_CONFIG, Errno::EINVAL) => Error::Architecture {
            what: "syscall user dispatch",
        },
        (Request::SET_SYSCALL_USER_DISPATCH_CONFIG, Errno::EINVAL | Errno::EFAULT) => {
            // The same number for a bad value and for no such thing: a read tells.
            match ptrace::get_syscall_user_dispatch(tid) {
                Ok(_) => Error::InvalidArgument("a syscall user dispatch that cannot be"),
                Err(_) => Error::Architecture {
                    what: "syscall user dispatch",
                },
            }
        }
        (_, Errno::EINVAL | Errno::EIO) => Error::WrongStop { request: what, tid },
        (_, source) => Error::System { call: what, source },
    }
}

/// What is wrong with the value that was given, if this number says so.
fn bad_value(request: Request, errno: Errno) -> Option<&'static str> {
    match (request, errno) {
        (
            Request::SETREGS | Request::SETFPREGS | Request::SETREGSET,
            Errno::EIO | Errno::EINVAL | Errno::EFAULT,
        ) => Some("registers that user code may not have"),
        (Request::PEEKUSR | Request::POKEUSR, Errno::EIO | Errno::EINVAL) => {
            Some("an offset or a value that the user area cannot have")
        }
        (Request::SETSIGINFO, Errno::E2BIG | Errno::EFAULT) => {
            Some("a siginfo that the kernel does not know")
        }
        (Request::SET_SYSCALL_INFO, Errno::ERANGE) => {
            Some("a number or an argument that no system call can have")
        }
        (Request::GET_THREAD_AREA | Request::SET_THREAD_AREA, Errno::EINVAL) => {
            Some("a segment that user code may not have")
        }
        (Request::ARCH_PRCTL, Errno::EPERM) => Some("an address that user code may not have"),
        _ => None,
    }
}

fn lacks_option(what: &'static str, option: &'static str) -> Error {
    Error::NotConfigured { what, option }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_alone_says_little() {
        let tid = Tid::from_raw(7);
        let explain = |request, errno| explain(request, tid, errno);
        assert!(matches!(
            explain(Request::GETSIGINFO, Errno::EINVAL),
            Error::WrongStop {
                request: "PTRACE_GETSIGINFO",
                ..
            }
        ));
        assert!(matches!(
            explain(Request::SETREGSET, Errno::EINVAL),
            Error::InvalidArgument(_)
        ));
        assert!(matches!(
            explain(Request::GETSIGMASK, Errno::ENOMEM),
            Error::System {
                source: Errno::ENOMEM,
                ..
            }
        ));
        let missing = Request::ALL.iter().find(|request| request.code().is_none());
        if let Some(missing) = missing {
            assert!(matches!(
                explain(*missing, Errno::EOPNOTSUPP),
                Error::Architecture { .. }
            ));
        }
    }

    #[test]
    fn a_new_request_fails_on_an_old_kernel_only_with_its_number() {
        let newest = Request::SET_SYSCALL_INFO;
        let error = explain(newest, Tid::from_raw(7), Errno::EIO);
        match error {
            Error::Unsupported { since, .. } => {
                assert!(proc::kernel_is_older_than(newest.since()));
                assert_eq!(since, "6.16");
            }
            other => assert!(!proc::kernel_is_older_than(newest.since()), "{other:?}"),
        }
        let error = explain(newest, Tid::from_raw(7), Errno::ERANGE);
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
    }
}

//! Attaching, resuming, stopping and letting go.

use nix::errno::Errno;

use super::{Options, Request, plain};
use crate::{Result, Signal, Tid};

fn number(signal: Option<Signal>) -> usize {
    signal.map_or(0, |s| s.as_raw() as usize)
}

/// `PTRACE_SEIZE` (Linux 3.4): attaches without stopping the tracee. The options
/// hold at once.
///
/// Blocks while a thread of the target is in the middle of an exec.
///
/// # Errors
///
/// `EPERM` if it is not permitted, already traced, or the thread is dead or a
/// kernel thread; `ESRCH` if there is no such thread.
pub fn seize(tid: Tid, options: Options) -> Result<()> {
    plain(Request::SEIZE, tid, 0, options.bits() as usize)
}

/// What ptrace(2) fails with whoever the tracee is, if it does: a seccomp filter, or a kernel
/// without it. Tries [`seize`] on a thread that cannot be.
pub fn blocked() -> Option<Errno> {
    let nobody = Tid::from_raw(-1);
    seize(nobody, Options::empty())
        .err()
        .filter(|&errno| errno != Errno::ESRCH)
}

/// `PTRACE_INTERRUPT` (Linux 3.4): stops a running, seized tracee without a
/// signal. It reports [`StopKind::Trap`](crate::wait::StopKind::Trap), or another
/// stop that came first.
pub fn interrupt(tid: Tid) -> Result<()> {
    plain(Request::INTERRUPT, tid, 0, 0)
}

/// `PTRACE_KILL`: `SIGKILL`, for a tracee that kill(2) is not permitted for, as after the tracer
/// has given up its user. Since Linux 5.19 in any state; before, for one that is stopped.
pub fn kill(tid: Tid) -> Result<()> {
    plain(Request::KILL, tid, 0, 0)
}

/// `PTRACE_LISTEN` (Linux 3.4): leaves a tracee in its group-stop and reports when
/// the stop ends.
///
/// # Errors
///
/// `EIO` if the tracee is not in a stop of `PTRACE_EVENT_STOP`.
pub fn listen(tid: Tid) -> Result<()> {
    plain(Request::LISTEN, tid, 0, 0)
}

/// `PTRACE_SETOPTIONS`: replaces the options.
///
/// # Errors
///
/// `EINVAL` for options that the kernel does not know; `EPERM` for
/// [`SUSPEND_SECCOMP`](Options::SUSPEND_SECCOMP) without the rights it takes.
pub fn set_options(tid: Tid, options: Options) -> Result<()> {
    plain(Request::SETOPTIONS, tid, 0, options.bits() as usize)
}

/// `PTRACE_DETACH`: ends the attachment and lets the thread run, delivering
/// `signal` if the tracee is in a signal-delivery-stop.
///
/// Breakpoints in debug registers stay, and their `SIGTRAP` then kills the thread: take
/// them out before.
pub fn detach(tid: Tid, signal: Option<Signal>) -> Result<()> {
    plain(Request::DETACH, tid, 0, number(signal))
}

/// How a tracee is resumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum ResumeKind {
    /// `PTRACE_CONT`: until the next signal, event or death.
    Cont,
    /// `PTRACE_SYSCALL`: also until the next syscall-stop.
    Syscall,
    /// `PTRACE_SINGLESTEP`: one instruction.
    Step,
    /// `PTRACE_SINGLEBLOCK` (x86): until the next branch was taken. Where the processor, or
    /// the hypervisor in between, does not do this, one instruction.
    Block,
    /// `PTRACE_SYSEMU`: until the next system call, which is not made. x86,
    /// arm64 (5.3), powerpc, s390 and others.
    Sysemu,
    /// `PTRACE_SYSEMU_SINGLESTEP`: one instruction; a system call is reported and not made.
    SysemuStep,
}

impl ResumeKind {
    /// The request that does this.
    pub const fn request(self) -> Request {
        match self {
            ResumeKind::Cont => Request::CONT,
            ResumeKind::Syscall => Request::SYSCALL,
            ResumeKind::Step => Request::SINGLESTEP,
            ResumeKind::Block => Request::SINGLEBLOCK,
            ResumeKind::Sysemu => Request::SYSEMU,
            ResumeKind::SysemuStep => Request::SYSEMU_SINGLESTEP,
        }
    }

    /// Whether the tracee reports the end of a step with a `SIGTRAP`.
    pub const fn is_stepping(self) -> bool {
        matches!(
            self,
            ResumeKind::Step | ResumeKind::Block | ResumeKind::SysemuStep
        )
    }
}

/// `PTRACE_CONT`, `PTRACE_SYSCALL`, `PTRACE_SINGLESTEP`, `PTRACE_SINGLEBLOCK`,
/// `PTRACE_SYSEMU` or `PTRACE_SYSEMU_SINGLESTEP`.
///
/// `signal` is delivered if the tracee is in a signal-delivery-stop; elsewhere the
/// kernel drops or delivers it, depending on the stop: give none.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped or was killed; `EIO` for a signal that
/// does not exist; `EOPNOTSUPP` for a request that the architecture lacks.
pub fn resume(tid: Tid, how: ResumeKind, signal: Option<Signal>) -> Result<()> {
    plain(how.request(), tid, 0, number(signal))
}

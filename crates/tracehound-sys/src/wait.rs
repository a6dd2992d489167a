//! waitid(2), decoded by hand.
//!
//! `waitid` on a tracee gives `si_code` and `si_status`; in a ptrace-stop the
//! latter is the signal with the event in the bits above: signal | event << 8.
//! The decoding of the nix crate is not used: it loses the stop of a real-time
//! signal (`EINVAL`) and misreads a signal-delivery-stop.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;

use crate::{ResourceUsage, Result, Signal, Tid, Usage};

/// What a tracer thread waits with: its own tracees only.
///
/// `__WNOTHREAD` leaves out what other threads of the process made or trace.
/// `__WCLONE` leaves out ordinary children of this thread, also those inherited
/// from a thread that ended; a tracee is eligible under any flag.
pub const OWN_TRACEES: i32 = libc::__WCLONE | libc::__WNOTHREAD | libc::WEXITED | libc::WSTOPPED;

/// One report of waitid(2): a thread, and what happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The thread.
    pub tid: Tid,
    /// What happened to it.
    pub status: WaitStatus,
    /// What a dead process has used, if that was asked for.
    pub usage: Option<ResourceUsage>,
}

/// The state that waitid(2) reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitStatus {
    /// The thread is dead and has been reaped. The death of a thread other than
    /// the leader says how this thread ended.
    Dead(ExitStatus),
    /// A ptrace-stop.
    Stopped(StopStatus),
    /// A job-control stop of a child that is not traced.
    JobStopped(Signal),
    /// A child continued.
    Continued,
}

/// The status word of a ptrace-stop: signal | event << 8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StopStatus(i32);

/// What a ptrace-stop's status word alone tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StopKind {
    /// A syscall-enter-stop or syscall-exit-stop (with `PTRACE_O_TRACESYSGOOD`).
    Syscall,
    /// A signal-delivery-stop; or, for `SIGTRAP`, a step or a breakpoint, which
    /// only the siginfo tells apart.
    Signal(Signal),
    /// A group-stop (seized tracees only), with the signal that stopped the group.
    Group(Signal),
    /// `PTRACE_EVENT_STOP` with `SIGTRAP`: a birth stop, the answer to
    /// `PTRACE_INTERRUPT`, or the end of a group-stop while listening.
    Trap,
    /// `PTRACE_EVENT_FORK`.
    Fork,
    /// `PTRACE_EVENT_VFORK`.
    Vfork,
    /// `PTRACE_EVENT_CLONE`.
    Clone,
    /// `PTRACE_EVENT_EXEC`.
    Exec,
    /// `PTRACE_EVENT_VFORK_DONE`.
    VforkDone,
    /// `PTRACE_EVENT_EXIT`.
    Exit,
    /// `PTRACE_EVENT_SECCOMP`.
    Seccomp,
    /// An event that this version does not know.
    Unknown {
        /// The event's number.
        event: i32,
        /// The signal reported with it.
        signal: Signal,
    },
}

impl StopStatus {
    /// A status word as waitid(2) gives it in `si_status`.
    pub const fn from_raw(raw: i32) -> Self {
        StopStatus(raw)
    }

    /// The word.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// What the word alone tells.
    pub const fn kind(self) -> StopKind {
        let signal = Signal::from_raw(self.0 & 0xff);
        match self.0 >> 8 {
            0 if self.0 == libc::SIGTRAP | 0x80 => StopKind::Syscall,
            0 => StopKind::Signal(signal),
            libc::PTRACE_EVENT_STOP if signal.is_stop() => StopKind::Group(signal),
            libc::PTRACE_EVENT_STOP => StopKind::Trap,
            libc::PTRACE_EVENT_FORK => StopKind::Fork,
            libc::PTRACE_EVENT_VFORK => StopKind::Vfork,
            libc::PTRACE_EVENT_CLONE => StopKind::Clone,
            libc::PTRACE_EVENT_EXEC => StopKind::Exec,
            libc::PTRACE_EVENT_VFORK_DONE => StopKind::VforkDone,
            libc::PTRACE_EVENT_EXIT => StopKind::Exit,
            libc::PTRACE_EVENT_SECCOMP => StopKind::Seccomp,
            event => StopKind::Unknown { event, signal },
        }
    }
}

/// Which children a wait looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All that the flags allow: `P_ALL`.
    All,
    /// One thread: `P_PID`.
    One(Tid),
}

impl Target {
    pub(crate) fn raw(self) -> (libc::idtype_t, libc::id_t) {
        match self {
            Target::All => (libc::P_ALL, 0),
            Target::One(tid) => (libc::P_PID, tid.as_raw() as libc::id_t),
        }
    }
}

/// `waitid(_, _, _, WNOHANG | flags)`: takes one report if there is one.
///
/// # Errors
///
/// `ECHILD` if no child is eligible, also none that is stopped.
pub fn poll(target: Target, flags: i32) -> Result<Option<Report>> {
    waitid(target, flags, None)
}

/// [`poll`], with the resource usage of the dead if it is [wanted](Usage).
///
/// # Errors
///
/// As [`poll`].
pub fn poll_with_usage(target: Target, flags: i32, usage: Usage) -> Result<Option<Report>> {
    if usage == Usage::Unwanted {
        return poll(target, flags);
    }
    let seen = poll(target, flags | libc::WNOWAIT)?;
    Ok(seen.and_then(|seen| take(seen, flags)))
}

/// Takes a report that was seen. Nothing comes of one that is not there any more: the
/// tracee was killed in its stop, and its death will be seen.
pub(crate) fn take(seen: Report, flags: i32) -> Option<Report> {
    let target = Target::One(seen.tid);
    let report = match seen.status {
        WaitStatus::Dead(_) => {
            // SAFETY: rusage is plain data, for which all zeroes is a value.
            let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
            waitid(target, flags, Some(&mut usage))
        }
        // Not a death, which would be one without its usage.
        _ => waitid(target, flags & !libc::WEXITED, None),
    };
    report.ok().flatten()
}

fn waitid(
    target: Target,
    flags: i32,
    mut usage: Option<&mut libc::rusage>,
) -> Result<Option<Report>> {
    let (idtype, id) = target.raw();
    let mut info = RawInfo::new();
    let place = usage.as_deref_mut();
    // The system call: the C library's wrapper leaves the usage out.
    // SAFETY: the siginfo_t and the rusage, if there is one, live through the call, which
    // writes nothing else.
    let result = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            idtype,
            id,
            info.as_ptr(),
            flags | libc::WNOHANG,
            place.map_or(std::ptr::null_mut(), std::ptr::from_mut),
        )
    };
    Errno::result(result)?;
    let usage = usage.as_deref().map(ResourceUsage::from_raw);
    Ok(info.decode().map(|report| Report { usage, ..report }))
}

/// `waitid(P_PID, _, _, WNOHANG | WNOWAIT)`: the next report of a tracee of this thread,
/// which is not taken.
///
/// # Errors
///
/// As [`poll`].
pub fn peek(tid: Tid) -> Result<Option<Report>> {
    poll(Target::One(tid), OWN_TRACEES | libc::WNOWAIT)
}

/// Whether the calling thread has tracees, also such as have not stopped yet.
pub fn has_tracees() -> bool {
    poll(Target::All, OWN_TRACEES | libc::WNOWAIT) != Err(Errno::ECHILD)
}

/// Whether a thread is a tracee of the calling thread.
pub fn is_own_tracee(tid: Tid) -> bool {
    peek(tid) != Err(Errno::ECHILD)
}

/// The siginfo that waitid(2) fills in.
pub(crate) struct RawInfo(libc::siginfo_t);

impl RawInfo {
    pub(crate) fn new() -> Self {
        // SAFETY: siginfo_t is plain data, for which all zeroes is a value.
        RawInfo(unsafe { std::mem::zeroed() })
    }

    pub(crate) fn as_ptr(&mut self) -> *mut libc::siginfo_t {
        &mut self.0
    }

    /// The report, or nothing if the kernel left the thread's id at zero.
    pub(crate) fn decode(&self) -> Option<Report> {
        // SAFETY: waitid fills the fields of SIGCHLD or leaves all zeroes; both
        // are integers, so any bytes are values.
        let (tid, status) = unsafe { (self.0.si_pid(), self.0.si_status()) };
        (tid > 0).then(|| Report {
            tid: Tid::from_raw(tid),
            status: decode(self.0.si_code, status),
            usage: None,
        })
    }
}

/// Decodes `si_code` and `si_status` of waitid(2).
pub fn decode(code: i32, status: i32) -> WaitStatus {
    match code {
        libc::CLD_EXITED => WaitStatus::Dead(ExitStatus::from_raw((status & 0xff) << 8)),
        libc::CLD_KILLED => WaitStatus::Dead(ExitStatus::from_raw(status & 0x7f)),
        libc::CLD_DUMPED => WaitStatus::Dead(ExitStatus::from_raw((status & 0x7f) | 0x80)),
        libc::CLD_STOPPED => WaitStatus::JobStopped(Signal::from_raw(status)),
        libc::CLD_CONTINUED => WaitStatus::Continued,
        // CLD_TRAPPED, and whatever a later kernel may add for tracees.
        _ => WaitStatus::Stopped(StopStatus::from_raw(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(raw: i32) -> StopKind {
        StopStatus::from_raw(raw).kind()
    }

    #[test]
    fn stops_of_the_same_signal_are_told_apart() {
        let trap = libc::SIGTRAP;
        assert_eq!(kind(trap), StopKind::Signal(Signal::SIGTRAP));
        assert_eq!(kind(trap | 0x80), StopKind::Syscall);
        assert_eq!(kind(trap | 128 << 8), StopKind::Trap);
        assert_eq!(kind(trap | 4 << 8), StopKind::Exec);
        assert_eq!(kind(libc::SIGSTOP), StopKind::Signal(Signal::SIGSTOP));
        assert_eq!(
            kind(libc::SIGSTOP | 128 << 8),
            StopKind::Group(Signal::SIGSTOP)
        );
        assert_eq!(kind(34), StopKind::Signal(Signal::from_raw(34)));
        assert_eq!(
            kind(trap | 99 << 8),
            StopKind::Unknown {
                event: 99,
                signal: Signal::SIGTRAP
            }
        );
    }

    #[test]
    fn deaths_keep_code_signal_and_core_flag() {
        let WaitStatus::Dead(status) = decode(libc::CLD_EXITED, 3) else {
            panic!("a death");
        };
        assert_eq!(status.code(), Some(3));
        let WaitStatus::Dead(status) = decode(libc::CLD_DUMPED, libc::SIGABRT) else {
            panic!("a death");
        };
        assert_eq!(status.signal(), Some(libc::SIGABRT));
        assert!(status.core_dumped());
    }

    proptest! {
        #[test]
        fn any_report_decodes(code: i32, status: i32) {
            if let WaitStatus::Stopped(stop) = decode(code, status) {
                prop_assert_eq!(stop.as_raw(), status);
                let _ = stop.kind();
            }
        }
    }
}

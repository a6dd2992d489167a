//! ptrace(2), one safe function for each request.
//!
//! Each function works only on the thread that attached the tracee; elsewhere
//! the kernel answers `ESRCH`, which looks like a dead tracee. Each but
//! [`seize`] and [`interrupt`] needs a tracee that is in
//! a ptrace-stop.
//!
//! Safe, because a request can only change the tracee: no pointer given to the
//! kernel here outlives the call. What a changed tracee does to memory that it
//! shares with its tracer is outside of what Rust's rules cover, as with
//! `/proc/self/mem`.

mod options;
mod regs;
mod syscall_info;

pub use options::Options;
pub use regs::{Regs, getregs, setregs};
pub use syscall_info::{Arch, SyscallEntry, SyscallInfo, SyscallOp, get_syscall_info};

use std::ffi::c_void;

use nix::errno::Errno;

use crate::wait::StopStatus;
use crate::{Result, SigInfo, Signal, Tid};

/// Raw request codes, of the type that this C library's ptrace(3) takes.
#[cfg(target_env = "gnu")]
pub(crate) type RequestCode = libc::c_uint;
#[cfg(not(target_env = "gnu"))]
pub(crate) type RequestCode = libc::c_int;

/// The ptrace system call with the errors of the kernel.
///
/// # Safety
///
/// `addr` and `data` must be what `request` takes: numbers, or pointers to
/// memory that the kernel may read or write as the request says.
pub(crate) unsafe fn request(
    request: RequestCode,
    tid: Tid,
    addr: *mut c_void,
    data: *mut c_void,
) -> Result<libc::c_long> {
    // Not the C library's wrapper: it turns the results of PEEK requests into
    // return values. The system call itself needs no such care.
    // SAFETY: the caller vouches for addr and data; the request and the tid are
    // numbers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            request as libc::c_long,
            tid.as_raw() as libc::c_long,
            addr,
            data,
        )
    };
    Errno::result(result)
}

/// A request whose address and data are numbers.
fn plain(code: RequestCode, tid: Tid, addr: usize, data: usize) -> Result<()> {
    // SAFETY: callers in this module pass requests that take numbers only; the
    // kernel follows no pointer.
    unsafe { request(code, tid, addr as *mut c_void, data as *mut c_void) }.map(drop)
}

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
    plain(libc::PTRACE_SEIZE, tid, 0, options.bits() as usize)
}

/// `PTRACE_INTERRUPT` (Linux 3.4): stops a running, seized tracee without a
/// signal. It reports [`StopKind::Trap`](crate::wait::StopKind::Trap), or another
/// stop that came first.
pub fn interrupt(tid: Tid) -> Result<()> {
    plain(libc::PTRACE_INTERRUPT, tid, 0, 0)
}

/// `PTRACE_LISTEN` (Linux 3.4): leaves a tracee in its group-stop and reports when
/// the stop ends.
///
/// # Errors
///
/// `EIO` if the tracee is not in a stop of `PTRACE_EVENT_STOP`.
pub fn listen(tid: Tid) -> Result<()> {
    plain(libc::PTRACE_LISTEN, tid, 0, 0)
}

/// `PTRACE_SETOPTIONS`: replaces the options.
pub fn set_options(tid: Tid, options: Options) -> Result<()> {
    plain(libc::PTRACE_SETOPTIONS, tid, 0, options.bits() as usize)
}

/// `PTRACE_DETACH`: ends the attachment and lets the thread run, delivering
/// `signal` if the tracee is in a signal-delivery-stop.
pub fn detach(tid: Tid, signal: Option<Signal>) -> Result<()> {
    plain(libc::PTRACE_DETACH, tid, 0, number(signal))
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
    /// `PTRACE_SYSEMU`: until the next system call, which is not made. x86,
    /// arm64 (5.3), powerpc, s390 and others.
    Sysemu,
}

/// `PTRACE_CONT`, `PTRACE_SYSCALL`, `PTRACE_SINGLESTEP` or `PTRACE_SYSEMU`.
///
/// `signal` is delivered if the tracee is in a signal-delivery-stop; elsewhere the
/// kernel drops or delivers it, depending on the stop: give none.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped or was killed; `EIO` for a signal that
/// does not exist or a request that the architecture lacks.
pub fn resume(tid: Tid, how: ResumeKind, signal: Option<Signal>) -> Result<()> {
    let code = match how {
        ResumeKind::Cont => libc::PTRACE_CONT,
        ResumeKind::Syscall => libc::PTRACE_SYSCALL,
        ResumeKind::Step => libc::PTRACE_SINGLESTEP,
        ResumeKind::Sysemu => SYSEMU,
    };
    plain(code, tid, 0, number(signal))
}

/// `PTRACE_SYSEMU`, which libc lacks on some targets.
const SYSEMU: RequestCode = 31;

/// `PTRACE_GETEVENTMSG`: the number that came with an event: the new thread's id,
/// the former id at an exec, the exit status at an exit, the filter's data.
pub fn get_event_msg(tid: Tid) -> Result<u64> {
    let mut message: libc::c_ulong = 0;
    let data = (&raw mut message).cast();
    // SAFETY: the kernel writes one unsigned long to `data`, which is one.
    unsafe {
        request(libc::PTRACE_GETEVENTMSG, tid, std::ptr::null_mut(), data)?;
    }
    Ok(message as u64)
}

/// `PTRACE_GETSIGINFO`: the signal that caused the stop.
///
/// # Errors
///
/// `EINVAL` in a stop that has none.
pub fn getsiginfo(tid: Tid) -> Result<SigInfo> {
    let mut info = SigInfo::zeroed();
    // SAFETY: the kernel writes a siginfo_t, which is what a SigInfo has room for.
    unsafe {
        request(
            libc::PTRACE_GETSIGINFO,
            tid,
            std::ptr::null_mut(),
            info.as_mut_ptr().cast(),
        )?;
    }
    Ok(info)
}

/// The status word of the present stop, as waitid(2) gave it, or would: for a stop whose
/// report somebody else has taken. `PTRACE_GETSIGINFO`, in which the kernel keeps it.
///
/// A tracee that sends itself a signal with a code like that of an event is taken at its
/// word.
///
/// # Errors
///
/// `ESRCH` if the tracee is in no stop.
pub fn stop_status(tid: Tid) -> Result<StopStatus> {
    let info = getsiginfo(tid)?;
    let (signal, code) = (info.signal().as_raw(), info.code());
    let is_call = signal == libc::SIGTRAP && code == libc::SIGTRAP | 0x80;
    let is_event = code & 0xff == signal && matches!(code >> 8, 1..=7 | libc::PTRACE_EVENT_STOP);
    let raw = if is_call || is_event { code } else { signal };
    Ok(StopStatus::from_raw(raw))
}

/// `PTRACE_SETSIGINFO`: changes the signal about to be delivered.
pub fn setsiginfo(tid: Tid, info: &SigInfo) -> Result<()> {
    let data = info.as_bytes().as_ptr().cast_mut().cast();
    // SAFETY: the kernel reads a siginfo_t from `data` and does not write there.
    unsafe { request(libc::PTRACE_SETSIGINFO, tid, std::ptr::null_mut(), data) }.map(drop)
}

/// `PTRACE_PEEKSIGINFO` (Linux 3.10): signals that wait to be delivered to this thread
/// alone, oldest first, without taking them. At most 32.
pub fn peek_siginfo(tid: Tid) -> Result<Vec<SigInfo>> {
    const MOST: usize = 32;

    /// `struct ptrace_peeksiginfo_args`.
    #[repr(C)]
    struct Args {
        offset: u64,
        flags: u32,
        count: i32,
    }

    let args = Args {
        offset: 0,
        flags: 0,
        count: MOST as i32,
    };
    let mut infos = [SigInfo::zeroed(); MOST];
    // SAFETY: the kernel reads `args` and writes at most `count` siginfos to `infos`, which
    // has room for them.
    let found = unsafe {
        request(
            libc::PTRACE_PEEKSIGINFO as RequestCode,
            tid,
            (&raw const args).cast_mut().cast(),
            infos.as_mut_ptr().cast(),
        )?
    };
    let found = usize::try_from(found).unwrap_or(0).min(MOST);
    Ok(infos[..found].to_vec())
}

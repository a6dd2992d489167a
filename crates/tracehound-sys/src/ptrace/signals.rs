//! The signal of a stop, signals that wait, and the mask that makes them wait.

use std::ptr;

use super::{Request, call, read_into};
use crate::wait::StopStatus;
use crate::{Errno, Result, SigInfo, SignalSet, Tid};

/// `PTRACE_GETEVENTMSG`: the number that came with an event: the new thread's id,
/// the former id at an exec, the exit status at an exit, the filter's data.
pub fn get_event_msg(tid: Tid) -> Result<u64> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one unsigned long, which `message` is.
    unsafe { read_into(Request::GETEVENTMSG, tid, ptr::null_mut(), &mut message)? };
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
    unsafe { read_into(Request::GETSIGINFO, tid, ptr::null_mut(), &mut info)? };
    Ok(info)
}

/// The status word of the present stop, as waitid(2) gave it, or would: for a stop whose
/// report somebody else has taken. `PTRACE_GETSIGINFO`, in which the kernel keeps it.
///
/// As [`SigInfo::stop_status`].
///
/// # Errors
///
/// `ESRCH` if the tracee is in no stop.
pub fn stop_status(tid: Tid) -> Result<StopStatus> {
    let info = getsiginfo(tid)?;
    Ok(info.stop_status(info.signal()))
}

/// `PTRACE_SETSIGINFO`: changes the signal about to be delivered.
///
/// # Errors
///
/// `EINVAL` in a stop that has none; `E2BIG` for a signal and code that the kernel does not
/// know, with bytes set behind the fields that it does.
pub fn setsiginfo(tid: Tid, info: &SigInfo) -> Result<()> {
    let data = info.as_bytes().as_ptr().cast_mut().cast();
    // SAFETY: the kernel reads a siginfo_t from `data` and does not write there.
    unsafe { call(Request::SETSIGINFO, tid, ptr::null_mut(), data) }.map(drop)
}

/// A queue of signals that wait to be delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignalQueue {
    /// What was sent to this thread: tgkill(2), faults.
    Thread,
    /// What was sent to the process, for any of its threads: kill(2), sigqueue(3), timers.
    Process,
}

/// The most that one [`peek_siginfo`] gives.
pub const PEEK_SIGINFO_MAX: usize = 64;

/// `PTRACE_PEEKSIGINFO` (Linux 3.10): signals that wait, oldest first, without taking them.
/// Gives at most `most` of those behind the first `offset`, and no more than
/// [`PEEK_SIGINFO_MAX`].
///
/// The kernel walks the queue from its head for each signal that it gives: going through a
/// queue of n takes n² steps.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped.
pub fn peek_siginfo(
    tid: Tid,
    queue: SignalQueue,
    offset: u64,
    most: usize,
) -> Result<Vec<SigInfo>> {
    /// `struct ptrace_peeksiginfo_args`.
    #[repr(C)]
    struct Args {
        offset: u64,
        flags: u32,
        count: i32,
    }
    const PEEKSIGINFO_SHARED: u32 = 1;

    let mut infos = [SigInfo::zeroed(); PEEK_SIGINFO_MAX];
    let most = most.min(infos.len());
    let args = Args {
        offset,
        flags: match queue {
            SignalQueue::Thread => 0,
            SignalQueue::Process => PEEKSIGINFO_SHARED,
        },
        count: i32::try_from(most).map_err(|_| Errno::EINVAL)?,
    };
    let addr = (&raw const args).cast_mut().cast();
    // SAFETY: the kernel reads `args` and writes at most `count` siginfos to `infos`, which
    // has room for them.
    let found = unsafe { call(Request::PEEKSIGINFO, tid, addr, infos.as_mut_ptr().cast())? };
    let found = usize::try_from(found).unwrap_or(0).min(most);
    Ok(infos[..found].to_vec())
}

/// `PTRACE_GETSIGMASK` (Linux 3.11): the signals that the thread blocks. In sigsuspend(2)
/// and its like, those that it will block again afterwards.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped.
pub fn getsigmask(tid: Tid) -> Result<SignalSet> {
    let mut bits = 0_u64;
    let size = ptr::without_provenance_mut(size_of::<u64>());
    // SAFETY: the kernel writes its sigset, which has `size` bytes, to `bits`.
    unsafe { read_into(Request::GETSIGMASK, tid, size, &mut bits)? };
    Ok(SignalSet::from_bits(bits))
}

/// `PTRACE_SETSIGMASK` (Linux 3.11): sets the signals that the thread blocks. The kernel
/// leaves out `SIGKILL` and `SIGSTOP`.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped.
pub fn setsigmask(tid: Tid, mask: SignalSet) -> Result<()> {
    let bits = mask.bits();
    let size = ptr::without_provenance_mut(size_of::<u64>());
    let data = (&raw const bits).cast_mut().cast();
    // SAFETY: the kernel reads a sigset of `size` bytes from `data`, and writes nothing.
    unsafe { call(Request::SETSIGMASK, tid, size, data) }.map(drop)
}

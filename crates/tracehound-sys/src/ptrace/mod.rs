//! ptrace(2), one safe function for each request.
//!
//! Each function works only on the thread that attached the tracee; elsewhere
//! the kernel answers `ESRCH`, which looks like a dead tracee. Each but
//! [`seize`], [`blocked`], [`interrupt`] and [`kill`] needs a tracee that is in
//! a ptrace-stop.
//!
//! Safe, because a request can only change the tracee: no pointer given to the
//! kernel here outlives the call. What a changed tracee does to memory that it
//! shares with its tracer is outside of what Rust's rules cover, as with
//! `/proc/self/mem`.
//!
//! A kernel that does not know a request answers `EIO`; [`Request`] tells which is the
//! first that does. A request that the architecture lacks is not made, and gives
//! `EOPNOTSUPP`.

mod control;
mod debug;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod fpregs;
mod mte;
mod options;
mod regs;
mod regset;
mod request;
mod rseq;
mod seccomp;
mod signals;
mod syscall_info;
mod user_dispatch;
mod words;
mod x86;
mod xstate;

pub use control::{
    ResumeKind, blocked, detach, interrupt, kill, listen, resume, seize, set_options,
};
pub use debug::{
    BreakpointKind, HardwareBreakpoint, clear_all_hardware_breakpoints, clear_hardware_breakpoint,
    fired_hardware_breakpoints, hardware_breakpoints, set_hardware_breakpoint,
};
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
pub use fpregs::{FpRegs, getfpregs, setfpregs};
pub use mte::{peek_mte_tags, poke_mte_tags};
pub use options::Options;
pub use regs::{Regs, getregs, setregs};
pub use regset::{RegSet, getregset, setregset};
pub use request::Request;
pub use rseq::{RseqConfiguration, get_rseq_configuration};
pub use seccomp::{
    BpfInstruction, SeccompMetadata, seccomp_filter_len, seccomp_get_filter, seccomp_get_metadata,
};
pub use signals::{
    PEEK_SIGINFO_MAX, SignalQueue, get_event_msg, getsiginfo, getsigmask, peek_siginfo, setsiginfo,
    setsigmask, stop_status,
};
#[cfg(fuzzing)]
pub(crate) use syscall_info::there_and_back;
pub use syscall_info::{
    Arch, SyscallEntry, SyscallInfo, SyscallOp, get_syscall_info, set_syscall_info,
    set_syscall_number,
};
pub use user_dispatch::{
    DispatchMode, UserDispatch, get_syscall_user_dispatch, set_syscall_user_dispatch,
};
#[cfg(target_arch = "x86_64")]
pub use words::debug_register_offset;
pub use words::{peek_data, peek_text, peek_user, poke_data, poke_text, poke_user};
pub use x86::{
    ArchGet, ArchSet, ThreadArea, arch_prctl_get, arch_prctl_set, get_thread_area, set_thread_area,
};
pub use xstate::XState;

use std::ffi::c_void;
use std::ptr;

use nix::errno::Errno;

use crate::{Result, Tid};

/// The ptrace system call with the errors of the kernel.
///
/// # Safety
///
/// `addr` and `data` must be what `request` takes: numbers, or pointers to
/// memory that the kernel may read or write as the request says.
unsafe fn call(
    request: Request,
    tid: Tid,
    addr: *mut c_void,
    data: *mut c_void,
) -> Result<libc::c_long> {
    let code = request.code().ok_or(Errno::EOPNOTSUPP)?;
    // Not the C library's wrapper: it turns the results of PEEK requests into
    // return values. The system call itself needs no such care.
    // SAFETY: the caller vouches for addr and data; the request and the tid are
    // numbers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            libc::c_long::from(code),
            tid.as_raw() as libc::c_long,
            addr,
            data,
        )
    };
    Errno::result(result)
}

/// A request whose address and data are numbers.
fn plain(request: Request, tid: Tid, addr: usize, data: usize) -> Result<()> {
    let (addr, data) = (
        ptr::without_provenance_mut(addr),
        ptr::without_provenance_mut(data),
    );
    // SAFETY: callers in this module pass requests that take numbers only; the
    // kernel follows no pointer.
    unsafe { call(request, tid, addr, data) }.map(drop)
}

/// A request that writes to `data`.
///
/// # Safety
///
/// What `request` writes, given `addr`, must fit into a `T` and be a value of it.
unsafe fn read_into<T>(
    request: Request,
    tid: Tid,
    addr: *mut c_void,
    data: &mut T,
) -> Result<libc::c_long> {
    // SAFETY: the caller vouches for it; `data` is exclusive for the time of the call.
    unsafe { call(request, tid, addr, ptr::from_mut(data).cast()) }
}

//! Syscall user dispatch: system calls that the thread wants as signals instead.

use std::fmt;
use std::ptr;

use super::{Request, call, read_into};
use crate::{Result, Tid};

/// Where system calls are dispatched to user code: `PR_SYS_DISPATCH_…`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct DispatchMode(u64);

impl DispatchMode {
    /// Nowhere.
    pub const OFF: DispatchMode = DispatchMode(0);
    /// Outside of the region: `PR_SYS_DISPATCH_ON`.
    pub const EXCLUSIVE_ON: DispatchMode = DispatchMode(1);
    /// Inside of the region only.
    pub const INCLUSIVE_ON: DispatchMode = DispatchMode(2);

    /// The mode with this number.
    pub const fn from_raw(raw: u64) -> Self {
        DispatchMode(raw)
    }

    /// The number.
    pub const fn as_raw(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for DispatchMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            DispatchMode::OFF => f.write_str("OFF"),
            DispatchMode::EXCLUSIVE_ON => f.write_str("EXCLUSIVE_ON"),
            DispatchMode::INCLUSIVE_ON => f.write_str("INCLUSIVE_ON"),
            DispatchMode(other) => write!(f, "{other}"),
        }
    }
}

/// The syscall user dispatch of a thread: `struct ptrace_sud_config`. See prctl(2),
/// `PR_SET_SYSCALL_USER_DISPATCH`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[repr(C)]
pub struct UserDispatch {
    /// Where it works.
    pub mode: DispatchMode,
    /// The address of the byte that switches it; zero for none.
    pub selector: u64,
    /// Where the region begins.
    pub offset: u64,
    /// How long the region is.
    pub len: u64,
}

impl UserDispatch {
    /// Switched off.
    pub const OFF: UserDispatch = UserDispatch {
        mode: DispatchMode::OFF,
        selector: 0,
        offset: 0,
        len: 0,
    };
}

const SIZE: usize = size_of::<UserDispatch>();

/// `PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG` (Linux 6.4): the thread's syscall user
/// dispatch.
///
/// # Errors
///
/// `EIO` on a kernel without the request; `EINVAL` if the architecture has no syscall user
/// dispatch.
pub fn get_syscall_user_dispatch(tid: Tid) -> Result<UserDispatch> {
    let mut config = UserDispatch::OFF;
    let request = Request::GET_SYSCALL_USER_DISPATCH_CONFIG;
    let size = ptr::without_provenance_mut(SIZE);
    // SAFETY: the kernel writes `size` bytes to the configuration, which is made of
    // integers.
    unsafe { read_into(request, tid, size, &mut config)? };
    Ok(config)
}

/// `PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG` (Linux 6.4): sets the thread's syscall user
/// dispatch.
///
/// # Errors
///
/// As [`get_syscall_user_dispatch`]; `EINVAL` for a mode that does not exist, a region
/// that wraps around, a region or selector where it is off; `EFAULT` for a selector that
/// cannot be an address.
pub fn set_syscall_user_dispatch(tid: Tid, config: &UserDispatch) -> Result<()> {
    let request = Request::SET_SYSCALL_USER_DISPATCH_CONFIG;
    let size = ptr::without_provenance_mut(SIZE);
    let data = ptr::from_ref(config).cast_mut().cast();
    // SAFETY: the kernel reads `size` bytes of the configuration, and writes nothing.
    unsafe { call(request, tid, size, data) }.map(drop)
}

//! What only x86 has: segments of thread-local storage, and arch_prctl(2).

use std::ptr;

use super::{Request, call, plain, read_into};
use crate::{Errno, Result, Tid};

/// A TLS segment of a 32-bit program: `struct user_desc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[repr(C)]
pub struct ThreadArea {
    /// Its number in the descriptor table.
    pub entry_number: u32,
    /// Where it begins.
    pub base_addr: u32,
    /// How long it is.
    pub limit: u32,
    /// The bits of `user_desc`, from the lowest: `seg_32bit`, `contents` (two),
    /// `read_exec_only`, `limit_in_pages`, `seg_not_present`, `useable`, `lm`.
    pub flags: u32,
}

fn entry(number: u32) -> Result<*mut std::ffi::c_void> {
    // Negative as an int: another error than that of a number too high.
    i32::try_from(number).map_err(|_| Errno::EINVAL)?;
    Ok(ptr::without_provenance_mut(number as usize))
}

/// `PTRACE_GET_THREAD_AREA` (x86): a TLS segment of the thread, by its number in the
/// descriptor table: 12 to 14.
///
/// # Errors
///
/// `EINVAL` for another number; `EIO` on a kernel that cannot run 32-bit programs.
pub fn get_thread_area(tid: Tid, number: u32) -> Result<ThreadArea> {
    let mut area = ThreadArea::default();
    // SAFETY: the kernel writes a user_desc, which a ThreadArea is.
    unsafe { read_into(Request::GET_THREAD_AREA, tid, entry(number)?, &mut area)? };
    Ok(area)
}

/// `PTRACE_SET_THREAD_AREA` (x86): sets a TLS segment of the thread, the one with this
/// number; that in `area` is not looked at.
///
/// # Errors
///
/// As [`get_thread_area`]; `EINVAL` for a segment that user code may not have.
pub fn set_thread_area(tid: Tid, number: u32, area: &ThreadArea) -> Result<()> {
    let data = ptr::from_ref(area).cast_mut().cast();
    // SAFETY: the kernel reads a user_desc from `data`. It writes there only where the
    // number is -1, which `entry` excludes: it takes the number from its argument.
    unsafe { call(Request::SET_THREAD_AREA, tid, entry(number)?, data) }.map(drop)
}

/// What arch_prctl(2) tells of another thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ArchGet {
    /// `ARCH_GET_FS`: the base of the FS segment, the thread pointer.
    Fs,
    /// `ARCH_GET_GS`: the base of the GS segment.
    Gs,
    /// `ARCH_GET_UNTAG_MASK` (Linux 6.4): which bits of an address count.
    UntagMask,
    /// `ARCH_SHSTK_STATUS` (Linux 6.6): which features of the shadow stack are on.
    ShadowStack,
}

/// What arch_prctl(2) sets for another thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ArchSet {
    /// `ARCH_SET_FS`: the base of the FS segment, the thread pointer.
    Fs,
    /// `ARCH_SET_GS`: the base of the GS segment.
    Gs,
    /// `ARCH_SHSTK_LOCK` (Linux 6.6): these features of the shadow stack can no longer be
    /// switched.
    LockShadowStack,
    /// `ARCH_SHSTK_UNLOCK` (Linux 6.6): they can again. Only for a tracer, with
    /// `CONFIG_CHECKPOINT_RESTORE`.
    UnlockShadowStack,
}

impl ArchGet {
    /// The name of the option.
    pub const fn name(self) -> &'static str {
        match self {
            ArchGet::Fs => "ARCH_GET_FS",
            ArchGet::Gs => "ARCH_GET_GS",
            ArchGet::UntagMask => "ARCH_GET_UNTAG_MASK",
            ArchGet::ShadowStack => "ARCH_SHSTK_STATUS",
        }
    }

    /// The first version of Linux that has it, and the build option that it takes.
    pub const fn needs(self) -> Option<(&'static str, &'static str)> {
        match self {
            ArchGet::Fs | ArchGet::Gs => None,
            ArchGet::UntagMask => Some(("6.4", "CONFIG_ADDRESS_MASKING")),
            ArchGet::ShadowStack => Some(("6.6", "CONFIG_X86_USER_SHADOW_STACK")),
        }
    }
}

impl ArchSet {
    /// The name of the option.
    pub const fn name(self) -> &'static str {
        match self {
            ArchSet::Fs => "ARCH_SET_FS",
            ArchSet::Gs => "ARCH_SET_GS",
            ArchSet::LockShadowStack => "ARCH_SHSTK_LOCK",
            ArchSet::UnlockShadowStack => "ARCH_SHSTK_UNLOCK",
        }
    }

    /// The first version of Linux that has it, and the build option that it takes.
    pub const fn needs(self) -> Option<(&'static str, &'static str)> {
        match self {
            ArchSet::Fs | ArchSet::Gs => None,
            ArchSet::LockShadowStack => Some(("6.6", "CONFIG_X86_USER_SHADOW_STACK")),
            ArchSet::UnlockShadowStack => Some((
                "6.6",
                "CONFIG_X86_USER_SHADOW_STACK and CONFIG_CHECKPOINT_RESTORE",
            )),
        }
    }
}

/// `PTRACE_ARCH_PRCTL` (x86_64): asks arch_prctl(2) about the thread.
///
/// # Errors
///
/// `EINVAL` for what the kernel does not know.
pub fn arch_prctl_get(tid: Tid, what: ArchGet) -> Result<u64> {
    let option = match what {
        ArchGet::Fs => 0x1003,
        ArchGet::Gs => 0x1004,
        ArchGet::UntagMask => 0x4001,
        ArchGet::ShadowStack => 0x5005,
    };
    let mut value: u64 = 0;
    let addr = (&raw mut value).cast();
    // SAFETY: these options write one u64 to the address, where `value` is. The option
    // travels as the data, the argument as the address.
    unsafe {
        call(
            Request::ARCH_PRCTL,
            tid,
            addr,
            ptr::without_provenance_mut(option),
        )?
    };
    Ok(value)
}

/// `PTRACE_ARCH_PRCTL` (x86_64): sets what arch_prctl(2) can set for another thread.
///
/// # Errors
///
/// `EPERM` for an address that user code may not have; `EINVAL` for what the kernel does
/// not know.
pub fn arch_prctl_set(tid: Tid, what: ArchSet, value: u64) -> Result<()> {
    let option = match what {
        ArchSet::Gs => 0x1001,
        ArchSet::Fs => 0x1002,
        ArchSet::LockShadowStack => 0x5003,
        ArchSet::UnlockShadowStack => 0x5004,
    };
    plain(Request::ARCH_PRCTL, tid, value as usize, option)
}

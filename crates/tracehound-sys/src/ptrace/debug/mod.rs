//! Breakpoints and watchpoints in the processor's debug registers.
//!
//! x86 has four registers for both kinds, and a control register (`struct user`,
//! `u_debugreg`); arm64 has up to sixteen for each kind (`NT_ARM_HW_BREAK`,
//! `NT_ARM_HW_WATCH`). What they have in common is here, each breakpoint known by its value
//! and not by its place.
//!
//! They belong to the thread: others, also its children, do not have them, and an exec
//! takes them out. A detach does not: the thread would die of the next `SIGTRAP`.

#[cfg(any(target_arch = "aarch64", test))]
mod aarch64;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
mod other;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as arch;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
use other as arch;
#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

use crate::{Errno, Result, Tid};

/// What a breakpoint in a debug register waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum BreakpointKind {
    /// The instruction at the address; the stop is before it.
    Execute,
    /// Reads, not writes. x86 has none.
    Read,
    /// Writes; on x86 the stop is behind the instruction, on arm64 before it.
    Write,
    /// Reads and writes.
    ReadWrite,
}

/// A breakpoint or watchpoint in a debug register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HardwareBreakpoint {
    /// The first address that is watched. Not zero.
    pub address: u64,
    /// What it waits for.
    pub kind: BreakpointKind,
    /// How many bytes are watched: 1, 2, 4 or 8, and the address a multiple of it. Of an
    /// instruction, what the architecture wants.
    pub length: u8,
}

impl HardwareBreakpoint {
    /// A breakpoint at an instruction.
    pub const fn execute(address: u64) -> Self {
        HardwareBreakpoint {
            address,
            kind: BreakpointKind::Execute,
            length: if cfg!(target_arch = "aarch64") { 4 } else { 1 },
        }
    }

    /// A watchpoint: 1, 2, 4 or 8 bytes at an address that is a multiple of that.
    pub const fn watch(address: u64, length: u8, kind: BreakpointKind) -> Self {
        HardwareBreakpoint {
            address,
            kind,
            length,
        }
    }

    /// Whether any debug register can hold it.
    fn is_possible(&self) -> bool {
        // A register with the address zero cannot be told from one that is not used.
        self.address != 0
            && matches!(self.length, 1 | 2 | 4 | 8)
            && self.address.is_multiple_of(u64::from(self.length))
    }

    /// Whether the address is among those watched.
    #[cfg(any(target_arch = "aarch64", test))]
    fn covers(&self, address: u64) -> bool {
        address
            .checked_sub(self.address)
            .is_some_and(|offset| offset < u64::from(self.length))
    }
}

/// The breakpoints in the thread's debug registers.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped; `ENODEV` or `EINVAL` if the processor has no debug
/// registers, `EOPNOTSUPP` on architectures whose registers are not known here.
pub fn hardware_breakpoints(tid: Tid) -> Result<Vec<HardwareBreakpoint>> {
    arch::list(tid)
}

/// Puts a breakpoint into a free debug register of the thread, unless it is in one already.
///
/// # Errors
///
/// `ENOSPC` if none is free; `EINVAL` for a length or address that the processor cannot
/// watch, or an address that is not the program's; `ESRCH` if the tracee is not stopped.
pub fn set_hardware_breakpoint(tid: Tid, breakpoint: &HardwareBreakpoint) -> Result<()> {
    if !breakpoint.is_possible() {
        return Err(Errno::EINVAL);
    }
    arch::set(tid, breakpoint)
}

/// Takes a breakpoint out; gives whether it was there.
///
/// # Errors
///
/// As [`hardware_breakpoints`].
pub fn clear_hardware_breakpoint(tid: Tid, breakpoint: &HardwareBreakpoint) -> Result<bool> {
    arch::clear(tid, breakpoint)
}

/// Takes all breakpoints out.
///
/// # Errors
///
/// As [`hardware_breakpoints`].
pub fn clear_all_hardware_breakpoints(tid: Tid) -> Result<()> {
    arch::clear_all(tid)
}

/// The breakpoints that the present stop is due to.
///
/// # Errors
///
/// As [`hardware_breakpoints`].
pub fn fired_hardware_breakpoints(tid: Tid) -> Result<Vec<HardwareBreakpoint>> {
    arch::fired(tid)
}

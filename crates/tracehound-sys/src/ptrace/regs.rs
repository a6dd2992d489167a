//! The general registers, by the names they share on all architectures.
//!
//! x86_64 uses `PTRACE_GETREGS`, which gives the 64-bit layout for 32-bit
//! programs too; the register set of `PTRACE_GETREGSET` would be the 32-bit one
//! there. aarch64 has only the register set.

#[cfg(target_arch = "x86_64")]
use std::ffi::c_void;
use std::fmt;
use std::ops::{Deref, DerefMut};

#[cfg(target_arch = "x86_64")]
use super::{Request, call};
use crate::{Result, Tid};

/// The general registers of a tracee: `user_regs_struct`, to which it
/// dereferences, with the names that do not depend on the architecture.
#[derive(Clone, Copy)]
pub struct Regs(libc::user_regs_struct);

impl Regs {
    /// These registers.
    pub const fn from_raw(raw: libc::user_regs_struct) -> Self {
        Regs(raw)
    }

    /// The structure as the kernel gives it.
    pub const fn as_raw(&self) -> &libc::user_regs_struct {
        &self.0
    }

    /// The registers as bytes, in the kernel's order.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the structure is made of integers without padding, and lives
        // as long as the borrow.
        unsafe {
            std::slice::from_raw_parts(
                (&raw const self.0).cast(),
                size_of::<libc::user_regs_struct>(),
            )
        }
    }
}

impl Deref for Regs {
    type Target = libc::user_regs_struct;

    fn deref(&self) -> &libc::user_regs_struct {
        &self.0
    }
}

impl DerefMut for Regs {
    fn deref_mut(&mut self) -> &mut libc::user_regs_struct {
        &mut self.0
    }
}

impl PartialEq for Regs {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Regs {}

impl fmt::Debug for Regs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(target_arch = "x86_64")]
impl Regs {
    /// The instruction pointer.
    pub fn instruction_pointer(&self) -> u64 {
        self.0.rip
    }

    /// Moves the instruction pointer.
    pub fn set_instruction_pointer(&mut self, address: u64) {
        self.0.rip = address;
    }

    /// The stack pointer.
    pub fn stack_pointer(&self) -> u64 {
        self.0.rsp
    }

    /// The number of the system call, where the tracee is in one.
    pub fn syscall_number(&self) -> u64 {
        self.0.orig_rax
    }

    /// Changes the system call's number at its entry; -1 skips the call.
    pub fn set_syscall_number(&mut self, number: u64) {
        self.0.orig_rax = number;
    }

    /// The system call's arguments, at its entry.
    pub fn syscall_args(&self) -> [u64; 6] {
        let r = &self.0;
        [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9]
    }

    /// Changes the system call's arguments at its entry.
    pub fn set_syscall_args(&mut self, args: [u64; 6]) {
        let r = &mut self.0;
        [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] = args;
    }

    /// The system call's result, at its exit.
    pub fn syscall_result(&self) -> i64 {
        self.0.rax as i64
    }

    /// Changes the system call's result at its exit.
    pub fn set_syscall_result(&mut self, value: i64) {
        self.0.rax = value as u64;
    }
}

#[cfg(target_arch = "aarch64")]
impl Regs {
    /// The instruction pointer.
    pub fn instruction_pointer(&self) -> u64 {
        self.0.pc
    }

    /// Moves the instruction pointer.
    pub fn set_instruction_pointer(&mut self, address: u64) {
        self.0.pc = address;
    }

    /// The stack pointer.
    pub fn stack_pointer(&self) -> u64 {
        self.0.sp
    }

    /// The number of the system call, where the tracee is in one.
    pub fn syscall_number(&self) -> u64 {
        self.0.regs[8]
    }

    /// The system call's arguments, at its entry. (The first is overwritten by
    /// the result at the exit.)
    pub fn syscall_args(&self) -> [u64; 6] {
        let r = &self.0.regs;
        [r[0], r[1], r[2], r[3], r[4], r[5]]
    }

    /// Changes the system call's arguments at its entry.
    pub fn set_syscall_args(&mut self, args: [u64; 6]) {
        self.0.regs[..6].copy_from_slice(&args);
    }

    /// The system call's result, at its exit.
    pub fn syscall_result(&self) -> i64 {
        self.0.regs[0] as i64
    }

    /// Changes the system call's result at its exit.
    pub fn set_syscall_result(&mut self, value: i64) {
        self.0.regs[0] = value as u64;
    }
}

/// `PTRACE_GETREGS`: the general registers.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped.
#[cfg(target_arch = "x86_64")]
pub fn getregs(tid: Tid) -> Result<Regs> {
    // SAFETY: the structure is made of integers, for which zero is a value.
    let mut regs: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one user_regs_struct, which `regs` is.
    unsafe {
        call(
            Request::GETREGS,
            tid,
            std::ptr::null_mut(),
            (&raw mut regs).cast::<c_void>(),
        )?;
    }
    Ok(Regs(regs))
}

/// `PTRACE_SETREGS`: writes the general registers.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped; `EIO` for values that user code may not
/// have, such as a kernel segment.
#[cfg(target_arch = "x86_64")]
pub fn setregs(tid: Tid, regs: &Regs) -> Result<()> {
    let data = (&raw const regs.0).cast_mut().cast::<c_void>();
    // SAFETY: the kernel reads one user_regs_struct from `data`, and writes nothing.
    unsafe { call(Request::SETREGS, tid, std::ptr::null_mut(), data) }.map(drop)
}

/// `PTRACE_GETREGSET` of `NT_PRSTATUS` (Linux 2.6.34): the general registers.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped; `EOPNOTSUPP` for a 32-bit program,
/// whose register set has another layout.
#[cfg(not(target_arch = "x86_64"))]
pub fn getregs(tid: Tid) -> Result<Regs> {
    let mut bytes = [0; size_of::<libc::user_regs_struct>()];
    let len = super::regset::read_regset(tid, super::RegSet::PRSTATUS, &mut bytes)?;
    if len != bytes.len() {
        return Err(nix::errno::Errno::EOPNOTSUPP);
    }
    // SAFETY: as many bytes as the structure has, which is made of integers without
    // padding.
    Ok(Regs(unsafe {
        std::ptr::read_unaligned(bytes.as_ptr().cast())
    }))
}

/// `PTRACE_SETREGSET` of `NT_PRSTATUS` (Linux 2.6.34): writes the general registers.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped; `EINVAL` for values that user code may
/// not have.
#[cfg(not(target_arch = "x86_64"))]
pub fn setregs(tid: Tid, regs: &Regs) -> Result<()> {
    super::setregset(tid, super::RegSet::PRSTATUS, regs.as_bytes()).map(drop)
}

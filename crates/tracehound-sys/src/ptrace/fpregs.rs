//! The floating-point registers.

#[cfg(target_arch = "x86_64")]
use super::Request;
use crate::{Result, Tid};

/// The x87 and SSE registers: the image that FXSAVE makes, `user_fpregs_struct`. The upper
/// halves of wider vector registers are in [`XState`](super::XState) only.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct FpRegs {
    /// The x87 control word.
    pub cwd: u16,
    /// The x87 status word.
    pub swd: u16,
    /// Which x87 registers are in use, a bit for each.
    pub ftw: u16,
    /// The opcode of the last x87 instruction.
    pub fop: u16,
    /// Its address.
    pub rip: u64,
    /// The address of its operand.
    pub rdp: u64,
    /// Control and status of SSE.
    pub mxcsr: u32,
    /// Which bits of `mxcsr` exist.
    pub mxcsr_mask: u32,
    /// The eight x87 registers, or MMX registers, 16 bytes each, of which ten are used.
    pub st_space: [u32; 32],
    /// The sixteen SSE registers, 16 bytes each.
    pub xmm_space: [u32; 64],
    /// Reserved, and for the use of the kernel.
    pub reserved: [u32; 24],
}

/// The floating-point and SIMD registers: `user_fpsimd_state`.
#[cfg(target_arch = "aarch64")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct FpRegs {
    /// The registers `v0` to `v31`.
    pub vregs: [u128; 32],
    /// The status.
    pub fpsr: u32,
    /// The control word.
    pub fpcr: u32,
    /// Reserved.
    pub reserved: [u32; 2],
}

#[cfg(target_arch = "x86_64")]
const _: () = assert!(size_of::<FpRegs>() == size_of::<libc::user_fpregs_struct>());
#[cfg(target_arch = "aarch64")]
const _: () = assert!(size_of::<FpRegs>() == size_of::<libc::user_fpsimd_struct>());

impl FpRegs {
    /// All registers zero.
    pub const fn zeroed() -> Self {
        // SAFETY: made of integers, for which zero is a value.
        unsafe { std::mem::zeroed() }
    }

    /// A vector register as it is in memory: `xmm0` to `xmm15`, `v0` to `v31`. `None` for
    /// one that does not exist.
    pub fn vector(&self, number: usize) -> Option<[u8; 16]> {
        #[cfg(target_arch = "x86_64")]
        {
            let words = self.xmm_space.chunks_exact(4).nth(number)?;
            let mut bytes = [0; 16];
            for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
                to.copy_from_slice(&word.to_ne_bytes());
            }
            Some(bytes)
        }
        #[cfg(target_arch = "aarch64")]
        self.vregs.get(number).map(|v| v.to_ne_bytes())
    }

    /// Writes a vector register. One that does not exist changes nothing, and gives `false`.
    pub fn set_vector(&mut self, number: usize, bytes: [u8; 16]) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let Some(words) = self.xmm_space.chunks_exact_mut(4).nth(number) else {
                return false;
            };
            for (word, from) in words.iter_mut().zip(bytes.chunks_exact(4)) {
                *word = u32::from_ne_bytes([from[0], from[1], from[2], from[3]]);
            }
            true
        }
        #[cfg(target_arch = "aarch64")]
        {
            let Some(v) = self.vregs.get_mut(number) else {
                return false;
            };
            *v = u128::from_ne_bytes(bytes);
            true
        }
    }
}

/// `PTRACE_GETFPREGS`: the floating-point registers.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped.
#[cfg(target_arch = "x86_64")]
pub fn getfpregs(tid: Tid) -> Result<FpRegs> {
    let mut regs = FpRegs::zeroed();
    // SAFETY: the kernel writes a user_i387_struct, which an FpRegs is; it is made of
    // integers.
    unsafe { super::read_into(Request::GETFPREGS, tid, std::ptr::null_mut(), &mut regs)? };
    Ok(regs)
}

/// `PTRACE_SETFPREGS`: writes the floating-point registers.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped; `EINVAL` for bits of `mxcsr` that do not exist.
#[cfg(target_arch = "x86_64")]
pub fn setfpregs(tid: Tid, regs: &FpRegs) -> Result<()> {
    let data = std::ptr::from_ref(regs).cast_mut().cast();
    // SAFETY: the kernel reads a user_i387_struct from `data`, and writes nothing.
    unsafe { super::call(Request::SETFPREGS, tid, std::ptr::null_mut(), data) }.map(drop)
}

/// `PTRACE_GETREGSET` of `NT_PRFPREG` (Linux 2.6.34): the floating-point registers.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped; `EOPNOTSUPP` for a 32-bit program, whose register
/// set has another layout.
#[cfg(target_arch = "aarch64")]
pub fn getfpregs(tid: Tid) -> Result<FpRegs> {
    let mut bytes = [0; size_of::<FpRegs>()];
    let len = super::regset::read_regset(tid, super::RegSet::PRFPREG, &mut bytes)?;
    if len != bytes.len() {
        return Err(crate::Errno::EOPNOTSUPP);
    }
    // SAFETY: as many bytes as an FpRegs has, which is made of integers without padding.
    Ok(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) })
}

/// `PTRACE_SETREGSET` of `NT_PRFPREG` (Linux 2.6.34): writes the floating-point registers.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped.
#[cfg(target_arch = "aarch64")]
pub fn setfpregs(tid: Tid, regs: &FpRegs) -> Result<()> {
    // SAFETY: made of integers without padding, and lives as long as the borrow.
    let bytes =
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(regs).cast(), size_of::<FpRegs>()) };
    super::setregset(tid, super::RegSet::PRFPREG, bytes).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn vectors_are_kept(number in 0_usize..40, bytes: [u8; 16]) {
            let mut regs = FpRegs::zeroed();
            let exists = regs.set_vector(number, bytes);
            prop_assert_eq!(regs.vector(number), exists.then_some(bytes));
            prop_assert_eq!(exists, number < if cfg!(target_arch = "x86_64") { 16 } else { 32 });
        }
    }
}

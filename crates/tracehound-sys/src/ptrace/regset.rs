//! Register sets, by the note that a core dump has for them.
//!
//! Their sizes depend on the processor and the thread (the vector registers of x86 and arm64
//! grow with each generation), and the kernel tells a size only by what it writes. So a set is
//! read into a buffer that grows until there is room left in it, up to a limit: what the
//! kernel has today needs a sixteenth of it.

use std::fmt;
use std::ptr;

use super::{Request, call};
use crate::{Errno, Result, Tid};

/// The note type of a register set: `NT_…` of `elf.h`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct RegSet(u32);

macro_rules! register_sets {
    ($($name:ident = $code:literal since $since:literal: $doc:literal,)*) => {
        impl RegSet {
            $(
                #[doc = concat!("`NT_", stringify!($name), "`: ", $doc, " (Linux ", $since, ").")]
                pub const $name: RegSet = RegSet($code);
            )*

            /// The name, for instance `"NT_PRSTATUS"`.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(concat!("NT_", stringify!($name))),)*
                    _ => None,
                }
            }

            /// The first version of Linux that has it.
            pub const fn since(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($since),)*
                    _ => None,
                }
            }
        }
    };
}

register_sets! {
    PRSTATUS = 1 since "2.6.34": "the general registers",
    PRFPREG = 2 since "2.6.34": "the floating-point registers",
    X86_TLS = 0x200 since "2.6.34": "`NT_386_TLS`, the TLS descriptors of a 32-bit program",
    X86_IOPERM = 0x201 since "2.6.34": "`NT_386_IOPERM`, the I/O permission bitmap",
    X86_XSTATE = 0x202 since "2.6.35": "all that XSAVE saves: vector registers and more",
    X86_SHSTK = 0x204 since "6.6": "the shadow stack pointer",
    ARM_VFP = 0x400 since "3.7": "the floating-point registers of a 32-bit program",
    ARM_TLS = 0x401 since "3.7": "the thread pointer",
    ARM_HW_BREAK = 0x402 since "3.7": "hardware breakpoints",
    ARM_HW_WATCH = 0x403 since "3.7": "hardware watchpoints",
    ARM_SYSTEM_CALL = 0x404 since "3.19": "the system call's number",
    ARM_SVE = 0x405 since "4.15": "the scalable vector registers",
    ARM_PAC_MASK = 0x406 since "5.0": "which bits of a pointer authenticate it",
    ARM_PACA_KEYS = 0x407 since "5.1": "the keys that authenticate addresses",
    ARM_PACG_KEYS = 0x408 since "5.1": "the generic authentication key",
    ARM_TAGGED_ADDR_CTRL = 0x409 since "5.10": "how tagged addresses are treated",
    ARM_PAC_ENABLED_KEYS = 0x40a since "5.13": "which authentication keys are in use",
    ARM_SSVE = 0x40b since "5.19": "the vector registers of streaming mode",
    ARM_ZA = 0x40c since "5.19": "the matrix register",
    ARM_ZT = 0x40d since "6.3": "the table registers of the matrix extension",
    ARM_FPMR = 0x40e since "6.9": "the floating-point mode",
    ARM_POE = 0x40f since "6.12": "the permission overlay",
    ARM_GCS = 0x410 since "6.13": "the guarded control stack",
}

impl RegSet {
    /// The set with this note type.
    pub const fn from_raw(raw: u32) -> Self {
        RegSet(raw)
    }

    /// The note type.
    pub const fn as_raw(self) -> u32 {
        self.0
    }
}

impl fmt::Display for RegSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "NT_{:#x}", self.0),
        }
    }
}

impl fmt::Debug for RegSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Room for all but the vector registers of the larger processors. Both are multiples of
/// every set's word: of another length the kernel would say `EINVAL`.
const FIRST_TRY: usize = 4096;
const MOST: usize = 1 << 20;

/// `PTRACE_GETREGSET` (Linux 2.6.34): a register set, in the kernel's layout. A 32-bit
/// program's sets have the layout of its architecture.
///
/// # Errors
///
/// `EINVAL` if the kernel has no such set; `ENODEV` if the processor, or this thread, has
/// not; `E2BIG` if it takes more than a mebibyte.
pub fn getregset(tid: Tid, set: RegSet) -> Result<Vec<u8>> {
    let mut size = FIRST_TRY;
    loop {
        let mut bytes = vec![0; size];
        let len = read_regset(tid, set, &mut bytes)?;
        if len < size {
            bytes.truncate(len);
            return Ok(bytes);
        }
        size *= 4;
        if size > MOST {
            return Err(Errno::E2BIG);
        }
    }
}

/// Reads a register set into this buffer; gives how much of it was filled.
pub(super) fn read_regset(tid: Tid, set: RegSet, buf: &mut [u8]) -> Result<usize> {
    let mut iov = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    // SAFETY: the kernel writes at most iov_len bytes to iov_base, which is the whole of
    // `buf`, and what it wrote to iov_len.
    unsafe {
        call(
            Request::GETREGSET,
            tid,
            ptr::without_provenance_mut(set.0 as usize),
            (&raw mut iov).cast(),
        )?;
    }
    Ok(iov.iov_len.min(buf.len()))
}

/// `PTRACE_SETREGSET` (Linux 2.6.34): writes a register set, or its beginning. Gives how
/// much was written: what is beyond the set's end is not.
///
/// # Errors
///
/// `EINVAL` if the kernel has no such set, for a length that is not a multiple of the set's
/// word, and for values that user code may not have; `EFAULT` for `NT_X86_XSTATE` of another
/// length than it has; `ENODEV` if the processor or this thread has no such set.
pub fn setregset(tid: Tid, set: RegSet, bytes: &[u8]) -> Result<usize> {
    let mut iov = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: the kernel reads at most iov_len bytes from iov_base, which is the whole of
    // `bytes`, and writes only to iov_len.
    unsafe {
        call(
            Request::SETREGSET,
            tid,
            ptr::without_provenance_mut(set.0 as usize),
            (&raw mut iov).cast(),
        )?;
    }
    Ok(iov.iov_len.min(bytes.len()))
}

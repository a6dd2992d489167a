//! `PTRACE_GET_SYSCALL_INFO` (Linux 5.3) and `PTRACE_SET_SYSCALL_INFO` (Linux 6.16).
//!
//! The only reliable way to tell a syscall-enter-stop from a syscall-exit-stop:
//! counting stops goes wrong after an attach, an exec and a change of the resume
//! mode. Registers alone cannot tell `int 0x80` from `syscall` on x86_64; the
//! architecture given here can.

use std::fmt;
use std::ptr;

use super::{Request, call, read_into};
use crate::{Result, Tid};

/// The architecture of a system call, as audit(7) numbers it (`AUDIT_ARCH_…`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Arch(u32);

impl Arch {
    /// x86_64, which includes x32 calls (their numbers have bit 30 set).
    pub const X86_64: Arch = Arch(0xc000_003e);
    /// 32-bit x86, also `int 0x80` from 64-bit code.
    pub const I386: Arch = Arch(0x4000_0003);
    /// 64-bit ARM.
    pub const AARCH64: Arch = Arch(0xc000_00b7);
    /// 32-bit ARM.
    pub const ARM: Arch = Arch(0x4000_0028);

    /// The architecture that this program was compiled for.
    pub const NATIVE: Arch = if cfg!(target_arch = "aarch64") {
        Arch::AARCH64
    } else {
        Arch::X86_64
    };

    /// The architecture with this audit number.
    pub const fn from_raw(raw: u32) -> Self {
        Arch(raw)
    }

    /// The audit number.
    pub const fn as_raw(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Arch::X86_64 => f.pad("x86_64"),
            Arch::I386 => f.pad("i386"),
            Arch::AARCH64 => f.pad("aarch64"),
            Arch::ARM => f.pad("arm"),
            Arch(other) => write!(f, "{other:#x}"),
        }
    }
}

impl fmt::Debug for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A system call as it is entered: its number and arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SyscallEntry {
    /// The architecture whose table the number belongs to.
    pub arch: Arch,
    /// The number.
    pub nr: u64,
    /// The arguments, as many as there are registers; a call may use fewer.
    pub args: [u64; 6],
}

/// Bit 30 of an x86_64 call's number: the x32 ABI.
const X32_BIT: u64 = 0x4000_0000;

impl SyscallEntry {
    /// The call's name in its architecture's table, for instance `"openat"`.
    pub fn name(&self) -> Option<&'static str> {
        let nr = usize::try_from(self.nr).ok()?;
        let name = match self.arch {
            // The x32 table is the x86_64 one, but for the numbers from 512 on.
            Arch::X86_64 if self.nr & X32_BIT != 0 => {
                let nr = (self.nr & !X32_BIT) as usize;
                syscalls::x86_64::Sysno::new(nr)
                    .filter(|_| nr < 512)?
                    .name()
            }
            Arch::X86_64 => syscalls::x86_64::Sysno::new(nr)?.name(),
            Arch::I386 => syscalls::x86::Sysno::new(nr)?.name(),
            Arch::AARCH64 => syscalls::aarch64::Sysno::new(nr)?.name(),
            Arch::ARM => syscalls::arm::Sysno::new(nr)?.name(),
            _ => return None,
        };
        // `break` is a word of Rust's, which the table escapes.
        Some(name.trim_start_matches("r#"))
    }

    /// The call of this program's own architecture, if it is one.
    pub fn sysno(&self) -> Option<syscalls::Sysno> {
        (self.arch == Arch::NATIVE)
            .then(|| usize::try_from(self.nr).ok())?
            .and_then(syscalls::Sysno::new)
    }
}

impl fmt::Display for SyscallEntry {
    /// The call with its arguments in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "syscall_{:#x}", self.nr)?,
        }
        let [a, b, c, d, e, g] = self.args;
        write!(f, "({a:#x}, {b:#x}, {c:#x}, {d:#x}, {e:#x}, {g:#x})")
    }
}

impl fmt::Debug for SyscallEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a tracee is in a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyscallInfo {
    /// The call's architecture; the thread's where there is no call.
    pub arch: Arch,
    /// The instruction pointer.
    pub instruction_pointer: u64,
    /// The stack pointer.
    pub stack_pointer: u64,
    /// Which stop this is.
    pub op: SyscallOp,
}

/// The kind of stop that [`get_syscall_info`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SyscallOp {
    /// Not a syscall-stop.
    None,
    /// A syscall-enter-stop.
    Entry(SyscallEntry),
    /// A syscall-exit-stop.
    Exit {
        /// The result; a negative error number if `is_error`.
        value: i64,
        /// Whether the call failed.
        is_error: bool,
    },
    /// A seccomp stop.
    Seccomp {
        /// The call.
        entry: SyscallEntry,
        /// The filter's return data.
        data: u32,
    },
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Raw {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    /// Entry and seccomp: number, six arguments, return data. Exit: value, error flag.
    words: [u64; 8],
}

const OP_NONE: u8 = 0;
const OP_ENTRY: u8 = 1;
const OP_EXIT: u8 = 2;
const OP_SECCOMP: u8 = 3;

/// `PTRACE_GET_SYSCALL_INFO` (Linux 5.3): where the tracee is in a system call.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped, `EIO` on a kernel without the request.
pub fn get_syscall_info(tid: Tid) -> Result<SyscallInfo> {
    let mut raw = Raw::default();
    let size = ptr::without_provenance_mut(size_of::<Raw>());
    // SAFETY: the kernel writes at most `size` bytes to `raw`, whose fields are
    // integers.
    unsafe { read_into(Request::GET_SYSCALL_INFO, tid, size, &mut raw)? };
    Ok(raw.decode())
}

/// `PTRACE_SET_SYSCALL_INFO` (Linux 6.16): changes the number and arguments of the call at
/// its entry or seccomp stop, or its result at its exit. The instruction and stack pointers
/// and the architecture are not looked at. The number -1 skips the call; its arguments are
/// then not written.
///
/// # Errors
///
/// `EIO` on a kernel without the request; `EINVAL` if the tracee is in another kind of stop
/// than the one described; `ERANGE` for a number or an argument that the architecture has
/// no room for.
pub fn set_syscall_info(tid: Tid, info: &SyscallInfo) -> Result<()> {
    let raw = Raw::encode(info);
    let size = ptr::without_provenance_mut(size_of::<Raw>());
    let data = (&raw const raw).cast_mut().cast();
    // SAFETY: the kernel reads `size` bytes of `raw`, and writes nothing.
    unsafe { call(Request::SET_SYSCALL_INFO, tid, size, data) }.map(drop)
}

/// Changes the number of the system call at its entry or seccomp stop, on any kernel: by
/// `PTRACE_POKEUSER` on x86, by `PTRACE_SETREGSET` of `NT_ARM_SYSTEM_CALL` (Linux 3.19) on
/// arm64, where it is in no register. The number -1 skips the call.
///
/// # Errors
///
/// `ESRCH` if the tracee is not stopped; `EOPNOTSUPP` on other architectures.
pub fn set_syscall_number(tid: Tid, number: i32) -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    {
        let offset = std::mem::offset_of!(libc::user_regs_struct, orig_rax) as u64;
        super::poke_user(tid, offset, i64::from(number) as u64)
    }
    #[cfg(target_arch = "aarch64")]
    {
        let set = super::RegSet::ARM_SYSTEM_CALL;
        super::setregset(tid, set, &number.to_ne_bytes()).map(drop)
    }
    #[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
    {
        let _ = (tid, number);
        Err(crate::Errno::EOPNOTSUPP)
    }
}

/// What an answer of the kernel says, and what that says again as it would be given back.
#[cfg(fuzzing)]
pub(crate) fn there_and_back(op: u8, arch: u32, words: [u64; 8]) -> [SyscallInfo; 2] {
    let raw = Raw {
        op,
        arch,
        words,
        ..Raw::default()
    };
    let info = raw.decode();
    [info, Raw::encode(&info).decode()]
}

impl Raw {
    fn encode(info: &SyscallInfo) -> Raw {
        let call = |entry: &SyscallEntry, data: u32| {
            let [a, b, c, d, e, f] = entry.args;
            // The field is an int, with padding behind it.
            let data = u64::from_ne_bytes(pad(data.to_ne_bytes()));
            [entry.nr, a, b, c, d, e, f, data]
        };
        let (op, words) = match &info.op {
            SyscallOp::None => (OP_NONE, [0; 8]),
            SyscallOp::Entry(entry) => (OP_ENTRY, call(entry, 0)),
            SyscallOp::Seccomp { entry, data } => (OP_SECCOMP, call(entry, *data)),
            SyscallOp::Exit { value, is_error } => {
                let is_error = u64::from_ne_bytes(pad([u8::from(*is_error), 0, 0, 0]));
                (OP_EXIT, [*value as u64, is_error, 0, 0, 0, 0, 0, 0])
            }
        };
        Raw {
            op,
            arch: info.arch.as_raw(),
            instruction_pointer: info.instruction_pointer,
            stack_pointer: info.stack_pointer,
            words,
            ..Raw::default()
        }
    }

    fn decode(&self) -> SyscallInfo {
        let arch = Arch(self.arch);
        let [nr, a, b, c, d, e, f, data] = self.words;
        let entry = SyscallEntry {
            arch,
            nr,
            args: [a, b, c, d, e, f],
        };
        SyscallInfo {
            arch,
            instruction_pointer: self.instruction_pointer,
            stack_pointer: self.stack_pointer,
            op: match self.op {
                OP_ENTRY => SyscallOp::Entry(entry),
                OP_EXIT => SyscallOp::Exit {
                    value: nr as i64,
                    // One byte; what follows it is padding.
                    is_error: a.to_ne_bytes()[0] != 0,
                },
                OP_SECCOMP => SyscallOp::Seccomp {
                    entry,
                    data: u32::from_ne_bytes([
                        data.to_ne_bytes()[0],
                        data.to_ne_bytes()[1],
                        data.to_ne_bytes()[2],
                        data.to_ne_bytes()[3],
                    ]),
                },
                _ => SyscallOp::None,
            },
        }
    }
}

/// Four bytes at the beginning of a word.
const fn pad([a, b, c, d]: [u8; 4]) -> [u8; 8] {
    [a, b, c, d, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(arch: Arch, nr: u64) -> SyscallEntry {
        SyscallEntry {
            arch,
            nr,
            args: [0; 6],
        }
    }

    #[test]
    fn names_come_from_the_calls_own_table() {
        assert_eq!(entry(Arch::X86_64, 257).name(), Some("openat"));
        assert_eq!(entry(Arch::I386, 5).name(), Some("open"));
        assert_eq!(entry(Arch::I386, 17).name(), Some("break"));
        assert_eq!(entry(Arch::AARCH64, 56).name(), Some("openat"));
        assert_eq!(entry(Arch::X86_64, X32_BIT | 257).name(), Some("openat"));
        assert_eq!(entry(Arch::X86_64, u64::MAX).name(), None);
        assert_eq!(entry(Arch::from_raw(7), 1).name(), None);
    }

    proptest! {
        #[test]
        fn any_answer_decodes(op: u8, arch: u32, words: [u64; 8]) {
            let raw = Raw { op, arch, words, ..Raw::default() };
            let info = raw.decode();
            let text = format!("{info:?}");
            prop_assert!(!text.is_empty());
            if let SyscallOp::Entry(entry) = info.op {
                prop_assert!(!entry.to_string().is_empty());
            }
            // What the kernel gave can be given back.
            prop_assert_eq!(Raw::encode(&info).decode(), info);
        }
    }
}

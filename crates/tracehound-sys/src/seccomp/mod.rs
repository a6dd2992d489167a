//! Filters that stop a tracee at some of its system calls only.
//!
//! A filter is a program of classic BPF which the kernel runs at each system call of the
//! thread, and which passes to its children. `SECCOMP_RET_TRACE` makes a seccomp stop of the
//! call, `SECCOMP_RET_ALLOW` lets it pass without the tracer, at next to no cost: since
//! Linux 5.11 the kernel knows in advance which calls a filter always allows.
//!
//! What a filter compares is the number and the architecture of a call. A machine has calls
//! of several architectures (`int 0x80` and x32 on x86_64), and the same number is another
//! call in each: so a filter has numbers of its own for each of them, and calls of an
//! architecture that it does not speak of are never refused.
//!
//! The crate `seccompiler` was rejected: a filter of its has one architecture, and kills the
//! process at a call of any other; and it compares one number after the other, where a tree
//! takes nine comparisons for all calls there are.

mod compile;

use std::collections::BTreeSet;

use syscalls::{Sysno, aarch64, arm, syscall, x86, x86_64};

use crate::Result;
use crate::ptrace::{Arch, BpfInstruction, SyscallEntry};

/// The number of a system call, in the table of its architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyscallNumber {
    arch: Arch,
    nr: u32,
}

impl SyscallNumber {
    /// A call of this architecture by its number, which need not have a name.
    pub const fn new(arch: Arch, nr: u32) -> Self {
        SyscallNumber { arch, nr }
    }

    /// The architecture.
    pub const fn arch(self) -> Arch {
        self.arch
    }

    /// The number.
    pub const fn nr(self) -> u32 {
        self.nr
    }

    /// The call of this name in the other tables of this machine.
    fn namesakes(self) -> impl Iterator<Item = SyscallNumber> {
        let entry = SyscallEntry {
            arch: self.arch,
            nr: self.nr.into(),
            args: [0; 6],
        };
        let name = (self.arch == Arch::NATIVE).then(|| entry.name()).flatten();
        let same = move |arch| SyscallNumber::named(arch, name?);
        // The x32 table is the x86_64 one, but for the numbers from 512 on, which have no
        // names.
        let x32 = (Arch::NATIVE == Arch::X86_64 && name.is_some() && self.nr < 512)
            .then(|| SyscallNumber::new(Arch::X86_64, self.nr | X32_BIT));
        let other = match Arch::NATIVE {
            Arch::X86_64 => Arch::I386,
            _ => Arch::ARM,
        };
        same(other).into_iter().chain(x32)
    }

    /// The call of this name in the table of an architecture, if there is one.
    pub fn named(arch: Arch, name: &str) -> Option<Self> {
        // One name is a word of Rust's, which the tables escape.
        let name = if name == "break" { "r#break" } else { name };
        let id = match arch {
            Arch::X86_64 => name.parse::<x86_64::Sysno>().ok()?.id(),
            Arch::I386 => name.parse::<x86::Sysno>().ok()?.id(),
            Arch::AARCH64 => name.parse::<aarch64::Sysno>().ok()?.id(),
            Arch::ARM => name.parse::<arm::Sysno>().ok()?.id(),
            _ => return None,
        };
        u32::try_from(id).ok().map(|nr| SyscallNumber { arch, nr })
    }
}

/// Bit 30 of an x86_64 call's number: the x32 ABI.
const X32_BIT: u32 = 0x4000_0000;

macro_rules! from_tables {
    ($($table:ident: $arch:ident)*) => {
        $(
            impl From<$table::Sysno> for SyscallNumber {
                fn from(call: $table::Sysno) -> Self {
                    SyscallNumber::new(Arch::$arch, call.id().cast_unsigned())
                }
            }
        )*
    };
}

from_tables! { x86_64: X86_64  x86: I386  aarch64: AARCH64  arm: ARM }

/// What a filter does with the calls that are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Stop,
    Pass,
}

/// Which system calls stop.
///
/// A native call that is listed stands for the calls of its name in the machine's other
/// tables, too: those of x32 and of 32-bit x86 on x86_64, of 32-bit ARM on aarch64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallFilter {
    calls: BTreeSet<SyscallNumber>,
    listed: Listed,
}

impl SyscallFilter {
    /// These stop, all others pass.
    pub fn only(calls: impl IntoIterator<Item = SyscallNumber>) -> Self {
        SyscallFilter::new(calls, Listed::Stop)
    }

    /// These pass, all others stop: those without a name, too.
    pub fn all_but(calls: impl IntoIterator<Item = SyscallNumber>) -> Self {
        SyscallFilter::new(calls, Listed::Pass)
    }

    fn new(calls: impl IntoIterator<Item = SyscallNumber>, listed: Listed) -> Self {
        let with_namesakes = |call: SyscallNumber| call.namesakes().chain([call]);
        SyscallFilter {
            calls: calls.into_iter().flat_map(with_namesakes).collect(),
            listed,
        }
    }

    /// The filter as a program.
    ///
    /// # Errors
    ///
    /// `E2BIG` if it is longer than the kernel takes (4096 instructions). All calls that
    /// have names fit.
    pub fn compile(&self) -> Result<Vec<BpfInstruction>> {
        compile::compile(self)
    }
}

/// Whether the running kernel has filters that ask a tracer: seccomp(2) with
/// `SECCOMP_GET_ACTION_AVAIL` (Linux 4.14).
pub fn is_available() -> bool {
    let action = compile::RET_TRACE;
    let operation = libc::SECCOMP_GET_ACTION_AVAIL;
    // SAFETY: the kernel reads an integer that outlives the call.
    unsafe { libc::syscall(libc::SYS_seccomp, operation, 0, &raw const action) == 0 }
}

/// Gives the calling thread a filter, for good: seccomp(2) with `SECCOMP_SET_MODE_FILTER`.
///
/// Without `CAP_SYS_ADMIN` the kernel wants a promise that the thread will never gain
/// privileges by an exec, which is then made first (`PR_SET_NO_NEW_PRIVS`).
///
/// Async-signal-safe, and leaves errno alone: a child calls it between its making and its exec.
pub(crate) fn install(filter: &[BpfInstruction]) -> std::result::Result<(), i32> {
    let installed = try_install(filter).or_else(|errno| match errno {
        syscalls::Errno::EACCES => {
            // SAFETY: takes numbers.
            unsafe { syscall!(Sysno::prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }?;
            try_install(filter)
        }
        other => Err(other),
    });
    installed.map_err(syscalls::Errno::into_raw)
}

fn try_install(filter: &[BpfInstruction]) -> std::result::Result<(), syscalls::Errno> {
    let Ok(len) = u16::try_from(filter.len()) else {
        return Err(syscalls::Errno::E2BIG);
    };
    let program = libc::sock_fprog {
        len,
        // The kernel only reads it; the two structures have the same layout.
        filter: filter.as_ptr().cast_mut().cast(),
    };
    // Without the flag kernels before 5.16 slow the thread down to protect filters that are
    // sandboxes from speculation.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program and its instructions outlive the call, which copies them.
    unsafe { syscall!(Sysno::seccomp, mode, flags, &raw const program) }?;
    Ok(())
}

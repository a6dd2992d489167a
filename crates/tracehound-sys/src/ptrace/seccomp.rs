//! The seccomp filters of a tracee.
//!
//! A thread's filters are numbered from the oldest on. Reading them is for checkpointing:
//! the kernel wants it built in (`CONFIG_CHECKPOINT_RESTORE`), `CAP_SYS_ADMIN`, and a caller
//! that has no filter itself.

use std::fmt;
use std::ptr;

use super::{Request, call, read_into};
use crate::{Result, Tid};

/// One instruction of a filter: `struct sock_filter`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[repr(C)]
pub struct BpfInstruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip if a comparison holds.
    pub jt: u8,
    /// How many to skip if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

impl fmt::Debug for BpfInstruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BpfInstruction { code, jt, jf, k } = self;
        write!(f, "{{{code:#x}, {jt}, {jf}, {k:#x}}}")
    }
}

/// What `PTRACE_SECCOMP_GET_METADATA` tells of a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SeccompMetadata {
    /// `SECCOMP_FILTER_FLAG_…`, as far as the kernel tells.
    pub flags: u64,
}

impl SeccompMetadata {
    /// Whether what the filter refuses is logged: `SECCOMP_FILTER_FLAG_LOG`.
    pub const fn logs(self) -> bool {
        self.flags & 2 != 0
    }
}

/// No filter is longer: `BPF_MAXINSNS`.
const MOST_INSTRUCTIONS: usize = 4096;

/// `PTRACE_SECCOMP_GET_FILTER` (Linux 4.4): the length of a filter, in instructions.
///
/// # Errors
///
/// As [`seccomp_get_filter`].
pub fn seccomp_filter_len(tid: Tid, index: usize) -> Result<usize> {
    let index = ptr::without_provenance_mut(index);
    // SAFETY: with no buffer the kernel writes nothing.
    let len = unsafe { call(Request::SECCOMP_GET_FILTER, tid, index, ptr::null_mut())? };
    Ok(usize::try_from(len).unwrap_or(0))
}

/// `PTRACE_SECCOMP_GET_FILTER` (Linux 4.4): the instructions of a filter. Number 0 is the
/// oldest one.
///
/// # Errors
///
/// `ENOENT` if there are not so many; `EINVAL` if the thread has none at all, or if the
/// kernel was built without `CONFIG_CHECKPOINT_RESTORE` or `CONFIG_SECCOMP_FILTER`; `EACCES`
/// without `CAP_SYS_ADMIN`, or if the calling thread has filters; `EMEDIUMTYPE` for a filter
/// that is not classic BPF.
pub fn seccomp_get_filter(tid: Tid, index: usize) -> Result<Vec<BpfInstruction>> {
    let none = BpfInstruction {
        code: 0,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let mut filter = vec![none; MOST_INSTRUCTIONS];
    let index = ptr::without_provenance_mut(index);
    let data = filter.as_mut_ptr().cast();
    // SAFETY: the kernel writes all instructions of the filter to `data`, and no filter has
    // more than there is room for.
    let len = unsafe { call(Request::SECCOMP_GET_FILTER, tid, index, data)? };
    filter.truncate(usize::try_from(len).unwrap_or(0));
    filter.shrink_to_fit();
    Ok(filter)
}

/// `PTRACE_SECCOMP_GET_METADATA` (Linux 4.16): how a filter was installed.
///
/// # Errors
///
/// As [`seccomp_get_filter`].
pub fn seccomp_get_metadata(tid: Tid, index: usize) -> Result<SeccompMetadata> {
    // struct seccomp_metadata: the filter's number, which is read, and its flags.
    let mut raw = [index as u64, 0];
    let size = ptr::without_provenance_mut(size_of_val(&raw));
    // SAFETY: the kernel reads and writes at most `size` bytes of `raw`.
    unsafe { read_into(Request::SECCOMP_GET_METADATA, tid, size, &mut raw)? };
    Ok(SeccompMetadata { flags: raw[1] })
}

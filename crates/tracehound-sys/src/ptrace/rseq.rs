//! Restartable sequences.

use std::ptr;

use super::{Request, read_into};
use crate::{Result, Tid};

/// What a thread registered with rseq(2): `struct ptrace_rseq_configuration`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[repr(C)]
#[non_exhaustive]
pub struct RseqConfiguration {
    /// Where its `struct rseq` is; zero if it has registered none.
    pub rseq_abi_pointer: u64,
    /// How long that is.
    pub rseq_abi_size: u32,
    /// What stands before each abort handler.
    pub signature: u32,
    /// Zero.
    pub flags: u32,
    /// Zero.
    pub pad: u32,
}

/// `PTRACE_GET_RSEQ_CONFIGURATION` (Linux 5.13): what the thread registered with rseq(2).
///
/// # Errors
///
/// `EIO` on a kernel without the request, also one built without `CONFIG_RSEQ`.
pub fn get_rseq_configuration(tid: Tid) -> Result<RseqConfiguration> {
    let mut configuration = RseqConfiguration::default();
    let size = ptr::without_provenance_mut(size_of::<RseqConfiguration>());
    // SAFETY: the kernel writes at most `size` bytes to the configuration, which is made of
    // integers.
    unsafe {
        read_into(
            Request::GET_RSEQ_CONFIGURATION,
            tid,
            size,
            &mut configuration,
        )?
    };
    Ok(configuration)
}

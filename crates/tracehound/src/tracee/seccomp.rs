//! The seccomp filters of a tracee, for checkpointing.
//!
//! Being the tracer is not enough: it takes `CAP_SYS_ADMIN`, and a tracer that has no filters
//! itself.

use tracehound_sys::ptrace::{self, BpfInstruction, Request, SeccompMetadata};
use tracehound_sys::{Errno, Tid, proc};

use super::Tracee;
use crate::error::Result;

/// More filters than a thread can have: each costs at least five of the 32,768 instructions
/// that the kernel allows for all.
const MORE_THAN_ALL: usize = 8192;

impl Tracee {
    /// How many seccomp filters the thread has: `PTRACE_SECCOMP_GET_FILTER` (Linux 4.4).
    ///
    /// # Errors
    ///
    /// As [`seccomp_filter`](Tracee::seccomp_filter).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn seccomp_filters(&self) -> Result<usize> {
        self.request(Request::SECCOMP_GET_FILTER, count).await
    }

    /// The instructions of a seccomp filter: `PTRACE_SECCOMP_GET_FILTER` (Linux 4.4). Number
    /// 0 is the oldest one; `None` if there are not so many.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::NotPrivileged`](crate::Error::NotPrivileged) without `CAP_SYS_ADMIN`, or
    /// if this process runs under seccomp itself; [`Error::NotConfigured`](crate::Error::NotConfigured) on a kernel
    /// without `CONFIG_CHECKPOINT_RESTORE`.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn seccomp_filter(&self, index: usize) -> Result<Option<Vec<BpfInstruction>>> {
        self.request(Request::SECCOMP_GET_FILTER, move |tid| {
            if_there(tid, ptrace::seccomp_get_filter(tid, index))
        })
        .await
    }

    /// How a seccomp filter was installed: `PTRACE_SECCOMP_GET_METADATA` (Linux 4.16). `None`
    /// if there are not so many.
    ///
    /// # Errors
    ///
    /// As [`seccomp_filter`](Tracee::seccomp_filter).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn seccomp_metadata(&self, index: usize) -> Result<Option<SeccompMetadata>> {
        self.request(Request::SECCOMP_GET_METADATA, move |tid| {
            if_there(tid, ptrace::seccomp_get_metadata(tid, index))
        })
        .await
    }
}

/// Tells no filter from an error: `EINVAL` stands for a thread that has none at all, and for
/// a kernel that cannot tell.
fn if_there<T>(tid: Tid, result: tracehound_sys::Result<T>) -> tracehound_sys::Result<Option<T>> {
    const FILTERS: u32 = 2;
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::EINVAL) => match proc::status(tid) {
            Ok(status) if status.seccomp != FILTERS => Ok(None),
            _ => Err(Errno::EINVAL),
        },
        Err(errno) => Err(errno),
    }
}

/// Finds the number of filters in a few requests, since each walks all of them.
fn count(tid: Tid) -> tracehound_sys::Result<usize> {
    let (mut fewest, mut most) = (0, MORE_THAN_ALL);
    while fewest < most {
        let middle = fewest + (most - fewest) / 2;
        match if_there(tid, ptrace::seccomp_filter_len(tid, middle))? {
            Some(_) => fewest = middle + 1,
            None => most = middle,
        }
    }
    Ok(fewest)
}

//! Memory tags of arm64.

use std::ptr;

use super::{Request, call};
use crate::{Errno, Result, Tid};

/// The most tags that one request reads: those of a mebibyte.
const MOST: usize = 1 << 16;

/// # Safety
///
/// There must be `len` bytes at `base`, for `request` to read or write.
unsafe fn transfer(
    request: Request,
    tid: Tid,
    address: u64,
    base: *mut u8,
    len: usize,
) -> Result<usize> {
    let address = usize::try_from(address).map_err(|_| Errno::EIO)?;
    let mut iov = libc::iovec {
        iov_base: base.cast(),
        iov_len: len,
    };
    // SAFETY: the caller vouches for the bytes at `base`; the kernel writes how many it took
    // to iov_len. The address is the tracee's.
    unsafe {
        call(
            request,
            tid,
            ptr::without_provenance_mut(address),
            (&raw mut iov).cast(),
        )?;
    }
    Ok(iov.iov_len.min(len))
}

/// `PTRACE_PEEKMTETAGS` (arm64, Linux 5.10): the tags of the 16-byte granules from this
/// address on, as many as asked for or as there are; at most those of a mebibyte.
///
/// # Errors
///
/// `EIO` on a processor without memory tagging; `EFAULT` if nothing is mapped there,
/// `EOPNOTSUPP` if it is not mapped with `PROT_MTE`.
pub fn peek_mte_tags(tid: Tid, address: u64, count: usize) -> Result<Vec<u8>> {
    let mut tags = vec![0; count.min(MOST)];
    let (base, len) = (tags.as_mut_ptr(), tags.len());
    // SAFETY: the kernel writes at most `len` bytes to `base`, which is the whole of `tags`.
    let len = unsafe { transfer(Request::PEEKMTETAGS, tid, address, base, len)? };
    tags.truncate(len);
    Ok(tags)
}

/// `PTRACE_POKEMTETAGS` (arm64, Linux 5.10): writes the tags of the 16-byte granules from
/// this address on; gives how many.
///
/// # Errors
///
/// As [`peek_mte_tags`].
pub fn poke_mte_tags(tid: Tid, address: u64, tags: &[u8]) -> Result<usize> {
    let (base, len) = (tags.as_ptr().cast_mut(), tags.len());
    // SAFETY: the kernel reads at most `len` bytes from `base`, which is the whole of `tags`,
    // and writes nothing there.
    unsafe { transfer(Request::POKEMTETAGS, tid, address, base, len) }
}

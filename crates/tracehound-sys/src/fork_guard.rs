//! Noticing that one runs in a forked copy of the process.
//!
//! A child made by fork(2) has a copy of every handle and none of the tracer
//! threads. Comparing getpid(2) would cost a system call for each request; a page
//! marked `MADV_WIPEONFORK` (Linux 4.14) reads as zero in the child for the price
//! of a load.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

use crate::Result;

/// A page that a forked child sees wiped.
///
/// One for each tracer, so that a child may make a tracer of its own and still
/// tell it from those that it inherited.
#[derive(Debug)]
pub struct ForkGuard {
    page: NonNull<AtomicU32>,
}

// SAFETY: the page belongs to this value and holds one atomic.
unsafe impl Send for ForkGuard {}
// SAFETY: as above; all access is through the atomic.
unsafe impl Sync for ForkGuard {}

const PAGE: usize = 4096;
const OURS: u32 = 1;

impl ForkGuard {
    /// Marks the calling process as the one that this belongs to.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` before Linux 4.14.
    pub fn new() -> Result<Self> {
        // SAFETY: a new private mapping at an address of the kernel's choice
        // overlaps nothing.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let page = NonNull::new(page.cast::<AtomicU32>()).ok_or(Errno::ENOMEM)?;
        let guard = ForkGuard { page };
        // SAFETY: the page was mapped above and is unmapped by `guard` alone.
        Errno::result(unsafe { libc::madvise(page.as_ptr().cast(), PAGE, libc::MADV_WIPEONFORK) })?;
        guard.mark().store(OURS, Ordering::Relaxed);
        Ok(guard)
    }

    fn mark(&self) -> &AtomicU32 {
        // SAFETY: the page is mapped, zeroed or marked, and aligned while self
        // lives.
        unsafe { self.page.as_ref() }
    }

    /// Whether the calling process is a fork of the one that made this.
    pub fn is_forked(&self) -> bool {
        self.mark().load(Ordering::Relaxed) != OURS
    }
}

impl Drop for ForkGuard {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, unmapped here only.
        unsafe { libc::munmap(self.page.as_ptr().cast(), PAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_is_noticed_in_the_child_only() {
        let guard = ForkGuard::new().expect("a page");
        assert!(!guard.is_forked());
        // SAFETY: the child makes async-signal-safe calls only.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let code = if guard.is_forked() { 7 } else { 1 };
            // SAFETY: ends the child at once, without running anything else.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: `status` is an int that outlives the call.
        let reaped = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(reaped, child);
        assert!(libc::WIFEXITED(status));
        assert_eq!(libc::WEXITSTATUS(status), 7);
        assert!(!guard.is_forked());
    }
}

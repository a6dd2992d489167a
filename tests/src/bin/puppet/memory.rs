//! Memory with known contents and gaps.

use std::ffi::c_void;
use std::ptr;

use crate::{mark, pause};

const PAGE: usize = 4096;

fn map(pages: usize) -> *mut u8 {
    // SAFETY: a new mapping.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            pages * PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(address, libc::MAP_FAILED);
    address.cast()
}

fn protect(page: *mut u8, protection: i32) {
    // SAFETY: a page of a mapping made here.
    let result = unsafe { libc::mprotect(page.cast::<c_void>(), PAGE, protection) };
    assert_eq!(result, 0);
}

/// Two full pages with nothing behind them; a page that may not be read; one that may
/// only be read. Marks where they are.
pub(crate) fn show() {
    let (full, secret, fixed) = (map(3), map(1), map(1));
    // SAFETY: all inside the mappings.
    unsafe {
        for at in 0..2 * PAGE {
            full.add(at).write((at % 251) as u8 + 1);
        }
        libc::munmap(full.add(2 * PAGE).cast(), PAGE);
        secret.write(0x5e);
        fixed.write(0xf1);
    }
    protect(secret, libc::PROT_NONE);
    protect(fixed, libc::PROT_READ);
    mark(full as usize, secret as usize, fixed as usize);
    // SAFETY: still mapped, and readable.
    let now = unsafe { fixed.read_volatile() };
    mark(usize::from(now), 0, 0);
    pause()
}

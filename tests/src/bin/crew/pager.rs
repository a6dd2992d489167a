//! Memory whose pages nobody brings: userfaultfd(2).

use crate::{hear, pause, say};

const PAGE: usize = 4096;

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Range {
    start: u64,
    len: u64,
}

#[repr(C)]
struct Register {
    range: Range,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct ZeroPage {
    range: Range,
    mode: u64,
    zeroed: i64,
}

const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const UFFDIO_ZEROPAGE: libc::c_ulong = 0xc020_aa04;
const MISSING: u64 = 1;

/// `pager`: a page that is there, with 42 in it, and behind it one that never comes. Says
/// where they are, or `unsupported`. At a line the second one comes, with zeroes.
pub(crate) fn pager() {
    // SAFETY: a new mapping, whose first byte is written; requests that take structures of
    // these forms, which outlive the calls.
    unsafe {
        let fd = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) as i32;
        let mut api = Api {
            api: 0xaa,
            features: 0,
            ioctls: 0,
        };
        if fd < 0 || libc::ioctl(fd, UFFDIO_API as _, &raw mut api) != 0 {
            say("unsupported");
            return;
        }
        let pages = libc::mmap(
            std::ptr::null_mut(),
            2 * PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(pages, libc::MAP_FAILED);
        pages.cast::<u8>().write_volatile(42);
        let start = pages as u64 + PAGE as u64;
        let len = PAGE as u64;
        let mut register = Register {
            range: Range { start, len },
            mode: MISSING,
            ioctls: 0,
        };
        assert_eq!(libc::ioctl(fd, UFFDIO_REGISTER as _, &raw mut register), 0);
        say(&format!("{}", pages as usize));
        hear();
        let mut zero = ZeroPage {
            range: Range { start, len },
            mode: 0,
            zeroed: 0,
        };
        assert_eq!(libc::ioctl(fd, UFFDIO_ZEROPAGE as _, &raw mut zero), 0);
    }
    say("served");
    pause()
}

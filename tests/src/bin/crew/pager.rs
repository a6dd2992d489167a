//! Memory whose pages nobody brings: userfaultfd(2).

use std::io::{Read, Write};

use crate::{exec, hear, pause, say};

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

/// A page that is there, with 42 in it, and behind it one that comes when it is served.
struct Pages {
    fd: i32,
    start: usize,
}

impl Pages {
    /// Nothing where the kernel does not let pages be served.
    fn new() -> Option<Self> {
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
                return None;
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
            let start = pages as usize;
            let pages = Pages { fd, start };
            let mut register = Register {
                range: pages.missing(),
                mode: MISSING,
                ioctls: 0,
            };
            assert_eq!(libc::ioctl(fd, UFFDIO_REGISTER as _, &raw mut register), 0);
            Some(pages)
        }
    }

    fn missing(&self) -> Range {
        let start = (self.start + PAGE) as u64;
        let len = PAGE as u64;
        Range { start, len }
    }

    /// The second one comes, with zeroes.
    fn serve(&self) {
        let mut zero = ZeroPage {
            range: self.missing(),
            mode: 0,
            zeroed: 0,
        };
        // SAFETY: a request that takes a structure of this form, which outlives the call.
        let served = unsafe { libc::ioctl(self.fd, UFFDIO_ZEROPAGE as _, &raw mut zero) };
        assert_eq!(served, 0);
    }
}

/// `pager`: says where the pages are, or `unsupported`. At a line the second one comes.
pub(crate) fn pager() {
    let Some(pages) = Pages::new() else {
        say("unsupported");
        return;
    };
    say(&format!("{}", pages.start));
    hear();
    pages.serve();
    say("served");
    pause()
}

/// `stalled-exec PROGRAM…`: another thread says `ready TID`, and execs when it is told. That has
/// no end, the other threads gone already and its own id given up, until a second line comes: the
/// kernel reads the list of its robust futexes, which is on a page that does not come.
pub(crate) fn stalled_exec(args: &[String]) {
    let Some(pages) = Pages::new() else {
        say("unsupported");
        return;
    };
    let (mut told, mut tell) = std::io::pipe().expect("a pipe");
    // SAFETY: there is one thread. The child has this memory's descriptor as well.
    if unsafe { libc::fork() } == 0 {
        // After the thread: both hear the same lines.
        told.read_exact(&mut [0]).expect("a byte");
        hear();
        pages.serve();
        std::process::exit(0);
    }
    let args = args.to_vec();
    std::thread::spawn(move || {
        // SAFETY: takes nothing.
        say(&format!("ready {}", unsafe { libc::gettid() }));
        hear();
        tell.write_all(&[0]).expect("it listens");
        // SAFETY: the list is read when the thread ends, or execs.
        unsafe { libc::syscall(libc::SYS_set_robust_list, pages.missing().start, 24) };
        exec(&args)
    });
    pause()
}

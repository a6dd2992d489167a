//! What a child shares with its tracer until its exec.

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use nix::errno::Errno;
use syscalls::{Sysno, syscall};

use crate::{Result, Tid};

/// How far the child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum State {
    /// No child yet.
    New = 0,
    /// Its maker has said who it is; it waits to be seized.
    Announced = 1,
    /// It is seized and may go on.
    Go = 2,
    /// It must end.
    Aborted = 3,
    /// There is no child.
    Failed = 4,
}

#[derive(Debug, Default)]
#[repr(C)]
struct Shared {
    state: AtomicU32,
    pid: AtomicI32,
    errno: AtomicI32,
    /// Somebody sleeps until the state changes, or is about to.
    awaited: AtomicU32,
}

/// A shared mapping, for a child with memory of its own.
#[derive(Debug)]
struct Page(NonNull<Shared>);

// SAFETY: the page belongs to this value and holds atomics only.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

const PAGE: usize = 4096;

impl Page {
    fn new() -> Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let page = NonNull::new(page.cast()).ok_or(Errno::ENOMEM)?;
        Ok(Page(page))
    }
}

impl Deref for Page {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        // SAFETY: mapped and zeroed by `new`, which is a value of every field, and
        // mapped while self lives.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, unmapped here only.
        unsafe { libc::munmap(self.0.as_ptr().cast(), PAGE) };
    }
}

#[derive(Debug)]
enum Place {
    Mapped(Page),
    /// For a child in this memory. It must not move while there is one.
    Here(Shared),
}

#[derive(Debug)]
pub(super) struct Handshake(Place);

impl Handshake {
    /// For a child with a copy of this memory.
    pub(super) fn mapped() -> Result<Self> {
        Ok(Handshake(Place::Mapped(Page::new()?)))
    }

    /// For a child in this memory.
    pub(super) fn here() -> Self {
        Handshake(Place::Here(Shared::default()))
    }

    fn shared(&self) -> &Shared {
        match &self.0 {
            Place::Mapped(page) => page,
            Place::Here(shared) => shared,
        }
    }

    pub(super) fn state(&self) -> State {
        match self.shared().state.load(Ordering::Acquire) {
            0 => State::New,
            1 => State::Announced,
            2 => State::Go,
            3 => State::Aborted,
            _ => State::Failed,
        }
    }

    pub(super) fn pid(&self) -> Tid {
        Tid::from_raw(self.shared().pid.load(Ordering::Relaxed))
    }

    pub(super) fn errno(&self) -> Errno {
        Errno::from_raw(self.shared().errno.load(Ordering::Acquire))
    }

    /// The maker says who the child is, unless it is not wanted any more.
    pub(super) fn announce(&self, pid: Tid) {
        self.shared().pid.store(pid.as_raw(), Ordering::Relaxed);
        // A failure means that the launch was aborted, which is seen next.
        let _ = self.shared().state.compare_exchange(
            State::New as u32,
            State::Announced as u32,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// The child says why there will be no exec.
    pub(super) fn set_errno(&self, errno: i32) {
        self.shared().errno.store(errno, Ordering::Release);
    }

    pub(super) fn fail(&self, errno: Errno) {
        self.set_errno(errno as i32);
        self.shared()
            .state
            .store(State::Failed as u32, Ordering::Release);
    }

    /// Answers the child.
    pub(super) fn advance(&self, state: State) {
        let shared = self.shared();
        // Either this sees that it is awaited, or who waits sees the new state.
        shared.state.store(state as u32, Ordering::SeqCst);
        if shared.awaited.load(Ordering::SeqCst) == 0 {
            return;
        }
        // SAFETY: a wake of the futex that the child and the launcher wait at.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                shared.state.as_ptr(),
                libc::FUTEX_WAKE,
                i32::MAX,
            );
        }
    }

    /// Sleeps until the child is answered. Async-signal-safe, and leaves errno alone.
    pub(super) fn wait(&self) -> State {
        loop {
            let state = self.state();
            if state != State::New && state != State::Announced {
                return state;
            }
            self.shared().awaited.store(1, Ordering::SeqCst);
            // SAFETY: a wait at a live futex without a timeout. However it ends, there is
            // another look.
            let _ = unsafe {
                let address = self.shared().state.as_ptr();
                syscall!(Sysno::futex, address, libc::FUTEX_WAIT, state as u32, 0)
            };
        }
    }
}

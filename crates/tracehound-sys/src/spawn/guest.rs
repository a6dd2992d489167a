//! A child that shares this program's memory until its exec.
//!
//! Made by `clone(CLONE_VM)`, at the same cost in a host of any size: no page table is copied.
//! Without `CLONE_VFORK` its maker does not sleep meanwhile. So the tracer thread makes it
//! itself and seizes it at once, and an exec that hangs (a file on a server that is gone)
//! holds up nobody.
//!
//! All signals are blocked in the child until its exec, so that no handler of the host runs on the
//! storage of the thread that made it. It would have to look at all its handlers before it
//! unblocked any; so its tracer gives it its mask instead, in the stop at its exec. If the tracer's
//! process is killed while the child is in its exec, the program starts untraced and with all
//! signals blocked.
//!
//! What the child uses must stay where it is until it has left this memory, which its tracer
//! sees: by its exec or by its death. If that is never seen, it stays for ever.

use std::ffi::{c_int, c_void};
use std::mem::ManuallyDrop;
use std::sync::Arc;

use nix::errno::Errno;

use super::Launch;
use super::child::{self, Memory};
use crate::{Result, Tid, thread};

/// Enough for the child's few frames.
const STACK: usize = 32 * 1024;

/// A child that may still run in this memory, and what it uses there.
#[derive(Debug)]
#[must_use = "what it uses is never freed unless it is said that it has left"]
pub struct Guest {
    tid: Tid,
    uses: ManuallyDrop<(Arc<Launch>, Vec<u128>)>,
}

impl Guest {
    /// Makes the child, which waits for [`Launch::go`] or [`Launch::abort`]. The calling thread is
    /// the one that traces: if it ends before the exec, the child is killed.
    ///
    /// # Errors
    ///
    /// Those of clone(2).
    pub fn new(launch: &Arc<Launch>) -> Result<Guest> {
        let launch = Arc::clone(launch);
        let mut stack = Vec::<u128>::with_capacity(STACK / size_of::<u128>());
        // SAFETY: the end of an allocation of STACK bytes, aligned as u128 is: the top of
        // a stack that grows down.
        let top = unsafe { stack.as_mut_ptr().byte_add(STACK) };
        let flags = libc::CLONE_VM | libc::SIGCHLD;
        let launch_address = Arc::as_ptr(&launch).cast_mut().cast();
        // No handler of the host may run in the child, on the storage of this thread.
        let pid = thread::without_signals(|| {
            // SAFETY: stack and launch stay where they are until it is said that the child has
            // left; the child keeps to what its module says.
            let pid = unsafe { libc::clone(enter, top.cast(), flags, launch_address) };
            Errno::result(pid)
        })?;
        Ok(Guest {
            tid: Tid::from_raw(pid),
            uses: ManuallyDrop::new((launch, stack)),
        })
    }

    /// Its id.
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// It has called exec, or is dead: `PTRACE_EVENT_EXEC`, or a report of its end.
    pub fn has_left(self) {
        drop(ManuallyDrop::into_inner(self.uses));
    }

    /// Takes its status when it has ended, which is waited for. Not for one that is traced.
    pub fn reap(self) {
        child::reap(self.tid);
        self.has_left();
    }
}

extern "C" fn enter(launch: *mut c_void) -> c_int {
    // SAFETY: `Guest::new` passes a launch that lives as long as the child runs here.
    let launch = unsafe { &*launch.cast::<Launch>() };
    let (program, handshake) = (&launch.program, &launch.handshake);
    child::run(program, &mut [], handshake, launch.maker, Memory::Shared)
}

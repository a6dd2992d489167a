//! Registers: by the types of this architecture, and by register set.

use tracehound_sys::ptrace::{self, FpRegs, RegSet, Regs, Request, XState};
use tracehound_sys::{Errno, Tid, proc};

use super::Tracee;
use crate::error::{Error, Result};
use crate::explain::explain;
use crate::slot::Prefetch;

/// What the general and floating-point registers are read and written with.
const GETREGS: Request = either(Request::GETREGS, Request::GETREGSET);
const SETREGS: Request = either(Request::SETREGS, Request::SETREGSET);
const GETFPREGS: Request = either(Request::GETFPREGS, Request::GETREGSET);
const SETFPREGS: Request = either(Request::SETFPREGS, Request::SETREGSET);

const fn either(here: Request, else_this: Request) -> Request {
    if here.code().is_some() {
        here
    } else {
        else_this
    }
}

impl Tracee {
    /// The general registers: `PTRACE_GETREGS`, or `PTRACE_GETREGSET` where that is
    /// missing.
    ///
    /// # Errors
    ///
    /// [`Error::Running`], [`Error::Gone`], [`Error::Detached`], [`Error::Shutdown`].
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn getregs(&self) -> Result<Regs> {
        if let Some(registers) = self.prefetched()? {
            return Ok(registers);
        }
        self.request(GETREGS, ptrace::getregs).await
    }

    fn prefetched(&self) -> Result<Option<Regs>> {
        let state = self.slot().lock_here()?;
        state.check_held(self.tid())?;
        Ok(state.prefetch.get())
    }

    /// Has the general registers read with each event from now on, on the tracer thread, so
    /// that [`getregs`](Tracee::getregs) is answered at once: elsewhere a trip to that thread
    /// costs more than the stop itself. Inherited by tracees that this one makes.
    ///
    /// Costs a system call for each stop, also for those whose registers nobody wants.
    pub fn set_prefetch_registers(&mut self, prefetch: bool) {
        if let Ok(mut state) = self.slot().lock_here() {
            state.prefetch = Prefetch::new(prefetch);
        }
    }

    /// What was read at the stop is not true any more.
    pub(super) fn forget_registers(&self) {
        if let Ok(mut state) = self.slot().lock_here() {
            state.prefetch.forget();
        }
    }

    /// Writes the general registers: `PTRACE_SETREGS`, or `PTRACE_SETREGSET` where that is
    /// missing.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::InvalidArgument`] for values that user code
    /// may not have.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the registers may have been written.
    pub async fn setregs(&mut self, regs: &Regs) -> Result<()> {
        let regs = *regs;
        self.forget_registers();
        self.request(SETREGS, move |tid| ptrace::setregs(tid, &regs))
            .await
    }

    /// The floating-point registers, with the vector registers of 128 bits:
    /// `PTRACE_GETFPREGS`, or `PTRACE_GETREGSET` where that is missing.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn getfpregs(&self) -> Result<FpRegs> {
        self.request(GETFPREGS, ptrace::getfpregs).await
    }

    /// Writes the floating-point registers: `PTRACE_SETFPREGS`, or `PTRACE_SETREGSET` where
    /// that is missing.
    ///
    /// # Errors
    ///
    /// As [`setregs`](Tracee::setregs).
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the registers may have been written.
    pub async fn setfpregs(&mut self, regs: &FpRegs) -> Result<()> {
        let regs = *regs;
        self.request(SETFPREGS, move |tid| ptrace::setfpregs(tid, &regs))
            .await
    }

    /// All that XSAVE saves of an x86 thread: `PTRACE_GETREGSET` of `NT_X86_XSTATE`. On
    /// arm64 the vector registers are in [`RegSet::ARM_SVE`] and its like.
    ///
    /// # Errors
    ///
    /// As [`getregset`](Tracee::getregset).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn getxstate(&self) -> Result<XState> {
        let bytes = self.getregset(RegSet::X86_XSTATE).await?;
        Ok(XState::from_bytes(bytes))
    }

    /// Writes all that XSAVE saves of an x86 thread: `PTRACE_SETREGSET` of `NT_X86_XSTATE`.
    /// Only what [`getxstate`](Tracee::getxstate) gave has the length that the kernel wants.
    ///
    /// # Errors
    ///
    /// As [`setregset`](Tracee::setregset).
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the registers may have been written.
    pub async fn setxstate(&mut self, state: &XState) -> Result<()> {
        self.setregset(RegSet::X86_XSTATE, state.as_bytes())
            .await
            .map(drop)
    }

    /// A register set, in the kernel's layout: `PTRACE_GETREGSET` (Linux 2.6.34). At most a
    /// mebibyte is taken.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::NoRegisterSet`] if kernel, processor or
    /// thread have no such set; [`Error::Unsupported`] if a newer kernel may have it.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn getregset(&self, set: RegSet) -> Result<Vec<u8>> {
        self.request_explained(
            move |tid| ptrace::getregset(tid, set),
            move |tid, errno| {
                no_such_set(tid, set, errno)
                    .unwrap_or_else(|| explain(Request::GETREGSET, tid, errno))
            },
        )
        .await
    }

    /// Writes a register set, or its beginning: `PTRACE_SETREGSET` (Linux 2.6.34). Gives how
    /// many bytes were written: not those beyond the set's end.
    ///
    /// # Errors
    ///
    /// As [`getregset`](Tracee::getregset); [`Error::InvalidArgument`] for a length that is
    /// not a multiple of the set's word, and for values that user code may not have.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the registers may have been written.
    pub async fn setregset(&mut self, set: RegSet, bytes: &[u8]) -> Result<usize> {
        let bytes = bytes.to_vec();
        self.forget_registers();
        if matches!(set, RegSet::ARM_HW_BREAK | RegSet::ARM_HW_WATCH) {
            self.note_hardware_breakpoints();
        }
        self.request_explained(
            move |tid| ptrace::setregset(tid, set, &bytes),
            move |tid, errno| {
                // The same number for a bad value and for no such set: a read tells.
                let missing = ptrace::getregset(tid, set).err();
                missing
                    .and_then(|errno| no_such_set(tid, set, errno))
                    .unwrap_or_else(|| explain(Request::SETREGSET, tid, errno))
            },
        )
        .await
    }
}

/// The error if this number says that a set is not there.
fn no_such_set(tid: Tid, set: RegSet, errno: Errno) -> Option<Error> {
    let newer = set
        .name()
        .zip(set.since())
        .filter(|(_, since)| proc::kernel_is_older_than(since));
    match (errno, newer) {
        (Errno::EINVAL, Some((what, since))) => Some(Error::Unsupported { what, since }),
        (Errno::EINVAL | Errno::ENODEV | Errno::EOPNOTSUPP | Errno::EIO, _) => {
            Some(Error::NoRegisterSet { tid, set })
        }
        _ => None,
    }
}

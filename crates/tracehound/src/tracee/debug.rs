//! Breakpoints and watchpoints in debug registers.
//!
//! The kernel leaves them in place at a detach, and the next `SIGTRAP` of one would kill the
//! thread. So the slot remembers that there may be some, and they are taken out first.

use tracehound_sys::ptrace::{self, HardwareBreakpoint, Request};
use tracehound_sys::{Errno, Tid};

use super::Tracee;
use crate::error::{Error, Result};
use crate::explain::explain;

/// # Breakpoints in debug registers
///
/// They belong to one thread: tracees that it makes do not have them, and an exec takes them
/// out. So does a detach, and dropping the handle; if the tracer dies they stay, and kill the
/// thread.
impl Tracee {
    /// Puts a breakpoint into a free debug register, unless it is in one already:
    /// `PTRACE_POKEUSER` on x86 (four registers), `PTRACE_SETREGSET` of `NT_ARM_HW_BREAK` or
    /// `NT_ARM_HW_WATCH` on arm64 (2 to 16 of each).
    ///
    /// When it is met the tracee stops with
    /// [`Event::HardwareBreakpoint`](crate::Event::HardwareBreakpoint), unless it is
    /// [stepping](Tracee::step): then [`fired_hardware_breakpoints`] tells. On arm64 a
    /// tracee that is resumed from a watchpoint meets it again: take it out for one step.
    ///
    /// [`fired_hardware_breakpoints`]: Tracee::fired_hardware_breakpoints
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::NoFreeDebugRegister`];
    /// [`Error::InvalidArgument`] for what the processor cannot watch;
    /// [`Error::Architecture`] if it has no debug registers.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the breakpoint may have been set.
    pub async fn set_hardware_breakpoint(&mut self, breakpoint: &HardwareBreakpoint) -> Result<()> {
        let breakpoint = *breakpoint;
        self.note_hardware_breakpoints();
        self.request_explained(
            move |tid| ptrace::set_hardware_breakpoint(tid, &breakpoint),
            explain_debug,
        )
        .await
    }

    /// Takes a breakpoint out of its debug register; gives whether it was in one.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::Architecture`] if the processor has no debug
    /// registers.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the breakpoint may have been taken out.
    pub async fn clear_hardware_breakpoint(
        &mut self,
        breakpoint: &HardwareBreakpoint,
    ) -> Result<bool> {
        let breakpoint = *breakpoint;
        self.request_explained(
            move |tid| ptrace::clear_hardware_breakpoint(tid, &breakpoint),
            explain_debug,
        )
        .await
    }

    /// The breakpoints in the thread's debug registers.
    ///
    /// # Errors
    ///
    /// As [`clear_hardware_breakpoint`](Tracee::clear_hardware_breakpoint).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn hardware_breakpoints(&self) -> Result<Vec<HardwareBreakpoint>> {
        self.request_explained(ptrace::hardware_breakpoints, explain_debug)
            .await
    }

    /// The breakpoints in debug registers that the present stop is due to.
    ///
    /// # Errors
    ///
    /// As [`clear_hardware_breakpoint`](Tracee::clear_hardware_breakpoint); on arm64
    /// [`Error::WrongStop`] in a stop without a siginfo.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn fired_hardware_breakpoints(&self) -> Result<Vec<HardwareBreakpoint>> {
        self.request_explained(ptrace::fired_hardware_breakpoints, explain_debug)
            .await
    }

    /// Something is written that may be a breakpoint in a debug register.
    pub(super) fn note_hardware_breakpoints(&self) {
        // An error: a forked child, which can write nothing.
        if let Ok(mut state) = self.slot().lock_here() {
            state.hardware = true;
        }
    }
}

fn explain_debug(tid: Tid, errno: Errno) -> Error {
    match errno {
        Errno::ENOSPC => Error::NoFreeDebugRegister { tid },
        Errno::EINVAL => Error::InvalidArgument("a breakpoint that the processor cannot have"),
        Errno::ENODEV | Errno::EOPNOTSUPP => Error::Architecture {
            what: "debug registers",
        },
        errno => explain(Request::POKEUSR, tid, errno),
    }
}

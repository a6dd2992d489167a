//! Requests to a held tracee: resuming, detaching, registers, siginfo.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::oneshot;
use tracehound_sys::ptrace::{self, Regs, ResumeKind};
use tracehound_sys::{SigInfo, Signal, Tid};

use super::Tracee;
use crate::error::{Error, Result};
use crate::shard::{Local, Op};
use crate::slot::{Action, End, Phase, Slot, StopClass};

macro_rules! resuming {
    ($($(#[$meta:meta])* $plain:ident, $(#[$with_meta:meta])* $with:ident => $kind:ident;)*) => {
        $(
            $(#[$meta])*
            ///
            /// At a signal-delivery-stop the signal is *suppressed*; asking for the next
            /// event instead delivers it. Succeeds as soon as the resume is under way: a
            /// tracee that has just been killed says so with its terminal event.
            ///
            /// # Errors
            ///
            /// [`Error::Running`], [`Error::Gone`], [`Error::Detached`], [`Error::Shutdown`].
            ///
            /// # Cancel safety
            ///
            /// The resume is made at the first poll and cannot be recalled.
            pub async fn $plain(&mut self) -> Result<()> {
                self.resume(ResumeKind::$kind, None)
            }

            $(#[$with_meta])*
            ///
            /// # Errors
            ///
            /// As without a signal; [`Error::NotASignalStop`] in any other stop than a
            /// signal-delivery-stop, where the kernel may drop the signal;
            /// [`Error::NoSuchSignal`].
            ///
            /// # Cancel safety
            ///
            /// The resume is made at the first poll and cannot be recalled.
            pub async fn $with(&mut self, signal: Signal) -> Result<()> {
                self.resume(ResumeKind::$kind, Some(signal))
            }
        )*
    };
}

impl Tracee {
    resuming! {
        /// Resumes until the next signal, event or death: `PTRACE_CONT`.
        cont,
        /// [`cont`](Tracee::cont), delivering this signal in place of the one that stopped
        /// the tracee.
        cont_with => Cont;
        /// Resumes until the next syscall-stop, or whatever comes first:
        /// `PTRACE_SYSCALL`.
        syscall,
        /// [`syscall`](Tracee::syscall), delivering this signal in place of the one that
        /// stopped the tracee.
        syscall_with => Syscall;
        /// Executes one instruction: `PTRACE_SINGLESTEP`. Over a system call it takes as
        /// long as the call.
        step,
        /// [`step`](Tracee::step), delivering this signal in place of the one that stopped
        /// the tracee: into the first instruction of its handler.
        step_with => Step;
        /// Resumes until the next system call, which is seen and not made:
        /// `PTRACE_SYSEMU` (x86; Linux 5.3 on arm64).
        sysemu,
        /// [`sysemu`](Tracee::sysemu), delivering this signal in place of the one that
        /// stopped the tracee.
        sysemu_with => Sysemu;
    }

    fn resume(&self, how: ResumeKind, signal: Option<Signal>) -> Result<()> {
        let state = self.slot().lock_here()?;
        state.check_held(self.tid())?;
        check_signal(self.tid(), state.phase, signal)?;
        if state.event_is_due() {
            return Ok(());
        }
        self.resume_from(state, Action::Resume(how, signal))
    }

    /// Leaves the tracee in its group-stop until `SIGCONT`: `PTRACE_LISTEN` (Linux 3.4).
    ///
    /// # Errors
    ///
    /// [`Error::WrongStop`] outside of a group-stop; otherwise as [`cont`](Tracee::cont).
    ///
    /// # Cancel safety
    ///
    /// The request is made at the first poll and cannot be recalled.
    pub async fn listen(&mut self) -> Result<()> {
        let state = self.slot().lock_here()?;
        state.check_held(self.tid())?;
        if state.phase != Phase::Stopped(StopClass::Group) {
            return Err(Error::WrongStop {
                request: "PTRACE_LISTEN",
                tid: self.tid(),
            });
        }
        self.resume_from(state, Action::Listen)
    }

    /// Ends the attachment; the thread runs on: `PTRACE_DETACH`.
    ///
    /// A running tracee is interrupted first. From a group-stop the thread stays stopped;
    /// the signal of a signal-delivery-stop is suppressed if its event was handed out
    /// (see [`detach_with`](Tracee::detach_with)), and delivered if it was not. Resolves
    /// when the thread is detached; the stream then ends with
    /// [`Detached`](crate::Event::Detached).
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it died first; [`Error::Detached`] if it was detached before;
    /// [`Error::Shutdown`].
    ///
    /// # Cancel safety
    ///
    /// The detach cannot be recalled; dropping the future only stops waiting for it.
    pub async fn detach(&mut self) -> Result<()> {
        self.detach_by(|local, slot| {
            let state = slot.lock();
            if state.held && matches!(state.phase, Phase::Stopped(_)) {
                drop(state);
                local.detach_held(slot);
            } else {
                drop(state);
                local.detach(slot);
            }
        })
        .await
    }

    /// Ends the attachment, delivering a signal in place of the one that stopped the
    /// tracee.
    ///
    /// # Errors
    ///
    /// As [`detach`](Tracee::detach); [`Error::Running`], [`Error::NotASignalStop`],
    /// [`Error::NoSuchSignal`].
    ///
    /// # Cancel safety
    ///
    /// As [`detach`](Tracee::detach).
    pub async fn detach_with(&mut self, signal: Signal) -> Result<()> {
        {
            let state = self.slot().lock_here()?;
            state.check_held(self.tid())?;
            check_signal(self.tid(), state.phase, Some(signal))?;
        }
        self.detach_by(move |local, slot| local.detach_now(slot, Some(signal)))
            .await
    }

    async fn detach_by(
        &self,
        detach: impl FnOnce(&Local, &Arc<Slot>) + Send + 'static,
    ) -> Result<()> {
        {
            let state = self.slot().lock_here()?;
            state.check_attached(self.tid())?;
        }
        let slot = Arc::clone(self.slot());
        self.slot().shard.run(move |local| detach(local, &slot))?;
        poll_fn(|cx| {
            let mut state = self.slot().lock();
            match state.phase {
                Phase::Ended(End::Detached) => Poll::Ready(Ok(())),
                Phase::Ended(_) => Poll::Ready(state.check_held(self.tid())),
                _ => {
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

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
        self.request("PTRACE_GETREGS", ptrace::getregs).await
    }

    /// Writes the general registers: `PTRACE_SETREGS`, or `PTRACE_SETREGSET` where that is
    /// missing.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::WrongStop`] for values that user code may
    /// not have.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the registers may have been written.
    pub async fn setregs(&mut self, regs: &Regs) -> Result<()> {
        let regs = *regs;
        self.request("PTRACE_SETREGS", move |tid| ptrace::setregs(tid, &regs))
            .await
    }

    /// The signal that caused the stop: `PTRACE_GETSIGINFO`.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::WrongStop`] in a stop that has none.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn getsiginfo(&self) -> Result<SigInfo> {
        self.request("PTRACE_GETSIGINFO", ptrace::getsiginfo).await
    }

    /// Changes the signal about to be delivered: `PTRACE_SETSIGINFO`.
    ///
    /// # Errors
    ///
    /// As [`getsiginfo`](Tracee::getsiginfo).
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the siginfo may have been written.
    pub async fn setsiginfo(&mut self, info: &SigInfo) -> Result<()> {
        let info = *info;
        self.request("PTRACE_SETSIGINFO", move |tid| {
            ptrace::setsiginfo(tid, &info)
        })
        .await
    }

    /// Makes a request on the tracer thread, of a held tracee.
    async fn request<R: Send + 'static>(
        &self,
        name: &'static str,
        f: impl FnOnce(Tid) -> tracehound_sys::Result<R> + Send + 'static,
    ) -> Result<R> {
        let shard = &self.slot().shard;
        if shard.is_current() {
            return self.slot().request_now(name, f);
        }
        self.slot().lock_here()?.check_held(self.tid())?;
        let (reply, answer) = oneshot::channel();
        let slot = Arc::clone(self.slot());
        shard.push(Op::Call(Box::new(move |_| {
            // Whoever asked may have gone.
            let _ = reply.send(slot.request_now(name, f));
        })))?;
        answer.await.map_err(|_| Error::Shutdown)?
    }
}

/// A signal can be given only where there is one to deliver, and only if it exists.
fn check_signal(tid: Tid, phase: Phase, signal: Option<Signal>) -> Result<()> {
    match (signal, phase) {
        (None, _) => Ok(()),
        (Some(signal), _) if !signal.is_valid() => Err(Error::NoSuchSignal(signal)),
        (Some(_), Phase::Stopped(StopClass::Signal(_))) => Ok(()),
        (Some(signal), _) => Err(Error::NotASignalStop { tid, signal }),
    }
}

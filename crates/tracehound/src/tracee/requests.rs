//! Requests to a held tracee: how they are made, and those that let go of it: resuming,
//! detaching.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::oneshot;
use tracehound_sys::ptrace::{Request, ResumeKind};
use tracehound_sys::{Errno, Signal, Tid};

use super::{Tracee, events};
use crate::error::{Error, Result};
use crate::explain::explain;
use crate::filter::Unwatched;
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
            /// [`Error::Running`], [`Error::Gone`], [`Error::Detached`], [`Error::Shutdown`];
            /// [`Error::Architecture`] where there is no such request.
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
        /// Executes instructions up to the next branch that is taken:
        /// `PTRACE_SINGLEBLOCK` (x86). Hypervisors often do not pass this on: then it is one
        /// instruction, as in [`step`](Tracee::step).
        block_step,
        /// [`block_step`](Tracee::block_step), delivering this signal in place of the one
        /// that stopped the tracee.
        block_step_with => Block;
        /// Resumes until the next system call, which is seen and not made:
        /// `PTRACE_SYSEMU` (x86; Linux 5.3 on arm64).
        sysemu,
        /// [`sysemu`](Tracee::sysemu), delivering this signal in place of the one that
        /// stopped the tracee.
        sysemu_with => Sysemu;
        /// Executes one instruction; a system call is seen and not made:
        /// `PTRACE_SYSEMU_SINGLESTEP` (x86; Linux 5.3 on arm64).
        sysemu_step,
        /// [`sysemu_step`](Tracee::sysemu_step), delivering this signal in place of the one
        /// that stopped the tracee.
        sysemu_step_with => SysemuStep;
    }

    fn resume(&self, how: ResumeKind, signal: Option<Signal>) -> Result<()> {
        let state = self.slot().lock_here()?;
        state.check_held(self.tid())?;
        check_signal(self.tid(), state.phase, signal)?;
        if state.event_is_due() {
            return Ok(());
        }
        if how.request().code().is_none() {
            return Err(Error::Architecture {
                what: how.request().name(),
            });
        }
        events::resume(self.slot(), state, Action::Resume(how, signal))
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
        events::resume(self.slot(), state, Action::Listen)
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
    /// [`Error::Shutdown`]; [`Error::Filtered`] if it has a
    /// [filter](crate::Command::trace_syscalls), unless it was spawned with
    /// [`Unwatched::Pass`].
    ///
    /// # Cancel safety
    ///
    /// The detach cannot be recalled; dropping the future only stops waiting for it.
    pub async fn detach(&mut self) -> Result<()> {
        self.detach_by(|local, slot| local.let_go(slot)).await
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
        self.detach_by(move |local, slot| local.detach_from(slot, Some(signal)))
            .await
    }

    /// Whether a detach is to be tried.
    pub(crate) fn may_detach(&self) -> Result<()> {
        let slot = self.slot();
        slot.lock_here()?.check_attached(self.tid())?;
        match slot.rule {
            Some(rule) if rule.unwatched == Unwatched::Kill => Err(Error::Filtered(self.tid())),
            _ => Ok(()),
        }
    }

    async fn detach_by(
        &self,
        detach: impl FnOnce(&Local, &Arc<Slot>) + Send + 'static,
    ) -> Result<()> {
        self.may_detach()?;
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

    /// Makes a request on the tracer thread, of a held tracee.
    pub(super) async fn request<R: Send + 'static>(
        &self,
        request: Request,
        f: impl FnOnce(Tid) -> tracehound_sys::Result<R> + Send + 'static,
    ) -> Result<R> {
        self.request_explained(f, move |tid, errno| explain(request, tid, errno))
            .await
    }

    /// Makes a request on the tracer thread, of a held tracee, whose errors are not explained
    /// by the request alone.
    pub(super) async fn request_explained<R: Send + 'static>(
        &self,
        f: impl FnOnce(Tid) -> tracehound_sys::Result<R> + Send + 'static,
        explain: impl FnOnce(Tid, Errno) -> Error + Send + 'static,
    ) -> Result<R> {
        let shard = &self.slot().shard;
        if shard.is_current() {
            return self.slot().request_now(f, explain);
        }
        self.slot().lock_here()?.check_held(self.tid())?;
        let (reply, answer) = oneshot::channel();
        let slot = Arc::clone(self.slot());
        shard.push(Op::Call(Box::new(move |_| {
            // Whoever asked may have gone.
            let _ = reply.send(slot.request_now(f, explain));
        })))?;
        shard.answer(answer).await?
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

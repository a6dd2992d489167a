//! The signal of a stop, signals that wait, and the mask that makes them wait.

use tokio::task::yield_now;
use tracehound_sys::ptrace::{self, PEEK_SIGINFO_MAX, Request, SignalQueue};
use tracehound_sys::{SigInfo, SignalSet};

use super::Tracee;
use crate::error::Result;

/// What [`Tracee::pending_signals`] gives at most: two mebibytes.
const MOST_PENDING: usize = 16 * 1024;

impl Tracee {
    /// The signal that caused the stop: `PTRACE_GETSIGINFO`.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::WrongStop`](crate::Error::WrongStop) in a stop that has none.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn getsiginfo(&self) -> Result<SigInfo> {
        self.request(Request::GETSIGINFO, ptrace::getsiginfo).await
    }

    /// Changes the signal about to be delivered: `PTRACE_SETSIGINFO`.
    ///
    /// # Errors
    ///
    /// As [`getsiginfo`](Tracee::getsiginfo); [`Error::InvalidArgument`](crate::Error::InvalidArgument) for fields that the
    /// signal cannot have.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the siginfo may have been written.
    pub async fn setsiginfo(&mut self, info: &SigInfo) -> Result<()> {
        let info = *info;
        self.request(Request::SETSIGINFO, move |tid| {
            ptrace::setsiginfo(tid, &info)
        })
        .await
    }

    /// The signals that wait to be delivered, oldest first, without taking them:
    /// `PTRACE_PEEKSIGINFO` (Linux 3.10), as often as it takes. What is sent meanwhile may
    /// be there or not.
    ///
    /// Of a queue of more than 16,384 signals, which only a program that floods itself has,
    /// this gives the beginning; [`peek_siginfo`](Tracee::peek_siginfo) reads on. The kernel
    /// walks the queue from its head for each signal that it gives.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn pending_signals(&self, queue: SignalQueue) -> Result<Vec<SigInfo>> {
        let mut all = Vec::new();
        loop {
            let chunk = self
                .peek_siginfo(queue, all.len() as u64, usize::MAX)
                .await?;
            let is_last = chunk.len() < PEEK_SIGINFO_MAX;
            all.extend(chunk);
            if is_last || all.len() >= MOST_PENDING {
                return Ok(all);
            }
            // On the tracer thread a request is ready at once: others come in between.
            yield_now().await;
        }
    }

    /// Signals that wait to be delivered, without taking them: `PTRACE_PEEKSIGINFO`
    /// (Linux 3.10). Gives at most `most` of those behind the first `offset`, and no more
    /// than 64: fewer than both mean that there are no more.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn peek_siginfo(
        &self,
        queue: SignalQueue,
        offset: u64,
        most: usize,
    ) -> Result<Vec<SigInfo>> {
        self.request(Request::PEEKSIGINFO, move |tid| {
            ptrace::peek_siginfo(tid, queue, offset, most)
        })
        .await
    }

    /// The signals that the thread blocks: `PTRACE_GETSIGMASK` (Linux 3.11). Inside of
    /// sigsuspend(2) and its like, those that it will block again afterwards.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn getsigmask(&self) -> Result<SignalSet> {
        self.request(Request::GETSIGMASK, ptrace::getsigmask).await
    }

    /// Sets the signals that the thread blocks: `PTRACE_SETSIGMASK` (Linux 3.11). `SIGKILL`
    /// and `SIGSTOP` cannot be blocked, and are left out.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs).
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the mask may have been set.
    pub async fn setsigmask(&mut self, mask: SignalSet) -> Result<()> {
        self.request(Request::SETSIGMASK, move |tid| {
            ptrace::setsigmask(tid, mask)
        })
        .await
    }
}

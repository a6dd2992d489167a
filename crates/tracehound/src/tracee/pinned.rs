//! Moving a tracee's logic to its tracer thread: for good, or for one trip.
//!
//! A trip could carry a list of requests, whose answers come as a list. It carries code
//! instead: there each request is a plain system call, and what one answers decides the next.
//! So there is one set of methods, and no order of trips is worth thinking about.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{AbortHandle, Abortable};
use tokio::sync::oneshot;

use super::Tracee;
use crate::error::{Error, Result};
use crate::shard::Local;

impl Tracee {
    /// Runs the logic of this tracee on its tracer thread, where a request is a plain
    /// system call.
    ///
    /// The future need not be `Send`. It shares the thread with the waiting itself: while
    /// it does something else than awaiting, no other tracee of the thread gets on, which is
    /// [reported](crate::TracerBuilder::report_blocked_after) if it takes long. The
    /// timers and sockets of the tokio runtime in which the tracer was made work there.
    ///
    /// # Cancel safety
    ///
    /// The task runs whether or not its result is awaited. If the tracer has been shut
    /// down it does not start, and the result is [`PinnedError::Ended`].
    pub fn spawn_pinned<F, Fut, T>(self, logic: F) -> PinnedTask<T>
    where
        F: FnOnce(Tracee) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let (abort, registration) = AbortHandle::new_pair();
        let slot = Arc::clone(self.slot());
        let shard = Arc::clone(&slot.shard);
        // Made there, and as one future that is moved nowhere: its size is what a task costs.
        let start = move |local: &Local| {
            let run = AssertUnwindSafe(async move { logic(self).await });
            let run = Abortable::new(run.catch_unwind(), registration);
            let task = run.map(move |ended| {
                let result = match ended {
                    Ok(Ok(value)) => Ok(value),
                    Ok(Err(payload)) => Err(PinnedError::Panicked(Panic::new(payload))),
                    Err(_) => Err(PinnedError::Ended),
                };
                // Nobody need be waiting.
                drop(reply.send(result));
            });
            local.spawn_task(slot, task);
        };
        // An error drops the logic, and the tracee with it: the receiver sees that.
        let _ = shard.run(start);
        PinnedTask { result, abort }
    }

    /// Makes several requests in one trip to the tracer thread.
    ///
    /// The closure runs there, where a request is a plain system call. From anywhere else each
    /// request is a trip, which costs more than the stop itself. The closure may wait for
    /// events, too, and so carry out a whole sequence of stops; other tracees of the thread
    /// get on whenever it awaits.
    ///
    /// ```
    /// # use tracehound::{Result, Tracee};
    /// /// Goes on for so many instructions; gives where that is.
    /// async fn advance(tracee: &mut Tracee, instructions: usize) -> Result<u64> {
    ///     let steps = async move |tracee: &mut Tracee| {
    ///         for _ in 0..instructions {
    ///             tracee.step().await?;
    ///             tracee.wait().await;
    ///         }
    ///         Ok(tracee.getregs().await?.instruction_pointer())
    ///     };
    ///     tracee.pinned(steps).await
    /// }
    /// ```
    ///
    /// On the tracer thread itself it is a task beside the caller's.
    ///
    /// # Errors
    ///
    /// Those of the closure; [`Error::Shutdown`].
    ///
    /// # Panics
    ///
    /// With the closure, if that panics.
    ///
    /// # Cancel safety
    ///
    /// The closure is dropped at its next await; one that has not begun does not begin. What it
    /// has requested until then is done, and events that it took are lost with it: so the tracee
    /// may be held, or run. After an [`interrupt`](crate::Control::interrupt) the closure is done
    /// with it, and it is held or has an event to come.
    pub async fn pinned<F, T>(&mut self, logic: F) -> Result<T>
    where
        F: AsyncFnOnce(&mut Tracee) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let lent = self.lend();
        let PinnedTask { result, abort } =
            lent.spawn_pinned(move |mut tracee| async move { logic(&mut tracee).await });
        let _trip = Trip(abort);
        match self.slot().shard.answer(result).await? {
            Ok(result) => result,
            Err(PinnedError::Panicked(panic)) => resume_unwind(panic.into_payload()),
            Err(PinnedError::Ended) => Err(Error::Shutdown),
        }
    }
}

/// Ends with the future that waits for it.
struct Trip(AbortHandle);

impl Drop for Trip {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The result of [`Tracee::spawn_pinned`], to be awaited. Dropping it leaves the task
/// running.
pub struct PinnedTask<T> {
    result: oneshot::Receiver<std::result::Result<T, PinnedError>>,
    abort: AbortHandle,
}

/// What a task panicked with.
pub struct Panic(Mutex<Box<dyn Any + Send>>);

impl Panic {
    fn new(payload: Box<dyn Any + Send>) -> Self {
        Panic(Mutex::new(payload))
    }

    /// The payload, for instance for [`resume_unwind`].
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the panic said, if its payload is a string, as that of the macro is.
    pub fn message(&self) -> Option<String> {
        let payload = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        text.map(str::to_string)
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message()).finish()
    }
}

/// Why a pinned task gave no result.
#[non_exhaustive]
pub enum PinnedError {
    /// It panicked, with this payload. Its tracee was [let go](crate::LetGo).
    Panicked(Panic),
    /// It was aborted, or the tracer was shut down.
    Ended,
}

impl<T> PinnedTask<T> {
    /// Ends the task at its next await; its tracee is [let go](crate::LetGo).
    pub fn abort(&self) {
        self.abort.abort();
    }
}

impl<T> Future for PinnedTask<T> {
    type Output = std::result::Result<T, PinnedError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.result
            .poll_unpin(cx)
            .map(|result| result.unwrap_or(Err(PinnedError::Ended)))
    }
}

impl<T> fmt::Debug for PinnedTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedTask").finish_non_exhaustive()
    }
}

impl fmt::Display for PinnedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinnedError::Ended => f.write_str("the task was ended"),
            PinnedError::Panicked(panic) => {
                let message = panic.message();
                let text = message.as_deref().unwrap_or("no message");
                write!(f, "the task panicked: {text}")
            }
        }
    }
}

impl fmt::Debug for PinnedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for PinnedError {}

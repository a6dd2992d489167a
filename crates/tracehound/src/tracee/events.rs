//! The stream of events.
//!
//! An event is taken from the slot; if there is none, the slot keeps the waker. A `next`
//! that is ready at once still takes from tokio's cooperative budget, so that one busy
//! tracee does not keep other tasks from running.
//!
//! On the tracer thread the next stop is asked for at once, several times in a row
//! (`shard/burst.rs`).
//!
//! Off the tracer thread the next event mostly comes within microseconds, and being woken
//! costs more than the stop. So the task first looks again a few times, and is not woken
//! meanwhile: it yields to the runtime's other tasks and then the CPU. See [`crate::pace`].

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::task::coop;

use super::Tracee;
use crate::error::Result;
use crate::event::Event;
use crate::pace::{self, LOOKS, LOOKS_AT_ONCE};
use crate::shard::{self, Op};
use crate::slot::{Action, Phase, Slot, State};
use crate::sync::MutexGuard;

/// Whether asking for an event resumes a held tracee.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Resumes,
    Stays,
}

impl Tracee {
    /// Waits for the next event without resuming: for `select!`, and for debuggers. `None`
    /// after the last event, and in a child of fork(2), where the tracer is not.
    ///
    /// A tracee that is held stays so, and only its death, or its exit stop, ends the
    /// wait.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: no event is lost.
    pub async fn wait(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_event(cx, Held::Stays)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, held: Held) -> Poll<Option<Event>> {
        let budget = ready!(coop::poll_proceed(cx));
        let Tracee { slot, patience, .. } = self;
        let elsewhere = !slot.shard.is_current();
        let mut looks = 0;
        loop {
            // A copy in a forked child: nothing will ever come.
            let Ok(mut state) = slot.lock_here() else {
                return Poll::Ready(None);
            };
            if let Some(event) = state.event.take() {
                state.held = matches!(state.phase, Phase::Stopped(_));
                let ended = matches!(state.phase, Phase::Ended(_));
                // Its user goes on without it: it is let go.
                let untaken = state.birth.take_if(|_| ended);
                drop(state);
                drop(untaken);
                patience.rewarded();
                budget.made_progress();
                return Poll::Ready(Some(event));
            }
            match state.phase {
                Phase::Ended(_) => return Poll::Ready(None),
                Phase::Stopped(_) if state.held && !state.stop_all && held == Held::Resumes => {
                    let action = state.implicit_action();
                    // An error: the tracer ends, and with it the stream.
                    let _ = resume(slot, state, action);
                    state = slot.lock();
                }
                _ => {}
            }
            if !elsewhere && state.phase == Phase::Running && slot.place.spend() {
                let waker = state.waker.take();
                drop(state);
                drop(waker);
                if shard::ask_at_once(slot) {
                    continue;
                }
                return sleep(slot.lock(), cx);
            }
            if !elsewhere || !state.is_on_its_way() || !patience.is_worthwhile() {
                return sleep(state, cx);
            }
            // Nobody needs to wake one that looks by itself.
            let waker = state.waker.take();
            drop(state);
            drop(waker);
            if !patience.goes_on(slot.shard.yields(), LOOKS) {
                patience.gave_up();
                return sleep(slot.lock(), cx);
            }
            looks += 1;
            if looks == LOOKS_AT_ONCE {
                pace::come_again(cx);
                return Poll::Pending;
            }
        }
    }
}

/// Leaves the task's waker with the tracee.
fn sleep(mut state: MutexGuard<'_, State>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
    if state.event.is_some() {
        // It has come in between, when there was no waker.
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    match &state.waker {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => state.waker = Some(cx.waker().clone()),
    }
    Poll::Pending
}

/// Resumes a held tracee: by a system call on its tracer thread, through the queue
/// elsewhere. A child that nobody took is let go.
pub(super) fn resume(
    slot: &Arc<Slot>,
    mut state: MutexGuard<'_, State>,
    action: Action,
) -> Result<()> {
    let birth = state.birth.take();
    let serial = state.serial;
    if slot.shard.is_current() {
        slot.resume_locked(&mut state, action);
        drop(state);
        drop(birth);
        return Ok(());
    }
    state.resumed(action);
    state.queued = true;
    drop(state);
    drop(birth);
    slot.shard.push(Op::Resume {
        slot: Arc::clone(slot),
        serial,
        action,
    })
}

impl Stream for Tracee {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx, Held::Resumes)
    }
}

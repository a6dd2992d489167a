//! Stops that nobody is told of: the threads of a process that are all to be stopped.
//!
//! A thread that was interrupted for that alone is *parked*: held, with no event. Another
//! stop that comes first does as well and keeps its event; the answer to the interrupt may
//! then come when the thread is resumed, and is swallowed.

use std::sync::Arc;

use tracehound_sys::ptrace;
use tracehound_sys::wait::StopKind;

use crate::slot::{Action, Interrupt, Phase, Slot, StopClass};

impl Slot {
    /// Stops the thread, if it is not stopped. On the tracer thread only.
    pub(crate) fn stop(self: &Arc<Self>) {
        let mut state = self.lock();
        state.stop_all = true;
        match state.phase {
            Phase::Stopped(_) | Phase::Dying | Phase::Ended(_) => {}
            // Its birth stop comes by itself.
            Phase::Running if !state.started => {}
            // One is under way, and its stop is handed out.
            _ if state.interrupt == Interrupt::Asked => {}
            Phase::Running | Phase::Listening => {
                let under_way = std::mem::take(&mut state.enter_mode);
                // An error: it is dead, and that is reported.
                if under_way || ptrace::interrupt(self.tid()).is_ok() {
                    self.enter_rotation();
                    state.leftover |= state.interrupt == Interrupt::Doubtful;
                    state.interrupt = Interrupt::Asked;
                    state.quiet = true;
                }
            }
        }
    }

    /// The stop that the thread is held in, if its event was handed out or there is none.
    pub(crate) fn told_stop(&self) -> Option<u32> {
        let state = self.lock();
        let is_told = matches!(state.phase, Phase::Stopped(_)) && state.event.is_none();
        is_told.then_some(state.serial)
    }

    /// Lets the thread run again as asking for its next event would, if it is parked, or still
    /// in the stop that its user knew of. An event that was handed out since is held. On the
    /// tracer thread only.
    pub(crate) fn release(self: &Arc<Self>, told: Option<u32>) {
        let mut state = self.lock();
        if !std::mem::take(&mut state.stop_all) {
            return;
        }
        if std::mem::take(&mut state.quiet) {
            // The stop has not come yet, and nobody wants it any more.
            state.interrupt = Interrupt::None;
            state.leftover = true;
        }
        let mut birth = None;
        let is_meant = state.parked || told == Some(state.serial);
        let mut waker = None;
        if matches!(state.phase, Phase::Stopped(_)) && state.event.is_none() {
            if is_meant {
                birth = state.birth.take();
                let action = state.implicit_action();
                self.resume_locked(&mut state, action);
            } else {
                // Whoever asked for its next event meanwhile could not resume it.
                waker = state.waker.take();
            }
        }
        drop(state);
        // An untaken child is let go.
        drop(birth);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Parks the thread, if this stop is the answer to an interrupt that was made for that.
    pub(super) fn park(&self, kind: StopKind) -> bool {
        let mut state = self.lock();
        let answer = match kind {
            StopKind::Trap => StopClass::Other,
            // Interrupted in a group-stop: it reports that again.
            StopKind::Group(_) if state.phase == Phase::Listening || state.defies_group_stop => {
                StopClass::Group
            }
            _ => return false,
        };
        if state.detach || !state.started || !std::mem::take(&mut state.quiet) {
            return false;
        }
        state.interrupt = Interrupt::None;
        state.serial = state.serial.wrapping_add(1);
        state.phase = Phase::Stopped(answer);
        state.held = true;
        state.parked = true;
        state.event = None;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Whether nobody waits for this stop: it was wanted only to put the tracee into its resume
    /// mode, or is the second answer to one interrupt. Then it runs again.
    pub(super) fn is_nobodys(self: &Arc<Self>, kind: StopKind) -> bool {
        let mut state = self.lock();
        let answer = kind == StopKind::Trap || state.defies_group_stop;
        if state.detach || !state.started || !answer {
            return false;
        }
        let leftover =
            state.leftover && state.interrupt == Interrupt::None && state.phase == Phase::Running;
        let how = if std::mem::take(&mut state.enter_mode) {
            state.mode
        } else if leftover {
            state.leftover = false;
            state.resumed
        } else {
            return false;
        };
        self.resume_locked(&mut state, Action::Resume(how, None));
        state.defies_group_stop = kind != StopKind::Trap;
        true
    }
}

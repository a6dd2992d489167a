//! Letting tracees go.
//!
//! `PTRACE_DETACH` needs a stop. A running tracee is interrupted, and detached at whatever
//! stop comes next; nobody is told of that stop, so what it would have done is done: a
//! signal is delivered, a group-stop kept.

use std::sync::Arc;

use tracehound_sys::ptrace::{self, PEEK_SIGINFO_MAX, SignalQueue};
use tracehound_sys::{Errno, SigInfo, Signal, Tid, proc};

use super::Local;
use super::patrol::is_dead_leader;
use super::stops::{is_hardware_breakpoint, is_step};
use crate::event::Event;
use crate::filter::Unwatched;
use crate::let_go::LetGo;
use crate::slot::{Action, End, Interrupt, Phase, Slot, StopClass, Watch};
use crate::spawner;

impl Local {
    /// Detaches a tracee as its user asks. The signal of an event that was handed out is the
    /// user's, who does not deliver it.
    pub(crate) fn let_go(&self, slot: &Arc<Slot>) {
        let state = slot.lock();
        let held = state.held && matches!(state.phase, Phase::Stopped(_));
        drop(state);
        match held {
            true => self.detach_from(slot, None),
            false => self.detach(slot),
        }
    }

    /// Lets go of a tracee whose handle was dropped, or has never been.
    pub(crate) fn release(&self, slot: &Arc<Slot>) {
        let mut state = slot.lock();
        let has_ended = matches!(state.phase, Phase::Ended(_));
        // It died when its handle was gone: nobody takes the child that it has.
        let untaken = state.birth.take_if(|_| has_ended);
        drop(state);
        drop(untaken);
        match self.letting_go.get() {
            LetGo::Detach => self.detach(slot),
            // Its user has asked for that.
            LetGo::Kill if slot.lock().detach => {}
            LetGo::Kill => self.doom(slot),
        }
    }

    /// Whether the tracer ends, and whatever is traced is killed.
    pub(super) fn kills_all(&self) -> bool {
        self.closing.get() && self.letting_go.get() == LetGo::Kill
    }

    /// Detaches a tracee at once if it is stopped, else as soon as it stops.
    pub(crate) fn detach(&self, slot: &Arc<Slot>) {
        if slot
            .rule
            .is_some_and(|rule| rule.unwatched == Unwatched::Kill)
        {
            self.doom(slot);
            return;
        }
        let mut state = slot.lock();
        if state.watch != Watch::Watched {
            return;
        }
        match state.phase {
            Phase::Ended(_) => {}
            Phase::Stopped(class) => {
                drop(state);
                self.finish_detach(slot, class);
            }
            Phase::Dying => state.detach = true,
            Phase::Running | Phase::Listening => {
                state.detach = true;
                if state.started {
                    // A birth stop comes by itself. An error: it is dead, and that is
                    // reported too.
                    let _ = ptrace::interrupt(slot.tid());
                    slot.enter_rotation();
                }
                drop(state);
                // It may end before it stops, which is not reported of a leader.
                self.patrol_soon();
                if !self.closing.get() && is_dead_leader(slot) {
                    self.let_go_of_dead_leader(slot);
                }
            }
        }
    }

    /// Detaches a stopped tracee as if nobody had watched.
    pub(super) fn finish_detach(&self, slot: &Arc<Slot>, class: StopClass) {
        self.detach_from(slot, own_signal(class));
    }

    /// Detaches a stopped tracee, delivering this signal in place of its stop's own.
    pub(crate) fn detach_from(&self, slot: &Arc<Slot>, signal: Option<Signal>) {
        if let Some(rule) = slot.rule {
            match rule.unwatched {
                Unwatched::Kill => self.doom(slot),
                Unwatched::Pass => self.pass_from(slot, signal),
            }
            return;
        }
        if !is_trap_due(slot) {
            self.detach_now(slot, signal);
            return;
        }
        // It would kill the thread. It is reported at once, as what it is, and the tracee
        // detached from there.
        let mut state = slot.lock();
        state.detach = true;
        slot.resume_locked(&mut state, Action::Resume(ptrace::ResumeKind::Cont, signal));
    }

    fn detach_now(&self, slot: &Arc<Slot>, signal: Option<Signal>) {
        let tid = slot.tid();
        let child = self.children.borrow_mut().remove(&tid);
        // While it is still ours, so that the id cannot be another's.
        let pidfd = child.as_ref().map(|_| spawner::open_pidfd(tid));
        if slot.lock().hardware {
            // They would stay, and kill the thread that nobody traces. An error: it is dead,
            // or there are none on this machine.
            let _ = ptrace::clear_all_hardware_breakpoints(tid);
        }
        match ptrace::detach(tid, signal) {
            Ok(()) => {
                if let (Some(child), Some(pidfd)) = (child, pidfd) {
                    self.keep_child(child, pidfd);
                }
                self.remove(tid);
                slot.end(self.end_of_detach(), Event::Detached);
            }
            Err(errno) => {
                if errno != Errno::ESRCH {
                    tracing::warn!(%tid, %errno, "cannot detach");
                }
                // Killed: its death is reported.
                if let Some(child) = child {
                    self.children.borrow_mut().insert(tid, child);
                }
                let mut state = slot.lock();
                state.phase = Phase::Dying;
                state.held = false;
                state.detach = true;
            }
        }
    }

    pub(super) fn end_of_detach(&self) -> End {
        if self.closing.get() {
            End::Shutdown
        } else {
            End::Detached
        }
    }

    /// `PTRACE_INTERRUPT`; a tracee that is stopped already does not stop twice.
    pub(crate) fn interrupt(&self, slot: &Slot) -> crate::Result<()> {
        let mut state = slot.lock();
        match state.phase {
            Phase::Stopped(_) => Ok(()),
            Phase::Dying | Phase::Ended(_) => state.check_held(slot.tid()),
            // Its birth stop comes by itself.
            Phase::Running if !state.started => Ok(()),
            // Two before the stop are one.
            _ if state.interrupt == Interrupt::Asked => {
                state.quiet = false;
                Ok(())
            }
            // The kernel would take it, and never answer.
            _ if is_dead_leader(slot) => Err(crate::Error::Gone(slot.tid())),
            Phase::Running | Phase::Listening => match ptrace::interrupt(slot.tid()) {
                Ok(()) => {
                    // The one before may still be answered by itself.
                    state.leftover |= state.interrupt == Interrupt::Doubtful;
                    state.interrupt = Interrupt::Asked;
                    // One stop answers both, and it is now waited for.
                    state.enter_mode = false;
                    state.quiet = false;
                    Ok(())
                }
                Err(_) => Err(crate::Error::Gone(slot.tid())),
            },
        }
    }

    /// SIGKILL for the tracee's process.
    pub(crate) fn kill(&self, slot: &Slot) -> crate::Result<()> {
        let mut state = slot.lock();
        state.check_attached(slot.tid())?;
        send_kill(slot.tid());
        if state.phase == Phase::Stopped(StopClass::Exit) {
            // Since Linux 6.1 SIGKILL does not move it out of the exit stop.
            let _ = ptrace::resume(slot.tid(), ptrace::ResumeKind::Cont, None);
            state.resumed(Action::Resume(ptrace::ResumeKind::Cont, None));
            state.phase = Phase::Dying;
        }
        Ok(())
    }

    /// SIGKILL for the processes that this thread traces and has not met: their makers were
    /// killed, but on a busy machine it takes its time until they are dead, and until their last
    /// children have their first stops. The kernel would let those run on when the thread ends.
    pub(super) fn kill_the_unmet(&self) {
        let own = Tid::current();
        let known = self.tracees.borrow();
        let passed: Vec<Tid> = known
            .values()
            .filter(|slot| slot.is_passed())
            .map(|slot| slot.tgid())
            .collect();
        for tid in proc::processes().unwrap_or_default() {
            let is_unmet = !known.contains_key(&tid)
                && proc::status(tid)
                    .is_ok_and(|status| status.tracer == own && !passed.contains(&status.parent));
            if is_unmet {
                tracing::debug!(%tid, "killed before its first stop");
                send_kill(tid);
            }
        }
    }

    /// SIGKILL for a process that this tracer made; gives whether it is traced here.
    pub(crate) fn kill_child(&self, pid: Tid) -> bool {
        let known = self.children.borrow().contains_key(&pid);
        if known {
            match self.tracee(pid) {
                Some(slot) => drop(self.kill(&slot)),
                None => send_kill(pid),
            }
        }
        known
    }
}

/// The signal that the stop would have delivered.
fn own_signal(class: StopClass) -> Option<Signal> {
    match class {
        StopClass::Signal(signal) => Some(signal),
        _ => None,
    }
}

/// Whether the `SIGTRAP` of a single step, or of a breakpoint in a debug register, waits to be
/// delivered: an interrupt, or another signal, has overtaken it.
///
/// The kernel unblocks a `SIGTRAP` that it sends. One that is blocked is the program's own,
/// made to look like this, and would not be reported.
fn is_trap_due(slot: &Slot) -> bool {
    let state = slot.lock();
    let (stepping, hardware) = (state.stepping, state.hardware);
    drop(state);
    (stepping || hardware)
        && has_pending(slot.tid(), |info| {
            info.signal() == Signal::SIGTRAP
                && (is_step(info, stepping) || hardware && is_hardware_breakpoint(info))
        })
        && proc::status(slot.tid()).is_ok_and(|status| !status.blocked.contains(Signal::SIGTRAP))
}

/// Whether such a signal waits to be delivered to this thread. Of a queue that is longer than
/// any program makes it, the beginning is looked at.
fn has_pending(tid: Tid, is_it: impl Fn(&SigInfo) -> bool) -> bool {
    const MOST: u64 = 4096;
    let mut offset = 0;
    while offset < MOST {
        let chunk = ptrace::peek_siginfo(tid, SignalQueue::Thread, offset, PEEK_SIGINFO_MAX);
        let chunk = chunk.unwrap_or_default();
        if chunk.iter().any(&is_it) {
            return true;
        }
        if chunk.len() < PEEK_SIGINFO_MAX {
            return false;
        }
        offset += chunk.len() as u64;
    }
    false
}

/// On the tracer thread the id cannot be another's: only this thread reaps it.
pub(super) fn send_kill(tid: Tid) {
    let sent = tracehound_sys::signal_process(tid, Signal::SIGKILL);
    if sent == Err(Errno::EPERM) {
        // This process may not send signals to it any more: it, or the tracee, has another user
        // now. An error of either means that it is dead.
        let _ = ptrace::kill(tid);
    }
}

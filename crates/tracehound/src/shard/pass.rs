//! Tracees with a seccomp filter that nobody watches.
//!
//! They cannot be detached: without a tracer the calls that their filter stops fail. So each
//! is killed, or stays attached: then its user's handle ends as if it had been detached, and
//! another slot, of which nobody has a handle, takes its place in the table. Such a tracee is
//! let through each stop, as asking for one event after the other would, and so is all that
//! it makes. The thread goes on with that when the tracer has ended.
//!
//! The filter passes to children that are not to be followed, too: they are let through from
//! their birth on, of which nobody is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracehound_sys::ptrace::{self, ResumeKind};
use tracehound_sys::wait::{StopKind, Target};
use tracehound_sys::wake::{Bound, Waited};
use tracehound_sys::{Signal, Tid, proc};

use super::{Local, reaper};
use crate::command::Follow;
use crate::event::{Birth, Event};
use crate::filter::{FilterRule, Unwatched};
use crate::slot::{Action, Heritage, Interrupt, Phase, Recorded, Slot, State, StopClass, Watch};
use crate::spawner;

impl FilterRule {
    /// For what nobody is told of, and all that comes of it.
    pub(super) fn passing(self) -> Self {
        FilterRule {
            unwatched: Unwatched::Pass,
            follow: Follow::Nothing,
        }
    }
}

impl Heritage {
    /// Of a tracee that nobody is told of.
    fn passing(self) -> Self {
        Heritage {
            mode: ResumeKind::Cont,
            tree: None,
            rule: self.rule.map(FilterRule::passing),
            ..self
        }
    }
}

impl Slot {
    /// Whether the tracee is let through its stops until its end.
    pub(super) fn is_passed(&self) -> bool {
        self.lock().watch == Watch::Passed
    }

    /// Another slot for the same tracee, in the same state, of which nobody is told.
    fn unwatched(&self, state: &mut State) -> Arc<Slot> {
        let heritage = Heritage {
            mode: state.mode,
            prefetch: false,
            options: self.options(),
            tree: self.tree,
            rule: self.rule,
        };
        let slot = Slot::new(Arc::clone(&self.shard), self.tid(), heritage.passing());
        if let Some(tgid) = self.known_tgid() {
            slot.set_tgid(tgid);
        }
        slot.set_clan(self.clan());
        let mut new = slot.lock();
        new.watch = Watch::Passed;
        new.phase = match state.queued {
            // The resume is still to come, and finds the other slot ended.
            true => Phase::Stopped(StopClass::Other),
            false => state.phase,
        };
        new.seat = state.seat.take();
        new.started = state.started;
        new.group_stopped = state.group_stopped;
        new.stepping = state.stepping;
        new.hardware = state.hardware;
        new.leftover = state.leftover;
        new.defies_group_stop = state.defies_group_stop;
        new.interrupt = state.interrupt;
        drop(new);
        slot
    }

    /// Lets the tracee through the stop that it is in.
    pub(crate) fn pass_locked(self: &Arc<Self>, state: &mut State) {
        let signal = match state.phase {
            Phase::Stopped(StopClass::Signal(signal)) => Some(signal),
            _ => None,
        };
        self.pass_with(state, signal);
    }

    fn pass_with(self: &Arc<Self>, state: &mut State, signal: Option<Signal>) {
        let Phase::Stopped(class) = state.phase else {
            return;
        };
        if std::mem::take(&mut state.hardware) {
            // Nobody waits for these any more. An error: it is dead.
            let _ = ptrace::clear_all_hardware_breakpoints(self.tid());
        }
        let action = match class {
            StopClass::Group => Action::Listen,
            _ => Action::Resume(ResumeKind::Cont, signal),
        };
        self.resume_locked(state, action);
    }

    /// Lets the tracee through the event of a birth that nobody is told of.
    fn pass_birth(self: &Arc<Self>) -> Recorded {
        let mut state = self.lock();
        if state.watch != Watch::Watched {
            state.phase = Phase::Stopped(StopClass::Other);
            self.pass_locked(&mut state);
            return Recorded::Delivered;
        }
        if state.detach {
            state.phase = Phase::Stopped(StopClass::Other);
            return Recorded::ToDetach(StopClass::Other);
        }
        if state.interrupt == Interrupt::Asked {
            // This stop may have taken it away. Made twice before it is answered, it is
            // answered once. An error: it is dead.
            let _ = ptrace::interrupt(self.tid());
        }
        let how = state.resumed;
        self.resume_locked(&mut state, Action::Resume(how, None));
        Recorded::Delivered
    }
}

impl Local {
    /// Kills the process of a tracee that must not run on without being watched.
    pub(super) fn doom(&self, slot: &Slot) {
        let mut state = slot.lock();
        if state.watch != Watch::Watched || matches!(state.phase, Phase::Ended(_)) {
            return;
        }
        state.watch = Watch::Doomed;
        state.held = false;
        let birth = state.birth.take();
        drop(state);
        // It has not ended.
        let _ = self.kill(slot);
        // That one too.
        drop(birth);
    }

    /// Detaches a tracee for its user, and lets it through each stop from now on. From its
    /// present stop it is resumed with this signal.
    pub(super) fn pass_from(&self, slot: &Slot, signal: Option<Signal>) {
        let mut state = slot.lock();
        if state.watch != Watch::Watched || matches!(state.phase, Phase::Ended(_)) {
            return;
        }
        let unwatched = slot.unwatched(&mut state);
        drop(state);
        let unwatched_too = Arc::clone(&unwatched);
        self.tracees.borrow_mut().insert(slot.tid(), unwatched_too);
        unwatched.pass_with(&mut unwatched.lock(), signal);
        // What was born of it and not taken is let go, too.
        slot.end(self.end_of_detach(), Event::Detached);
    }

    /// Whether nobody is told of this birth although there is an event of it.
    pub(super) fn is_hidden(&self, parent: &Slot, birth: Birth, kind: StopKind) -> bool {
        if parent.lock().watch != Watch::Watched {
            return true;
        }
        let Some(rule) = parent.rule else {
            return false;
        };
        match rule.follow {
            Follow::Everything => false,
            Follow::Nothing => true,
            Follow::Threads => {
                let tgid = proc::status(birth.child).map(|status| status.tgid);
                kind != StopKind::Clone || tgid.is_ok_and(|tgid| tgid != parent.tgid())
            }
        }
    }

    /// A birth that nobody is told of.
    pub(super) fn hidden_birth(&self, parent: &Arc<Slot>, child: Tid, clan: Tid) -> Recorded {
        if self.tracee(child).is_none() {
            let heritage = parent.heritage().passing();
            let slot = Slot::new(Arc::clone(&self.shard), child, heritage);
            slot.set_clan(clan);
            self.insert(&slot);
            slot.enter_rotation();
            let is_doomed = parent.lock().watch == Watch::Doomed;
            match self.shard.seat() {
                Ok(seat) if !is_doomed => {
                    let mut state = slot.lock();
                    state.watch = Watch::Passed;
                    state.seat = seat;
                }
                // There are as many as there may be, and it cannot be detached.
                _ => self.doom(&slot),
            }
        }
        parent.pass_birth()
    }

    /// At the end of the tracer: tracees that have not stopped and must not be left to the
    /// kernel are let through from here.
    pub(super) fn pass_unstopped(&self) {
        let tracees: Vec<_> = self.tracees.borrow().values().cloned().collect();
        for slot in tracees {
            if slot
                .rule
                .is_some_and(|rule| rule.unwatched == Unwatched::Pass)
            {
                self.pass_from(&slot, None);
            }
        }
    }

    /// The processes that are awaited elsewhere when the tracer has ended. Those that are
    /// let through their stops stay; they can be killed all the same.
    pub(super) fn take_untraced_children(&self) -> Vec<(Tid, Arc<crate::child::ChildCell>)> {
        let mut children = self.children.borrow_mut();
        let tracees = self.tracees.borrow();
        let untraced = children.extract_if(|pid, child| {
            let traced = tracees.contains_key(pid);
            if traced && let Some(pidfd) = spawner::open_pidfd(*pid) {
                child.detached(Some(Arc::new(pidfd)));
            }
            !traced
        });
        untraced.collect()
    }

    /// What the thread does when the tracer has ended: it lets through their stops those that
    /// nobody watches, until they have ended.
    pub(super) fn keep_passing(&self, bound: &Bound<'_>) {
        const AT_ONCE: usize = 32;
        const AFTER_ERROR: Duration = Duration::from_millis(10);
        if self.tracees.borrow().is_empty() {
            return;
        }
        self.shard.lingers.store(true, Ordering::SeqCst);
        self.shard.ended.send_replace(true);
        self.shard.watchdog().stir();
        while !self.tracees.borrow().is_empty() {
            self.shard.interrupter().acknowledge();
            // All are waited for alike.
            self.rotation.clear();
            if self.has_unsettled() {
                if reaper::take_some(self, AT_ONCE, |_| {}) == 0 {
                    self.settle_orphans();
                }
                continue;
            }
            match bound.wait(Target::All, self.shard.usage()) {
                Ok(Waited::Report(report)) => {
                    self.report(report);
                    self.patrol(false);
                }
                Ok(Waited::Interrupted) => self.patrol(true),
                Ok(Waited::NoTracees) => {
                    self.look_at_all();
                    bound.sleep(Some(AFTER_ERROR));
                }
                Err(errno) => {
                    tracing::error!(%errno, "waitid");
                    bound.sleep(Some(AFTER_ERROR));
                }
            }
        }
    }
}

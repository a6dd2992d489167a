//! Children whose maker will not name them.
//!
//! A birth is reported by who made the child, after the child is there. A maker that is killed
//! in between, by a signal or by the exec of another thread of its process, never does, and
//! the child is in its first stop. Nothing tells who made it: it has a parent, as a process, and
//! that may live on. So whoever may have made it is ruled out, one by one; then the child is let
//! go, or given to the tree of the one that died.
//!
//! Letting it go after a time was rejected: a maker may be delayed for as long as the machine
//! likes, and would then name a child that has run.

use std::sync::Arc;
use std::time::Duration;

use tracehound_sys::ptrace::{self, Options};
use tracehound_sys::{Tid, proc};

use super::Local;
use super::births::{Early, Seated};
use crate::command::Follow;
use crate::slot::{Heritage, Interrupt, Phase, Slot, Watch};

/// How long a first stop waits for the event of a process that is only perhaps its maker.
/// The event is on its way when the stop is made.
const PERHAPS: Duration = Duration::from_secs(1);

/// How long it waits before the threads of the process that made it are looked at. The event
/// mostly comes at once.
const EVENT: Duration = Duration::from_millis(20);

/// Whether somebody will name a child.
#[derive(Clone, Copy)]
enum Maker {
    Lives,
    /// A child of the same parent, which may have made it as its sibling (`CLONE_PARENT`).
    Perhaps,
    /// Nobody: who made it was killed here, and names nobody any more. This is what it would have
    /// passed on.
    Doomed(Heritage),
    Nobody,
}

impl Local {
    /// A tracee has died. If it was running, it may have made a child that nobody will
    /// name.
    pub(super) fn note_bereaved(&self, slot: &Slot) {
        if slot.lock().phase == Phase::Running {
            self.births.bereaved.set(Some(slot.heritage()));
        }
    }

    /// Whether there are first stops which have not been looked at.
    pub(super) fn has_unsettled(&self) -> bool {
        self.births.unsettled.get()
    }

    /// Looks for children whose parent cannot name them any more. Called after deaths,
    /// once before the thread sleeps, and by the patrol.
    pub(super) fn settle_orphans(&self) {
        self.births.unsettled.set(false);
        if self.births.early.borrow().is_empty() {
            return;
        }
        let early = |(tid, early): (&Tid, &Early)| (*tid, early.since);
        let early: Vec<_> = self.births.early.borrow().iter().map(early).collect();
        for (tid, since) in early {
            match self.maker_of(tid) {
                Maker::Lives => self.patrol_soon(),
                Maker::Perhaps if !self.kills_all() && since.elapsed() < PERHAPS => {
                    self.patrol_soon();
                }
                Maker::Doomed(heritage) => self.settle_orphan(tid, Some(heritage)),
                _ => self.settle_orphan(tid, None),
            }
        }
    }

    fn maker_of(&self, tid: Tid) -> Maker {
        let Ok(status) = proc::status(tid) else {
            // Dead: the report comes.
            return Maker::Lives;
        };
        let parent = if status.tgid == tid {
            status.parent
        } else {
            status.tgid
        };
        let mut running: Vec<_> = self.tracees.borrow().values().cloned().collect();
        running.retain(|slot| slot.lock().phase == Phase::Running);
        // A stop that SIGKILL has ended is not reported, and without it there is no name.
        let (doomed, running): (Vec<_>, Vec<_>) = running
            .into_iter()
            .partition(|slot| slot.lock().watch == Watch::Doomed);
        let mut own = running.iter().filter(|slot| slot.tgid() == parent);
        if own.any(|slot| !self.cannot_name(slot, tid)) {
            return Maker::Lives;
        }
        if let Some(maker) = doomed.iter().find(|slot| slot.tgid() == parent) {
            return Maker::Doomed(maker.heritage());
        }
        let mut processes: Vec<Tid> = running.iter().map(|slot| slot.tgid()).collect();
        processes.sort_unstable();
        processes.dedup();
        let is_sibling = |tid: Tid| proc::status(tid).is_ok_and(|other| other.parent == parent);
        if status.tgid == tid && processes.into_iter().any(is_sibling) {
            return Maker::Perhaps;
        }
        Maker::Nobody
    }

    /// Whether a running thread of the maker's process is not about to report this birth.
    ///
    /// An exec gives a process's id to another program while the thread that made the child dies
    /// unheard. Between the child's first stop and the event that names it the kernel lets nobody
    /// sleep, nor stop for anything else: so whoever has done one of these did not make it. Whoever
    /// does nothing but compute is interrupted, and runs on after its stop.
    fn cannot_name(&self, slot: &Arc<Slot>, child: Tid) -> bool {
        let mut early = self.births.early.borrow_mut();
        let Some(early) = early.get_mut(&child) else {
            return false;
        };
        if early.since.elapsed() < EVENT {
            return false;
        }
        let mut state = slot.lock();
        if let Some(serial) = early.asked.get(&slot.tid()) {
            return *serial != state.serial || !state.leftover;
        }
        match proc::state(slot.tgid(), slot.tid()) {
            Ok('R') => {
                // An error: it is dead, and that is reported.
                if state.interrupt == Interrupt::None && ptrace::interrupt(slot.tid()).is_ok() {
                    state.leftover = true;
                    slot.enter_rotation();
                }
                if state.leftover {
                    early.asked.insert(slot.tid(), state.serial);
                }
                false
            }
            Ok(asleep) => matches!(asleep, 'S' | 'D'),
            Err(_) => false,
        }
    }

    /// Who died last need not be who made this one. That it has a filter can be seen, and
    /// then it must not be detached.
    fn orphan_heritage(&self, tid: Tid, heritage: Heritage) -> Heritage {
        const FILTERS: u32 = 2;
        let has_filter = || proc::status(tid).is_ok_and(|status| status.seccomp == FILTERS);
        let rule = match heritage.rule.or(self.births.rule.get()) {
            Some(rule) if has_filter() => Some(match rule.follow {
                Follow::Everything => rule,
                _ => rule.passing(),
            }),
            _ => None,
        };
        Heritage { rule, ..heritage }
    }

    /// Takes in a child whose maker left it this, if that is known.
    fn settle_orphan(&self, tid: Tid, heritage: Option<Heritage>) {
        let heritage = heritage.or(self.births.bereaved.get()).unwrap_or(Heritage {
            mode: ptrace::ResumeKind::Cont,
            prefetch: false,
            options: Options::empty(),
            tree: None,
            rule: None,
        });
        let heritage = self.orphan_heritage(tid, heritage);
        tracing::debug!(%tid, "the parent died before it could report this birth");
        let seated = self.enter_seated(tid, tid, heritage);
        if let (Seated::Here(tracee), Some(tree)) = (seated, heritage.tree) {
            drop(self.grow_tree(tree, tracee));
        }
        self.bring_forward(tid);
    }
}

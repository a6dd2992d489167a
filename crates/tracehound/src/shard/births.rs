//! New tracees.
//!
//! A birth has two reports: the parent's event, which names the child, and the child's
//! own first stop. The kernel gives them in either order, or only one of them: a child
//! may be killed before it stops, a parent before its event. The user sees one order:
//! the parent's event, then the child's `Started`. So a first stop (or a death) that
//! comes early is kept until the event, or until it is clear that none will come
//! (see [`super::orphans`]).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tracehound_sys::ptrace::{self, Options};
use tracehound_sys::wait::StopKind;
use tracehound_sys::{Errno, Tid, proc};

use super::Local;
use super::stops::named_by;
use crate::event::{Birth, Death, Event};
use crate::filter::FilterRule;
use crate::slot::{End, Heritage, Recorded, Slot, StopClass};
use crate::tracee::Tracee;

/// Deaths of the unborn that are remembered. They are looked up by the parent's event,
/// which is on its way; only those whose parent was killed are left over.
const REMEMBERED_DEATHS: usize = 1024;

/// A first stop that nobody has named.
pub(super) struct Early {
    kind: StopKind,
    pub(super) since: Instant,
    /// Threads that run and may have made it, which were interrupted to find out: with their
    /// serial numbers then.
    pub(super) asked: HashMap<Tid, u32>,
}

/// What became of a new tracee.
pub(super) enum Seated {
    Here(Tracee),
    /// It was let go: there are as many as there may be.
    OverLimit,
    /// It was let go for another reason, or was known before.
    Gone,
}

#[derive(Default)]
pub(super) struct Births {
    /// First stops whose parent's event has not come.
    pub(super) early: RefCell<HashMap<Tid, Early>>,
    /// Deaths before the parent's event.
    dead: RefCell<VecDeque<(Tid, Death)>>,
    /// There may be first stops whose parent died.
    pub(super) unsettled: Cell<bool>,
    /// What the last tracee that died while it ran would have passed on.
    pub(super) bereaved: Cell<Option<Heritage>>,
    /// What held for the last process that was made with a filter.
    pub(super) rule: Cell<Option<FilterRule>>,
}

impl Local {
    /// The parent's event.
    pub(super) fn birth(&self, parent: &Arc<Slot>, kind: StopKind) -> Result<Recorded, Errno> {
        let mut birth = Birth {
            parent: parent.tid(),
            // Killed in its event: nobody will name the child any more.
            child: named_by(parent.tid(), kind).inspect_err(|_| {
                self.births.bereaved.set(Some(parent.heritage()));
            })?,
            over_limit: false,
        };
        let heritage = parent.heritage();
        let clan = if kind == StopKind::Clone {
            parent.clan()
        } else {
            birth.child
        };
        if self.is_hidden(parent, birth, kind) {
            let recorded = self.hidden_birth(parent, birth.child, clan);
            self.bring_forward(birth.child);
            return Ok(recorded);
        }
        let unwanted = kind == StopKind::Clone && !self.is_followed(birth, parent, heritage);
        let seated = if unwanted {
            drop(self.enter_born(birth.child, clan, heritage));
            Seated::Gone
        } else {
            self.enter_seated(birth.child, clan, heritage)
        };
        birth.over_limit = matches!(seated, Seated::OverLimit);
        let handle = match seated {
            Seated::Here(tracee) => Some(tracee),
            Seated::OverLimit | Seated::Gone => None,
        };
        let (tree, handle) = match heritage.tree {
            Some(tree) => (Some(tree).zip(handle), None),
            None => (None, handle),
        };
        let event = match kind {
            StopKind::Fork => Event::Fork(birth),
            StopKind::Vfork => Event::Vfork(birth),
            _ => Event::Clone(birth),
        };
        if let Some(tracee) = &handle {
            tracee.slot().lock().untaken = true;
        }
        let recorded = parent.record(|state| {
            state.birth = handle.map(Box::new);
            (StopClass::Other, event)
        });
        // After the parent's event: the child's own come later.
        if let Some((tree, tracee)) = tree {
            drop(self.grow_tree(tree, tracee));
        }
        self.bring_forward(birth.child);
        Ok(recorded)
    }

    /// Whether the child of a clone event is one that was asked for. Where only threads
    /// are followed, a process made by clone(2) is not.
    fn is_followed(&self, birth: Birth, parent: &Slot, heritage: Heritage) -> bool {
        heritage.options.contains(Options::TRACEFORK)
            || proc::status(birth.child).is_ok_and(|status| status.tgid == parent.tgid())
    }

    /// Enters a new tracee in the table, with a place among as many as there may be; lets it go
    /// if there is none.
    pub(super) fn enter_seated(&self, child: Tid, clan: Tid, heritage: Heritage) -> Seated {
        let seat = self.shard.seat();
        let handle = self
            .enter_born(child, clan, heritage)
            .map(Tracee::handed_out);
        let Some(tracee) = handle else {
            return Seated::Gone;
        };
        match seat {
            Ok(seat) => {
                tracee.slot().lock().seat = seat;
                Seated::Here(tracee)
            }
            Err(_) => {
                self.shard.counters().over_limit.add_one();
                if heritage.rule.is_some() {
                    // It cannot be detached, and let through its stops it would count.
                    self.doom(tracee.slot());
                }
                Seated::OverLimit
            }
        }
    }

    /// Enters a new tracee in the table. Its handle detaches until it is handed out.
    fn enter_born(&self, child: Tid, clan: Tid, heritage: Heritage) -> Option<Tracee> {
        if self.tracee(child).is_some() {
            // Its maker was given up too early.
            return None;
        }
        let slot = Slot::new(Arc::clone(&self.shard), child, heritage);
        slot.set_clan(clan);
        self.insert(&slot);
        slot.enter_rotation();
        let handle = Tracee::new(Arc::clone(&slot));
        if handle.is_none() {
            self.release(&slot);
        }
        handle
    }

    /// Gives a new tracee what was reported of it before it had a name.
    pub(super) fn bring_forward(&self, child: Tid) {
        if let Some(death) = self.births.take_death(child) {
            if let Some(slot) = self.remove(child) {
                slot.end(End::Dead, Event::death(death));
            }
            return;
        }
        let stop = self.births.early.borrow_mut().remove(&child);
        if let (Some(early), Some(slot)) = (stop, self.tracee(child)) {
            self.stop_of(&slot, early.kind);
        }
    }

    /// A child of a process whose births nobody is told of: it is let go.
    pub(super) fn disown_birth(&self, parent: Tid, kind: StopKind, heritage: Heritage) {
        let heritage = Heritage {
            rule: heritage.rule.map(FilterRule::passing),
            ..heritage
        };
        if let Ok(child) = named_by(parent, kind) {
            drop(self.enter_born(child, child, heritage));
            self.bring_forward(child);
        }
    }

    /// A stop of a thread that nobody has named yet.
    pub(super) fn early_stop(&self, tid: Tid, kind: StopKind) {
        // An id that is in use again: the death that was kept is another's.
        self.births.take_death(tid);
        if kind == StopKind::Exit {
            // It was killed in its first stop, and goes on to its death: whoever made it may be
            // waiting for that, to be dead itself.
            self.births.early.borrow_mut().remove(&tid);
            // An error: it is dead.
            let _ = ptrace::resume(tid, ptrace::ResumeKind::Cont, None);
            return;
        }
        let since = Instant::now();
        let asked = HashMap::new();
        let early = Early { kind, since, asked };
        self.births.early.borrow_mut().insert(tid, early);
        self.births.unsettled.set(true);
    }

    pub(super) fn early_death(&self, tid: Tid, death: Death) {
        self.births.early.borrow_mut().remove(&tid);
        let mut dead = self.births.dead.borrow_mut();
        if dead.len() == REMEMBERED_DEATHS {
            dead.pop_front();
        }
        dead.push_back((tid, death));
    }
}

impl Births {
    /// A process was made, perhaps with a filter.
    pub(super) fn note_rule(&self, rule: Option<FilterRule>) {
        self.rule.set(rule.or(self.rule.get()));
    }

    /// Whether there are first stops that nobody has named.
    pub(super) fn has_early(&self) -> bool {
        !self.early.borrow().is_empty()
    }

    fn take_death(&self, tid: Tid) -> Option<Death> {
        let mut dead = self.dead.borrow_mut();
        let at = dead.iter().position(|(dead, _)| *dead == tid)?;
        dead.remove(at).map(|(_, death)| death)
    }
}

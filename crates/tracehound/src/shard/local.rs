//! The side of a shard that only its tracer thread sees.
//!
//! Everything here is reached through a thread-local, so that pinned tasks, which run
//! between two waits, use the same tables as the reaper without a lock. No borrow of a
//! table is held while foreign code (a waker, a task, a destructor) runs.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, Weak};

use tracehound_sys::wake::Alarm;
use tracehound_sys::{Pidfd, Tid};

use super::attach::Attaches;
use super::births::Births;
use super::burst::Bursts;
use super::launch::Launches;
use super::patrol::Patrol;
use super::rotation::Rotation;
use super::tasks::Tasks;
use super::trees::Trees;
use super::{Op, Shard};
use crate::child::ChildCell;
use crate::error::{Error, Result};
use crate::let_go::LetGo;
use crate::slot::Slot;
use crate::spawner;

pub(crate) struct Local {
    pub(super) shard: Arc<Shard>,
    /// The tracees, by the id that waitid(2) reports.
    pub(super) tracees: RefCell<HashMap<Tid, Arc<Slot>>>,
    /// Those of them that have, or may have, another thread's process.
    threads: RefCell<HashMap<Tid, HashSet<Tid>>>,
    /// The processes that this tracer made, until they are dead or detached.
    pub(super) children: RefCell<HashMap<Tid, Arc<ChildCell>>>,
    pub(super) attaches: Attaches,
    /// Those that were detached, by this tracer thread, or by another and attached to by this
    /// one. Their deaths may be reported here all the same: of those attached to, and where a
    /// thread of theirs is still traced, and takes their id by an exec.
    kept: RefCell<HashMap<Tid, Weak<ChildCell>>>,
    pub(super) births: Births,
    pub(super) launches: Launches,
    pub(super) trees: Trees,
    pub(super) patrol: Patrol,
    pub(super) rotation: Rotation,
    pub(super) bursts: Bursts,
    pub(super) tasks: Tasks,
    /// Everything is being let go, and the thread ends when nothing is left.
    pub(super) closing: Cell<bool>,
    /// What becomes of tracees that are let go.
    pub(super) letting_go: Cell<LetGo>,
    ops: RefCell<Vec<Op>>,
    alarm: OnceCell<Alarm>,
}

thread_local! {
    static LOCAL: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

/// Calls a closure with the calling thread's `Local`, if it is a tracer thread.
pub(super) fn with<R>(f: impl FnOnce(&Local) -> R) -> Option<R> {
    let local = LOCAL
        .try_with(|local| local.borrow().clone())
        .ok()
        .flatten();
    local.map(|local| f(&local))
}

/// Adds a tracee of the calling tracer thread to its rotation.
pub(crate) fn rotate_in(slot: &Arc<Slot>) {
    with(|local| local.rotation.add(slot));
}

impl Local {
    /// Makes the calling thread the tracer thread of a shard.
    pub(super) fn install(shard: Arc<Shard>) -> Rc<Local> {
        let local = Rc::new(Local {
            tasks: Tasks::new(Arc::clone(&shard)),
            letting_go: Cell::new(shard.let_go),
            shard,
            tracees: RefCell::default(),
            threads: RefCell::default(),
            children: RefCell::default(),
            attaches: Attaches::default(),
            kept: RefCell::default(),
            births: Births::default(),
            launches: Launches::default(),
            trees: Trees::default(),
            patrol: Patrol::default(),
            rotation: Rotation::default(),
            bursts: Bursts::default(),
            closing: Cell::new(false),
            ops: RefCell::default(),
            alarm: OnceCell::new(),
        });
        // Now, while the queue of pending signals has room. An error is one when it is needed.
        let _ = local.alarm();
        super::CURRENT_SHARD.set(local.shard.id);
        LOCAL.set(Some(Rc::clone(&local)));
        local
    }

    /// The calling thread is no tracer thread any more.
    pub(super) fn uninstall() {
        super::CURRENT_SHARD.set(0);
        LOCAL.set(None);
    }

    /// What ends a blocking call of this thread that nobody else would end.
    pub(super) fn alarm(&self) -> Result<&Alarm> {
        if let Some(alarm) = self.alarm.get() {
            return Ok(alarm);
        }
        let alarm = Alarm::new(self.shard.interrupter().wake_signal());
        let alarm = alarm.map_err(|source| Error::System {
            call: "timer_create",
            source,
        })?;
        Ok(self.alarm.get_or_init(|| alarm))
    }

    pub(super) fn tracee(&self, tid: Tid) -> Option<Arc<Slot>> {
        self.tracees.borrow().get(&tid).cloned()
    }

    pub(super) fn insert(&self, slot: &Arc<Slot>) {
        let (tid, clan) = (slot.tid(), slot.clan());
        if tid != clan {
            let mut threads = self.threads.borrow_mut();
            threads.entry(clan).or_default().insert(tid);
        }
        let mut tracees = self.tracees.borrow_mut();
        tracees.insert(tid, Arc::clone(slot));
        self.note_load(tracees.len());
        drop(tracees);
        self.patrol_soon();
    }

    pub(super) fn remove(&self, tid: Tid) -> Option<Arc<Slot>> {
        let mut tracees = self.tracees.borrow_mut();
        let slot = tracees.remove(&tid)?;
        self.note_load(tracees.len());
        if let Entry::Occupied(mut entry) = self.threads.borrow_mut().entry(slot.clan()) {
            entry.get_mut().remove(&tid);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
        Some(slot)
    }

    /// Tracees that may be threads of this process: those of its clan, but for its leader.
    pub(super) fn relatives(&self, clan: Tid) -> Vec<Tid> {
        let threads = self.threads.borrow();
        let relatives = threads.get(&clan).into_iter().flatten();
        relatives.copied().collect()
    }

    fn note_load(&self, tracees: usize) {
        self.shard
            .load
            .store(tracees, std::sync::atomic::Ordering::Relaxed);
    }

    /// A process that this tracer made, whose end has come.
    pub(super) fn take_child(&self, pid: Tid) -> Option<Arc<ChildCell>> {
        let child = self.children.borrow_mut().remove(&pid);
        child.or_else(|| self.kept.borrow_mut().remove(&pid)?.upgrade())
    }

    /// Hands a child that is not traced any more to the spawner.
    pub(super) fn keep_child(&self, child: Arc<ChildCell>, pidfd: Option<Pidfd>) {
        self.remember_child(&child);
        spawner::keep(child, pidfd);
    }

    /// Sees the death of a child that this thread does not trace, or did not make.
    pub(super) fn remember_child(&self, child: &Arc<ChildCell>) {
        let mut kept = self.kept.borrow_mut();
        // Doubled in between: the cost is shared out.
        if kept.len().is_power_of_two() {
            let tracees = self.tracees.borrow();
            let lives = |child: &Weak<ChildCell>| child.upgrade().is_some_and(|c| !c.is_over());
            kept.retain(|pid, child| tracees.contains_key(pid) || lives(child));
        }
        kept.insert(child.pid(), Arc::downgrade(child));
    }

    /// Whether this was a child of this program whose end was taken where it is taken of none
    /// that is traced.
    pub(super) fn has_ended_untraced(&self, pid: Tid) -> bool {
        let kept = self.kept.borrow();
        let has_ended = |child: Arc<ChildCell>| child.death().is_some();
        kept.get(&pid)
            .is_some_and(|child| child.upgrade().is_none_or(has_ended))
    }

    /// Carries out what other threads have queued.
    pub(super) fn run_ops(&self) {
        let mut ops = self.ops.take();
        self.shard.take_ops(&mut ops);
        for op in ops.drain(..) {
            self.run_op(op);
        }
        // Keeps the allocation.
        self.ops.replace(ops);
    }

    pub(super) fn run_op(&self, op: Op) {
        match op {
            Op::Resume {
                slot,
                serial,
                action,
            } => slot.resume_now(serial, action),
            Op::Call(f) => f(self),
        }
    }
}

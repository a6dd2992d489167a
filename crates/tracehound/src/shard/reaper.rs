//! The tracer thread's loop: wait, turn reports into events, run what they woke.
//!
//! One blocking wait for each stop is the least that a tracer can do, and with one
//! tracee this loop does no more. With several, the kernel's list is walked from its head
//! at each wait, so that tracees near the head would get every turn: everything that has
//! stopped is taken before anything is resumed, which is fair.
//!
//! `__WALL` and a thread of its own were rejected; see [`super`].

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracehound_sys::wait::{self, OWN_TRACEES, Target};
use tracehound_sys::wake::{Bound, Waited};

use super::{Local, Shard, attach};
use crate::event::Event;
use crate::slot::{End, Slot};
use crate::spawner;

/// How long the end of the thread waits for tracees that cannot stop: a vfork parent, a
/// frozen cgroup. They are let go by the kernel when the thread ends.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How many reports more than there are tracees are taken before tasks run again: births
/// and deaths come on top of one stop each. Fewer would starve those at the list's end.
const MARGIN: usize = 64;

/// What the thread does until the tracer is shut down.
pub(super) fn run(shard: &Arc<Shard>) {
    let bound = shard.interrupter().bind();
    let local = Local::install(Arc::clone(shard));
    local.equip_patrol();
    while !local.closing.get() {
        attend(&local);
        local.tasks.poll();
        local.advance_attaches();
        let early = take_reports(&local, &bound);
        local.patrol(early);
    }
    wind_up(&local, &bound);
    local.dismiss_patrol();
    Local::uninstall();
}

/// Does what other threads have asked for.
fn attend(local: &Local) {
    if local.shard.interrupter().acknowledge() {
        local.run_ops();
        local.poll_launches();
    }
}

/// Waits for reports, unless tasks are ready, and takes what has come. Gives whether
/// something else than a report ended the wait.
fn take_reports(local: &Local, bound: &Bound<'_>) -> bool {
    if local.tasks.ready() || local.closing.get() {
        drain(local);
        return false;
    }
    if local.has_unsettled() {
        // Before it sleeps with first stops that nobody has named: the names are mostly
        // on their way.
        if drain(local) == 0 {
            local.settle_orphans();
        }
        return false;
    }
    // An attach that something holds up is tried again after a while.
    let again = (!local.attaches.is_empty()).then(|| local.alarm().ok());
    let _ringing = again.flatten().map(|alarm| alarm.ring_every(attach::TRY));
    match bound.wait(Target::All, local.shard.usage()) {
        Ok(Waited::Report(report)) => {
            local.report(report);
            if local.shard.load() > 1 {
                drain(local);
            }
            return false;
        }
        Ok(Waited::Interrupted) => {}
        Ok(Waited::NoTracees) => {
            local.look_at_all();
            if !local.tasks.ready() {
                bound.sleep(None);
            }
        }
        Err(errno) => {
            tracing::error!(%errno, "waitid");
            bound.sleep(Some(Duration::from_millis(10)));
        }
    }
    true
}

/// Takes what has come, without waiting; gives how much it was.
fn drain(local: &Local) -> usize {
    let most = local.shard.load() + MARGIN;
    for taken in 0..most {
        match wait::poll_with_usage(Target::All, OWN_TRACEES, local.shard.usage()) {
            Ok(Some(report)) => local.report(report),
            _ => return taken,
        }
    }
    most
}

/// Ends everything: tasks, tracees, then what is left in the queue.
fn wind_up(local: &Rc<Local>, bound: &Bound<'_>) {
    local.tasks.clear();
    local.abort_launches();
    local.abort_attaches();
    let tracees: Vec<_> = local.tracees.borrow().values().cloned().collect();
    for slot in &tracees {
        local.detach(slot);
    }
    let deadline = Instant::now() + LAST_CALL;
    while !local.is_idle() && Instant::now() < deadline {
        attend(local);
        if drain(local) == 0 {
            // Nothing tells of a stop but a wait without a limit.
            bound.sleep(Some(Duration::from_millis(1)));
            local.patrol(true);
        }
    }
    let left: Vec<Arc<Slot>> = local.tracees.borrow_mut().drain().map(|(_, s)| s).collect();
    for slot in left {
        tracing::warn!(tid = %slot.tid(), "did not stop: let go by the end of the tracer thread");
        slot.end(End::Shutdown, Event::Detached);
    }
    for (pid, child) in local.children.take() {
        spawner::keep(child, spawner::open_pidfd(pid));
    }
    // What came too late finds everything ended, and says so.
    for op in local.shard.close() {
        local.run_op(op);
    }
}

impl Local {
    fn is_idle(&self) -> bool {
        self.tracees.borrow().is_empty() && self.launches.is_empty()
    }

    /// Makes the thread end when it comes to it.
    pub(crate) fn close(&self) {
        self.closing.set(true);
    }
}

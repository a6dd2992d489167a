//! The tracer thread of one tracee: what its loop makes of the queue and the slot.
//!
//! It is woken by whatever comes. That no wake is lost although most of them are spared is shown
//! with the queue alone: both together would take hours.

use std::sync::Arc;

use loom::sync::Notify;
use loom::thread::{self, ThreadId};

use super::queue::Queue;
use crate::error::{Error, Result};
use crate::event::{Death, Event, Exiting};
use crate::kernel::{Kernel, Report};
use crate::pace::Yields;
use crate::slot::{Action, End, Slot, State, StopClass};
use crate::wait::StopKind;

/// What is asked of the tracer thread.
pub(crate) enum Op {
    Resume {
        slot: Arc<Slot>,
        serial: u32,
        action: Action,
    },
    Call(Box<dyn FnOnce() + Send>),
}

pub(crate) struct Shard {
    thread: ThreadId,
    queue: Queue<Op>,
    signal: Notify,
    pub(crate) kernel: Arc<Kernel>,
}

impl Shard {
    /// On its thread.
    pub(crate) fn new(kernel: Arc<Kernel>) -> Arc<Self> {
        Arc::new(Shard {
            thread: thread::current().id(),
            queue: Queue::new(),
            signal: Notify::new(),
            kernel,
        })
    }

    pub(crate) fn is_current(&self) -> bool {
        thread::current().id() == self.thread
    }

    pub(crate) fn is_forked(&self) -> bool {
        false
    }

    pub(crate) fn push(&self, op: Op) -> Result<()> {
        self.queue.push(op).map_err(|_| Error::Shutdown)?;
        self.signal.notify();
        Ok(())
    }

    /// A tracee has something to report.
    pub(crate) fn report(&self) {
        self.signal.notify();
    }

    pub(crate) fn yields(&self) -> &Yields {
        &Yields
    }

    pub(crate) fn counters(&self) -> &Counters {
        &Counters {
            resumes: Counter,
            requests: Counter,
        }
    }

    /// From here on nothing is taken; what was is done.
    pub(crate) fn close(&self) {
        self.queue.close().into_iter().for_each(run);
    }
}

pub(crate) struct Counters {
    pub(crate) resumes: Counter,
    pub(crate) requests: Counter,
}

pub(crate) struct Counter;

impl Counter {
    pub(crate) fn add_one(&self) {}
}

/// There is one tracee.
#[derive(Default)]
pub(crate) struct Place;

impl Place {
    pub(crate) fn renew(&self) {}

    pub(crate) fn is_hot(&self) -> bool {
        true
    }

    pub(crate) fn spend(&self) -> bool {
        false
    }
}

pub(crate) fn ask_at_once(_: &Arc<Slot>) -> bool {
    false
}

pub(crate) fn rotate_in(_: &Arc<Slot>) {}

/// The loop, until the tracee is dead.
pub(crate) fn trace(slot: &Arc<Slot>) {
    let shard = &slot.shard;
    loop {
        let mut ops = Vec::new();
        shard.queue.take(&mut ops);
        ops.into_iter().for_each(run);
        match shard.kernel.wait() {
            Some(Report::Stop(kind)) => stopped(slot, kind),
            Some(Report::Death) => {
                let (status, usage) = (Default::default(), None);
                slot.end(End::Dead, Event::death(Death { status, usage }));
                return;
            }
            None => shard.signal.wait(),
        }
    }
}

fn run(op: Op) {
    match op {
        Op::Resume {
            slot,
            serial,
            action,
        } => slot.resume_now(serial, action),
        Op::Call(f) => f(),
    }
}

/// Takes the report of a stop.
pub(crate) fn stopped(slot: &Arc<Slot>, kind: StopKind) {
    if slot.park(kind) || (kind == StopKind::Trap && slot.is_nobodys(kind)) {
        return;
    }
    // Nobody detaches.
    let _ = slot.record(|state| match kind {
        StopKind::Exit => (StopClass::Exit, Event::Exiting(Exiting { status: 9 })),
        kind => state.explain(kind),
    });
}

impl Slot {
    /// Everybody is watched.
    pub(crate) fn pass_locked(self: &Arc<Self>, _: &mut State) {}
}

//! Attaching to the threads of a running process.
//!
//! One reading of `/proc/PID/task` misses the threads that are made meanwhile, so the
//! list is read until a pass finds nothing new. Threads made by seized threads come by
//! themselves, if threads are followed.
//!
//! All threads of a process belong to one shard of one tracer: an exec gives one thread the
//! id of another, and only the thread that traces both can tell. Two attaches to one
//! process at the same time, which would share its threads out between them, are kept apart
//! by a list of what is being attached; at other times the kernel says who traces a thread.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracehound_sys::ptrace::{self, Options, ResumeKind};
use tracehound_sys::{Errno, PerProcess, Tid, proc};

use super::Local;
use crate::error::{Error, Result};
use crate::refusal::{Refusal, explain, unseen};
use crate::slot::{Heritage, Slot};
use crate::tracee::Tracee;

/// An attach, as the tracer thread gets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttachPlan {
    pub(crate) pid: Tid,
    pub(crate) options: Options,
    pub(crate) mode: ResumeKind,
    /// Also to a child of this process, whose own waits would then see stops.
    pub(crate) own_child: bool,
}

impl Local {
    /// Seizes every thread of a process. Those seized before an error are let go.
    pub(crate) fn attach(&self, plan: &AttachPlan) -> Result<(Tid, Vec<Tracee>)> {
        if self.closing.get() {
            return Err(Error::Shutdown);
        }
        let tgid = check(plan)?;
        let _claim = Claim::new(tgid, plan.pid, self.shard.thread())?;
        let mut tracees = Vec::new();
        let mut tried = HashSet::new();
        loop {
            let tids = proc::tasks(tgid).unwrap_or_default();
            let mut new = false;
            for tid in tids {
                if !tried.insert(tid) || self.tracees.borrow().contains_key(&tid) {
                    continue;
                }
                new = true;
                tracees.extend(self.seize(tid, tgid, plan)?);
            }
            if !new {
                break;
            }
        }
        if tracees.is_empty() {
            return Err(match proc::status(tgid) {
                Ok(_) => explain(tgid, Errno::EPERM),
                Err(_) => Error::NoSuchProcess(plan.pid),
            });
        }
        Ok((tgid, tracees))
    }

    /// Seizes one thread; gives nothing if it has ended, or comes by itself.
    fn seize(&self, tid: Tid, tgid: Tid, plan: &AttachPlan) -> Result<Option<Tracee>> {
        match ptrace::seize(tid, plan.options) {
            Ok(()) => Ok(self.enter_attached(tid, tgid, plan)),
            Err(Errno::ESRCH) => Ok(None),
            Err(errno) => match proc::status(tid) {
                Err(_) => Ok(None),
                Ok(status) if matches!(status.state, 'Z' | 'X') => Ok(None),
                // Made by a thread that was seized before.
                Ok(status) if status.tracer == self.shard.thread() => Ok(None),
                Ok(_) => Err(explain(tid, errno)),
            },
        }
    }

    fn enter_attached(&self, tid: Tid, tgid: Tid, plan: &AttachPlan) -> Option<Tracee> {
        let heritage = Heritage {
            mode: plan.mode,
            options: plan.options,
            tree: None,
        };
        let slot = Slot::new(Arc::clone(&self.shard), tid, heritage);
        slot.set_tgid(tgid);
        {
            // It runs: there is no birth stop to come. To stop at system calls, also at the
            // end of the one that it is in, it has to be stopped and resumed once.
            let mut state = slot.lock();
            state.started = true;
            state.enter_mode = plan.mode != ResumeKind::Cont && ptrace::interrupt(tid).is_ok();
        }
        self.insert(&slot);
        let tracee = Tracee::new(Arc::clone(&slot));
        if tracee.is_none() {
            self.detach(&slot);
        }
        tracee
    }
}

/// The processes that are being attached, and by which tracer thread.
static ATTACHING: PerProcess<Mutex<BTreeMap<Tid, Tid>>> = PerProcess::new(Mutex::default);

fn attaching() -> Result<MutexGuard<'static, BTreeMap<Tid, Tid>>> {
    let attaching = ATTACHING.get().map_err(|source| Error::System {
        call: "mmap",
        source,
    })?;
    Ok(attaching.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The right to attach to a process, until it is dropped.
struct Claim(Tid);

impl Claim {
    fn new(tgid: Tid, pid: Tid, own: Tid) -> Result<Self> {
        match attaching()?.entry(tgid) {
            Entry::Occupied(other) => Err(Error::NotPermitted {
                pid,
                reason: Refusal::already_traced(*other.get()),
            }),
            Entry::Vacant(entry) => {
                entry.insert(own);
                Ok(Claim(tgid))
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Ok(mut attaching) = attaching() {
            attaching.remove(&self.0);
        }
    }
}

/// What can be said before anything is tried; gives the process.
fn check(plan: &AttachPlan) -> Result<Tid> {
    let pid = plan.pid;
    let Ok(status) = proc::status(pid) else {
        return Err(unseen(pid));
    };
    let refusal = if status.tgid == Tid::current_process() {
        Some(Refusal::OwnProcess)
    } else if status.kernel_thread {
        Some(Refusal::KernelThread)
    } else if status.parent == Tid::current_process() && status.tracer.is_valid() {
        // Also without the option, which would not help.
        Some(Refusal::already_traced(status.tracer))
    } else if status.parent == Tid::current_process() && !plan.own_child {
        Some(Refusal::OwnChild)
    } else {
        None
    };
    match refusal {
        Some(reason) => Err(Error::NotPermitted { pid, reason }),
        None => Ok(status.tgid),
    }
}

//! Processes on their way to their first event.
//!
//! The tracer thread's part of a spawn (see [`tracehound_sys::spawn`]): it makes the child, or
//! waits until it was forked; seizes it, lets it go on, and takes it past whatever it does before
//! its exec, of which nobody is told.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracehound_sys::ptrace::{self, Options, ResumeKind, SyscallEntry, SyscallOp};
use tracehound_sys::spawn::{Guest, Launch, Progress};
use tracehound_sys::wait::StopKind;
use tracehound_sys::{Errno, Tid, proc};

use super::detach::send_kill;
use super::{Local, TreePlan};
use crate::child::ChildCell;
use crate::error::{Error, Result};
use crate::event::{Event, Started};
use crate::filter::FilterRule;
use crate::limit::Seat;
use crate::placement;
use crate::refusal::explain;
use crate::slot::{Heritage, Slot, StopClass};
use crate::spawner;
use crate::tracee::Tracee;

/// A spawn, as the tracer thread gets it.
pub(crate) struct LaunchPlan {
    pub(crate) launch: Arc<Launch>,
    pub(crate) options: Options,
    pub(crate) mode: ResumeKind,
    /// The registers are read at each stop.
    pub(crate) prefetch: bool,
    /// It gets a seccomp filter.
    pub(crate) rule: Option<FilterRule>,
    /// Hold it at the entry of its execve.
    pub(crate) before_exec: bool,
    /// It runs on the CPU of the tracer thread.
    pub(crate) on_tracers_cpu: bool,
    /// It is killed when its handle is dropped.
    pub(crate) kill_on_drop: bool,
    /// Run this logic for it and what comes of it.
    pub(crate) tree: Option<TreePlan>,
    /// The tracee's place.
    pub(crate) seat: Option<Seat>,
    /// The child, if it was made here and may still be in this memory.
    pub(crate) guest: Option<Guest>,
    pub(crate) reply: oneshot::Sender<Result<Launched>>,
}

/// A process held before its first instruction. It is killed if nobody takes it.
pub(crate) struct Launched {
    child: Option<Arc<ChildCell>>,
    /// Missing where a tree has it, or where the tracer is ending.
    tracee: Option<Tracee>,
}

impl Launched {
    /// Tracee and child, if there are both.
    pub(crate) fn into_parts(mut self) -> Option<(Tracee, Arc<ChildCell>)> {
        let tracee = self.tracee.take()?;
        Some((tracee, self.child.take()?))
    }

    /// The child; the tracee is elsewhere.
    pub(crate) fn into_child(mut self) -> Option<Arc<ChildCell>> {
        self.child.take()
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            child.kill();
        }
    }
}

#[derive(Default)]
pub(super) struct Launches {
    /// Not forked yet.
    waiting: RefCell<Vec<LaunchPlan>>,
    /// Seized, before their exec.
    seized: RefCell<HashMap<Tid, LaunchPlan>>,
}

impl Launches {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty() && self.seized.borrow().is_empty()
    }

    /// Those that are seized, and before their exec.
    pub(super) fn tids(&self) -> Vec<Tid> {
        self.seized.borrow().keys().copied().collect()
    }
}

impl Local {
    /// Makes a child, and begins to trace it.
    pub(crate) fn launch_guest(&self, mut plan: LaunchPlan) {
        if self.closing.get() {
            let _ = plan.reply.send(Err(Error::Shutdown));
            return;
        }
        if plan.reply.is_closed() {
            // Nobody waits for it any more.
            return;
        }
        match Guest::new(&plan.launch) {
            Ok(guest) => {
                let tid = guest.tid();
                plan.guest = Some(guest);
                self.seize_launch(tid, plan);
            }
            Err(errno) => {
                let _ = plan.reply.send(Err(Error::Spawn(errno.into())));
            }
        }
    }

    /// Kills those on their way for which nobody waits any more.
    pub(crate) fn kill_abandoned(&self) {
        for (tid, plan) in self.launches.seized.borrow().iter() {
            if plan.reply.is_closed() {
                send_kill(*tid);
            }
        }
    }

    /// Expects a child that is being forked.
    pub(crate) fn expect_launch(&self, plan: LaunchPlan) {
        if self.closing.get() {
            let _ = plan.reply.send(Err(Error::Shutdown));
            plan.launch.abort();
            return;
        }
        self.launches.waiting.borrow_mut().push(plan);
        self.poll_launches();
    }

    /// Seizes the children that were forked.
    pub(super) fn poll_launches(&self) {
        if self.launches.waiting.borrow().is_empty() {
            return;
        }
        for plan in self.launches.waiting.take() {
            match plan.launch.progress() {
                Progress::Pending => self.launches.waiting.borrow_mut().push(plan),
                Progress::Failed(_) => {
                    let error = Error::Spawn(plan.launch.error());
                    let _ = plan.reply.send(Err(error));
                }
                Progress::Announced(tid) => self.seize_launch(tid, plan),
            }
        }
    }

    fn seize_launch(&self, tid: Tid, mut plan: LaunchPlan) {
        // First: it has not changed its user yet, and the kernel would refuse another's.
        let placed = match (&plan.guest, plan.on_tracers_cpu) {
            // It runs where this thread does.
            (Some(_), true) | (None, false) => Ok(()),
            (Some(_), false) => {
                placement::let_roam(tid);
                Ok(())
            }
            (None, true) => placement::fetch(tid),
        };
        let seized = placed
            .and_then(|()| ptrace::seize(tid, plan.options).map_err(|errno| explain(tid, errno)));
        if let Err(error) = seized {
            // Killed before it was seized: it is no process of the user's yet.
            let killed = proc::status(tid).is_ok_and(|status| matches!(status.state, 'Z' | 'X'));
            let error = match killed {
                true => Error::Spawn(plan.launch.error()),
                false => error,
            };
            plan.launch.abort();
            if let Some(guest) = plan.guest.take() {
                spawner::reap(guest);
            }
            let _ = plan.reply.send(Err(error));
            return;
        }
        if plan.before_exec {
            // It stops at once, and is then led from call to call.
            let _ = ptrace::interrupt(tid);
        }
        let launch = Arc::clone(&plan.launch);
        self.launches.seized.borrow_mut().insert(tid, plan);
        self.patrol_soon();
        launch.go();
    }

    /// A stop before the exec. Gives whether it was such a child's.
    pub(super) fn launch_stop(&self, tid: Tid, kind: StopKind) -> bool {
        let seized = self.launches.seized.borrow();
        let Some(plan) = seized.get(&tid) else {
            return false;
        };
        let (launch, heritage) = (Arc::clone(&plan.launch), plan.heritage());
        let how = if plan.before_exec {
            ResumeKind::Syscall
        } else {
            ResumeKind::Cont
        };
        drop(seized);
        // An error in what follows: it was killed, which is reported.
        let mut signal = None;
        match kind {
            StopKind::Syscall => {
                if let Some(call) = entered_exec(&launch, tid) {
                    self.launched(tid, Some(call));
                    return true;
                }
            }
            StopKind::Signal(stop) => signal = Some(stop),
            StopKind::Group(_) => {
                let _ = ptrace::listen(tid);
                return true;
            }
            StopKind::Fork | StopKind::Vfork | StopKind::Clone => {
                self.disown_birth(tid, kind, heritage);
            }
            _ => {}
        }
        let _ = ptrace::resume(tid, how, signal);
        true
    }

    /// `PTRACE_EVENT_EXEC`. Gives whether it was such a child's.
    pub(super) fn launch_exec(&self, tid: Tid) -> bool {
        let seized = self.launches.seized.borrow();
        let Some(plan) = seized.get(&tid) else {
            return false;
        };
        if plan.guest.is_some() {
            // An error: it was killed, which is reported.
            let _ = ptrace::setsigmask(tid, plan.launch.mask());
        }
        drop(seized);
        self.launched(tid, None);
        true
    }

    /// A death before the exec. Gives whether it was such a child's.
    pub(super) fn launch_dead(&self, tid: Tid) -> bool {
        let plan = self.launches.seized.borrow_mut().remove(&tid);
        let known = plan.is_some();
        if let Some(mut plan) = plan {
            plan.guest_has_left();
            let error = if self.closing.get() {
                // It was killed here.
                Error::Shutdown
            } else {
                Error::Spawn(plan.launch.error())
            };
            let _ = plan.reply.send(Err(error));
        }
        known
    }

    /// The child is where its user wants it.
    fn launched(&self, tid: Tid, exec: Option<SyscallEntry>) {
        let plan = self.launches.seized.borrow_mut().remove(&tid);
        let Some(mut plan) = plan else {
            return;
        };
        plan.guest_has_left();
        let slot = Slot::new(Arc::clone(&self.shard), tid, plan.heritage());
        slot.set_tgid(tid);
        slot.lock().seat = plan.seat;
        self.insert(&slot);
        self.births.note_rule(plan.rule);
        let child = ChildCell::new(tid, Arc::clone(&self.shard), plan.kill_on_drop);
        self.children.borrow_mut().insert(tid, Arc::clone(&child));
        // Just made: nobody can have asked to detach it.
        let _ = slot.record(|state| {
            state.started = true;
            state.call = exec;
            (StopClass::Other, Event::Started(Started { exec }))
        });
        let mut tracee = Tracee::new(Arc::clone(&slot)).map(Tracee::handed_out);
        if tracee.is_none() {
            self.release(&slot);
        }
        if let Some(tree) = plan.tree
            && let Some(root) = tracee.take()
        {
            self.plant_tree(tree, root);
        }
        let launched = Launched {
            child: Some(child),
            tracee,
        };
        // Comes back, and is killed, if nobody waits for it.
        drop(plan.reply.send(Ok(launched)));
    }

    /// Gives up what has not come to its exec. Used when the thread ends.
    pub(super) fn abort_launches(&self) {
        for plan in self.launches.waiting.take() {
            plan.launch.abort();
            let _ = plan.reply.send(Err(Error::Shutdown));
        }
        self.launches.tids().into_iter().for_each(send_kill);
    }
}

impl LaunchPlan {
    /// The child has called exec, or is dead.
    fn guest_has_left(&mut self) {
        if let Some(guest) = self.guest.take() {
            guest.has_left();
        }
    }

    fn heritage(&self) -> Heritage {
        Heritage {
            mode: self.mode,
            prefetch: self.prefetch,
            options: self.options,
            tree: self.tree.as_ref().map(|tree| tree.id),
            rule: self.rule,
        }
    }
}

/// The call, if the child is at the entry of its execve.
fn entered_exec(launch: &Launch, tid: Tid) -> Option<SyscallEntry> {
    match ptrace::get_syscall_info(tid).map(|info| info.op) {
        Ok(SyscallOp::Entry(call)) if launch.is_exec(&call) => Some(call),
        Ok(_) | Err(Errno::ESRCH) => None,
        Err(error) => {
            tracing::warn!(%tid, %error, "cannot see the system calls of a child");
            None
        }
    }
}

//! Attaching to running processes and threads.
//!
//! Three things make it more than a `PTRACE_SEIZE` for each thread.
//!
//! *It may block.* While a thread of the target is in the middle of an exec, the kernel holds
//! whoever seizes; and that exec may be waiting for the death or the exit stop of a thread
//! that was seized a moment ago, which this very thread has to attend to. So each try is
//! ended by an alarm, and between two tries the tracer thread serves its tracees.
//!
//! *Threads come and go meanwhile.* One reading of `/proc/PID/task` misses threads that are
//! made while it is read. Those made by seized threads come by themselves, if threads are
//! followed; but a thread that was seized in the middle of its clone does not report it, and
//! the new thread is nobody's. So the list is read until nothing in it is new *and* every
//! seized thread has been seen outside of a clone: asleep, or in a stop. One that is
//! neither is interrupted for a moment, silently. Reading the list takes as long as seizing
//! what is in it, so it is read again only where the number of the process's threads is not
//! that of those that are traced.
//!
//! *An exec changes names.* It gives one thread the id of another, and only the thread that
//! traces both can tell. So all threads of a process belong to one shard of one tracer. A seize
//! that is held up by the exec of that very thread succeeds after the exec's event, and under an
//! id that is nobody's by then: so each thread is looked for once more when it is seized. Who
//! traces a thread is asked of the kernel; two attaches to one process at the same time are
//! kept apart by a list of what is being attached.
//!
//! Stopping every thread first, as debuggers do, was rejected: it ends system calls that
//! cannot be restarted (epoll_wait) with `EINTR` in a program that was only to be watched.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracehound_sys::ptrace::{self, Options, ResumeKind};
use tracehound_sys::{Errno, Tid, proc, wait};

use super::claim::Claim;
use super::{Local, Shard};
use crate::child::AttachToChild;
use crate::children;
use crate::error::{Error, Result};
use crate::event::{Event, Replaced};
use crate::limit::Seat;
use crate::refusal::{Refusal, explain, shortage, unread};
use crate::slot::{Action, End, Heritage, Phase, Slot, StopClass};
use crate::tracee::Tracee;

/// An attach, as the tracer thread gets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttachPlan {
    pub(crate) pid: Tid,
    pub(crate) extent: Extent,
    pub(crate) options: Options,
    pub(crate) mode: ResumeKind,
    /// The registers are read at each stop.
    pub(crate) prefetch: bool,
    /// Each thread is stopped as soon as it is seized. That all have stopped, and that these
    /// were all, is seen to afterwards.
    pub(crate) stop: bool,
    /// Also to a child of this process, whose own waits would then see stops.
    pub(crate) own_child: bool,
    /// How long an exec may hold it up.
    pub(crate) patience: Duration,
}

impl AttachPlan {
    /// The same, for threads that are not attached yet, if there are any.
    pub(crate) fn rest(self) -> Self {
        AttachPlan {
            extent: Extent::Rest,
            stop: false,
            ..self
        }
    }

    /// Carries it out in this shard.
    pub(crate) async fn run(self, shard: &Shard) -> Result<Attached> {
        let (reply, answer) = oneshot::channel();
        shard.run(move |local| local.begin_attach(self, reply))?;
        answer.await.map_err(|_| Error::Shutdown)?
    }
}

/// How much of a process is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Process,
    /// Those threads of a process that are not attached yet; also none.
    Rest,
    Thread,
}

/// What an attach gives: the process, and the handles of its threads.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) tgid: Tid,
    pub(crate) tracees: Vec<Tracee>,
}

type AttachReply = oneshot::Sender<Result<Attached>>;

/// How long one try may block, and how long other tracees are served between two.
pub(super) const TRY: Duration = Duration::from_millis(5);

/// How often in a row a thread may refuse that is there and that nobody traces. An exec that
/// has just ended refuses once: the thread that was looked up is no more.
const REFUSALS: u32 = 10;

/// How long a thread in uninterruptible sleep may be in the middle of a clone. A vfork
/// parent sleeps so for as long as it likes, but its child is there already.
const CLONE: Duration = Duration::from_millis(100);

/// An attach under way.
struct Attaching {
    plan: AttachPlan,
    reply: AttachReply,
    tgid: Tid,
    since: Instant,
    tracees: Vec<Tracee>,
    /// What the last pass over the list found traced, or traced itself.
    listed: Vec<Arc<Slot>>,
    /// Those of them that may be in the middle of a clone.
    unsettled: Vec<Unsettled>,
    /// The last pass found all threads traced.
    swept: bool,
    /// Others are served until then.
    not_before: Instant,
    refusals: u32,
    /// Zombies that were there before.
    dead: HashSet<Tid>,
    _claim: Claim,
    _child: Option<AttachToChild>,
}

#[derive(Default)]
pub(super) struct Attaches {
    under_way: RefCell<Vec<Attaching>>,
}

impl Attaches {
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.borrow().is_empty()
    }
}

/// A thread that was seized and not yet seen outside of a clone.
struct Unsettled {
    slot: Arc<Slot>,
    /// It was interrupted, to be resumed at once.
    interrupted: bool,
    since: Instant,
}

/// How far an attach has come.
#[derive(PartialEq, Eq)]
enum Progress {
    Complete,
    /// Other tracees, and its own, have to be attended to first.
    Blocked,
}

/// What one pass over the list of threads found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// All of them are traced, or dead.
    Nothing,
    /// Something new: another pass is due.
    New,
    /// Reports have to be attended to before it is known what there is.
    Unreported,
    /// A try was ended by the alarm.
    Blocked,
}

impl Local {
    /// Begins to attach; those seized before an error are let go.
    fn begin_attach(&self, plan: AttachPlan, reply: AttachReply) {
        match self.prepare_attach(plan) {
            Ok((tgid, claim)) => {
                let now = Instant::now();
                self.attaches.under_way.borrow_mut().push(Attaching {
                    plan,
                    reply,
                    tgid,
                    since: now,
                    tracees: Vec::new(),
                    listed: Vec::new(),
                    unsettled: Vec::new(),
                    swept: false,
                    not_before: now,
                    refusals: 0,
                    dead: HashSet::new(),
                    _claim: claim,
                    _child: self.adopt(tgid),
                });
                self.advance_attaches();
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn prepare_attach(&self, plan: AttachPlan) -> Result<(Tid, Claim)> {
        if self.closing.get() {
            return Err(Error::Shutdown);
        }
        let tgid = check(&plan, self.shard.thread())?;
        let claim = Claim::new(tgid, plan.pid, self.shard.thread())?;
        if plan.extent == Extent::Thread {
            check_siblings(tgid, plan.pid, self.shard.thread())?;
        }
        Ok((tgid, claim))
    }

    /// Makes known who may see the end of a child of this process that was detached.
    fn adopt(&self, pid: Tid) -> Option<AttachToChild> {
        let parent = proc::status(pid).ok()?.parent;
        let child = (parent == Tid::current_process()).then(|| children::find(pid))??;
        self.remember_child(&child);
        Some(child.begin_attach(&self.shard))
    }

    /// Goes on with the attaches that are under way.
    pub(super) fn advance_attaches(&self) {
        for mut attaching in self.attaches.under_way.take() {
            if attaching.reply.is_closed() {
                // Nobody waits for it: what was seized is let go.
                continue;
            }
            let progress = self.alarm().and_then(|alarm| {
                let _ringing = alarm.ring_every(TRY);
                self.advance(&mut attaching)
            });
            match progress {
                Ok(Progress::Complete) => self.end_attach(attaching),
                Ok(Progress::Blocked) => self.attaches.under_way.borrow_mut().push(attaching),
                Err(error) => drop(attaching.reply.send(Err(error))),
            }
        }
    }

    /// Gives up all attaches. Used when the thread ends.
    pub(super) fn abort_attaches(&self) {
        for attaching in self.attaches.under_way.take() {
            drop(attaching.reply.send(Err(Error::Shutdown)));
        }
    }

    fn end_attach(&self, attaching: Attaching) {
        let Attaching {
            reply,
            tgid,
            mut tracees,
            plan,
            ..
        } = attaching;
        tracees.retain(|tracee| !matches!(tracee.slot().lock().phase, Phase::Ended(_)));
        let result = if tracees.is_empty() && plan.extent != Extent::Rest {
            Err(match proc::status(plan.pid) {
                Ok(_) => explain(plan.pid, Errno::EPERM),
                Err(_) => Error::NoSuchProcess(plan.pid),
            })
        } else {
            Ok(Attached { tgid, tracees })
        };
        // Comes back, and is let go, if nobody waits for it.
        drop(reply.send(result));
    }

    /// Seizes what is not seized yet, until nothing is left or something blocks.
    fn advance(&self, attaching: &mut Attaching) -> Result<Progress> {
        if attaching.since.elapsed() > attaching.plan.patience {
            return Err(Error::Busy(attaching.plan.pid));
        }
        let begin = Instant::now();
        if begin < attaching.not_before {
            return Ok(Progress::Blocked);
        }
        release_exits(attaching);
        loop {
            // Before the list is read: what they made until now is in it.
            let settled = self.settle(attaching);
            if attaching.swept && !settled {
                return Ok(Progress::Blocked);
            }
            let found = match attaching.has_all(self.shard.thread()) {
                true => Found::Nothing,
                false => self.pass(attaching)?,
            };
            attaching.swept = found == Found::Nothing;
            match found {
                Found::Nothing if settled => return Ok(Progress::Complete),
                Found::Blocked => attaching.not_before = Instant::now() + TRY,
                Found::New if begin.elapsed() < TRY => continue,
                _ => {}
            }
            return Ok(Progress::Blocked);
        }
    }

    /// Looks whether the threads that were seized are outside of a clone; gives whether all
    /// are. One that runs is interrupted, and runs on after its stop.
    fn settle(&self, attaching: &mut Attaching) -> bool {
        let unsettled = &mut attaching.unsettled;
        if !unsettled.iter().all(|one| one.interrupted) {
            unsettled.retain_mut(|one| !one.is_settled());
        }
        // Nothing but their stops is waited for: it is enough to look at one that has none.
        while unsettled.pop_if(Unsettled::is_settled).is_some() {}
        unsettled.is_empty()
    }

    /// Goes once through the list of threads.
    fn pass(&self, attaching: &mut Attaching) -> Result<Found> {
        let tids = match attaching.plan.extent {
            Extent::Process | Extent::Rest => match proc::tasks(attaching.tgid) {
                Ok(tids) => tids,
                // It is gone, or so it seems to whoever has no descriptor left.
                Err(error) => shortage(&error).map_or(Ok(Vec::new()), Err)?,
            },
            Extent::Thread => {
                let pid = attaching.plan.pid;
                proc::status(pid).map(|_| pid).into_iter().collect()
            }
        };
        let mut found = self.check_list(attaching, tids.len());
        attaching.listed.clear();
        for tid in tids {
            if let Some(known) = self.tracee(tid) {
                if known.lock().detach {
                    // It is just being let go, and is then as new as the others.
                    found = Found::Unreported;
                } else {
                    attaching.listed.push(known);
                }
                continue;
            }
            match self.seize(tid, attaching)? {
                Found::Nothing => {}
                Found::New if found == Found::Nothing => found = Found::New,
                Found::New => {}
                Found::Unreported => found = Found::Unreported,
                Found::Blocked => return Ok(Found::Blocked),
            }
        }
        Ok(found)
    }

    /// Whether a list of this length can be all there is.
    fn check_list(&self, attaching: &Attaching, listed: usize) -> Found {
        let tgid = attaching.tgid;
        let Ok(status) = proc::status(tgid) else {
            return Found::Nothing;
        };
        let ours = status.tracer == self.shard.thread();
        let leader = self.tracee(tgid).filter(|_| !ours);
        let replaced = leader.filter(|leader| leader.lock().phase == Phase::Running);
        if let Some(leader) = replaced {
            // A thread that was not traced has taken its id by an exec; its own death is
            // not reported.
            self.remove(tgid);
            leader.end(End::Dead, Event::Replaced(Replaced { by: None }));
            return Found::New;
        }
        match attaching.plan.extent {
            Extent::Process | Extent::Rest if status.threads > listed => Found::New,
            _ => Found::Nothing,
        }
    }

    /// Seizes one thread, unless it has ended, or comes by itself.
    fn seize(&self, tid: Tid, attaching: &mut Attaching) -> Result<Found> {
        let seat = self.shard.seat()?;
        match self.shard.interrupter().seize(tid, attaching.plan.options) {
            Ok(()) => {
                attaching.refusals = 0;
                let tid = self.id_of_seized(tid, attaching.tgid);
                if let Some(tracee) = self.enter_attached(tid, attaching, seat) {
                    // Those that stop are waited for and counted by whoever asked for that.
                    if !attaching.plan.stop {
                        attaching.unsettled.push(Unsettled {
                            slot: Arc::clone(tracee.slot()),
                            interrupted: attaching.plan.mode != ResumeKind::Cont,
                            since: Instant::now(),
                        });
                    }
                    attaching.listed.push(Arc::clone(tracee.slot()));
                    attaching.tracees.push(tracee);
                }
                Ok(Found::New)
            }
            Err(Errno::EINTR) => Ok(Found::Blocked),
            // What ended since the list was read may have made another one before.
            Err(Errno::ESRCH) => Ok(Found::New),
            Err(errno) => match proc::status(tid) {
                Err(_) => Ok(Found::New),
                Ok(status) if matches!(status.state, 'Z' | 'X') => {
                    let new = attaching.dead.insert(tid);
                    Ok(if new { Found::New } else { Found::Nothing })
                }
                // Made by a thread that was seized before, or another one until its exec:
                // the report is on its way.
                Ok(status) if status.tracer == self.shard.thread() => Ok(Found::Unreported),
                Ok(status) if status.tracer.is_valid() => Err(explain(tid, errno)),
                Ok(_) if attaching.refusals < REFUSALS => {
                    attaching.refusals += 1;
                    Ok(Found::New)
                }
                Ok(_) => Err(explain(attaching.plan.pid, errno)),
            },
        }
    }

    /// The id of a thread that was seized. If an exec of its own held that up, it may have
    /// its process's id by now, and no event tells of it.
    fn id_of_seized(&self, tid: Tid, tgid: Tid) -> Tid {
        if tid == tgid || wait::is_own_tracee(tid) {
            return tid;
        }
        if let Some(leader) = self.remove(tgid) {
            self.replaced(&leader, tid);
        }
        tgid
    }

    fn enter_attached(
        &self,
        tid: Tid,
        attaching: &Attaching,
        seat: Option<Seat>,
    ) -> Option<Tracee> {
        let plan = &attaching.plan;
        let heritage = Heritage {
            mode: plan.mode,
            prefetch: plan.prefetch,
            options: plan.options,
            tree: None,
            rule: None,
        };
        let slot = Slot::new(Arc::clone(&self.shard), tid, heritage);
        slot.set_tgid(attaching.tgid);
        {
            // It runs: there is no birth stop to come. To stop at system calls, also at the
            // end of the one that it is in, it has to be stopped and resumed once.
            let mut state = slot.lock();
            state.started = true;
            state.seat = seat;
            let enters_mode = plan.mode != ResumeKind::Cont && !plan.stop;
            state.enter_mode = enters_mode && ptrace::interrupt(tid).is_ok();
        }
        self.insert(&slot);
        if plan.stop {
            slot.stop();
        }
        let tracee = Tracee::new(Arc::clone(&slot));
        if tracee.is_none() {
            self.detach(&slot);
        }
        tracee
    }
}

impl Attaching {
    /// Whether the traced threads that the last pass came across are all that the process
    /// has. Each of them is in its number of threads until its end is taken here; so if the
    /// numbers are equal, there is no other.
    fn has_all(&self, tracer: Tid) -> bool {
        let is_whole = matches!(self.plan.extent, Extent::Process | Extent::Rest);
        is_whole && !self.listed.is_empty() && are_all_threads(self.tgid, tracer, &self.listed)
    }
}

/// Whether the process has no thread but these, of those that have not ended.
///
/// In an exec by a thread that is not traced the leader's end is not reported: that the one
/// with its id is traced is looked at, too.
pub(crate) fn are_all_threads(tgid: Tid, tracer: Tid, slots: &[Arc<Slot>]) -> bool {
    // Before they are counted: one whose end is taken meanwhile is in the number, and one
    // too few is found here, which does no harm.
    let Ok(status) = proc::status(tgid) else {
        return false;
    };
    let has_ended = |slot: &Arc<Slot>| matches!(slot.lock().phase, Phase::Ended(_));
    let left = slots.iter().filter(|slot| !has_ended(slot)).count();
    status.tracer == tracer && status.threads == left
}

impl Unsettled {
    /// Whether it is outside of a clone. One that runs is interrupted, to be resumed at once.
    fn is_settled(&mut self) -> bool {
        let Unsettled {
            slot,
            interrupted,
            since,
        } = self;
        let mut state = slot.lock();
        if state.phase != Phase::Running {
            return true;
        }
        let patient = since.elapsed() < CLONE;
        // It has answered, and was resumed; or it cannot answer: it sleeps.
        if *interrupted && (!state.enter_mode || patient) {
            return !state.enter_mode;
        }
        match proc::state(slot.tgid(), slot.tid()) {
            Ok('R') if *interrupted => false,
            Ok('R') => {
                *interrupted = ptrace::interrupt(slot.tid()).is_ok();
                state.enter_mode = *interrupted;
                !*interrupted
            }
            Ok('D') => !patient || *interrupted,
            _ => true,
        }
    }
}

/// Lets threads die that are in their exit stop. Nobody has their handles yet, and an exec
/// that holds up the attach may wait for them.
fn release_exits(attaching: &Attaching) {
    for tracee in &attaching.tracees {
        let mut state = tracee.slot().lock();
        if state.phase == Phase::Stopped(StopClass::Exit) {
            let action = Action::Resume(ResumeKind::Cont, None);
            tracee.slot().resume_locked(&mut state, action);
        }
    }
}

/// A thread's siblings must not be traced by another tracer thread of this process.
fn check_siblings(tgid: Tid, pid: Tid, own: Tid) -> Result<()> {
    let here = Tid::current_process();
    for sibling in proc::tasks(tgid).unwrap_or_default() {
        let Ok(status) = proc::status(sibling) else {
            continue;
        };
        let tracer = status.tracer;
        let ours = tracer.is_valid() && proc::status(tracer).is_ok_and(|t| t.tgid == here);
        if ours && tracer != own {
            return Err(Error::NotPermitted {
                pid,
                reason: Refusal::already_traced(tracer),
            });
        }
    }
    Ok(())
}

/// What can be said before anything is tried; gives the process.
fn check(plan: &AttachPlan, own: Tid) -> Result<Tid> {
    let pid = plan.pid;
    let status = proc::status(pid).map_err(|error| unread(pid, &error))?;
    let refusal = if status.tgid == Tid::current_process() {
        Some(Refusal::OwnProcess)
    } else if status.kernel_thread {
        Some(Refusal::KernelThread)
    } else if status.tracer == own {
        // The rest of a process of ours.
        None
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

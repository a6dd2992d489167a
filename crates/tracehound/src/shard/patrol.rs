//! Looking after tracees of which nothing is heard.
//!
//! A tracee's reports come by waitid(2), and some never do:
//!
//! - A host that waits for everything (`waitpid(-1)`) takes stops and deaths. A stop that
//!   was taken is found by a request that only a stopped tracee answers, and its siginfo
//!   tells which it was; of a death only the fact is left.
//! - A leader whose id another thread takes by an exec is released without a word. If that
//!   thread is not traced here, no event tells of it either.
//! - A leader that has ended before its other threads cannot stop, and so not be detached.
//!
//! So each tracee is looked at from time to time, ever less often while nothing is found:
//! two system calls of 0.2 µs each, for a bounded number of tracees at a time. And at once
//! when waitid says that there is no tracee left while some are believed alive.
//!
//! What was rejected: pidfds (a descriptor each, and an exec tells them nothing), reading
//! `/proc` (twenty times the cost), TRACEEXIT for everybody (a stop for each thread's end).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracehound_sys::wait::{self, OWN_TRACEES, Report, StopStatus, Target};
use tracehound_sys::wake::Alarm;
use tracehound_sys::{Errno, Tid, proc, ptrace};

use super::Local;
use crate::event::{Event, Replaced};
use crate::slot::{End, Phase, Slot};
use crate::spawner;

/// When something may need a look.
const SOON: Duration = Duration::from_millis(20);

/// The longest time between two rounds.
const SELDOM: Duration = Duration::from_secs(5);

/// How long an exec may take from the end of the other threads to its event, where it cannot be
/// told from a death whose report was taken: where the leader is a tracee, too.
const EXEC: Duration = Duration::from_secs(10);

/// How many tracees are looked at before reports are taken again.
const AT_ONCE: usize = 512;

/// How many turns of the loop pass between two looks at the clock, if none ends early.
const TURNS: u32 = 64;

#[derive(Default)]
pub(super) struct Patrol {
    alarm: RefCell<Option<Alarm>>,
    /// When the next look is due; nothing if there is nobody to look after.
    due: Cell<Option<Instant>>,
    /// The time until the look after that.
    pause: Cell<Duration>,
    turns: Cell<u32>,
    /// Who is still to be looked at in this round.
    round: RefCell<Vec<Tid>>,
    /// Something was found in this round.
    found: Cell<bool>,
    /// Threads that were not there at the last look, and since when.
    missing: RefCell<HashMap<Tid, Instant>>,
    /// The host was blamed for its waiting.
    blamed: Cell<bool>,
}

/// What a look at a tracee found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing new.
    Nothing,
    /// Something that would not have been reported, or not yet.
    Something,
}

/// What the kernel says of a tracee.
enum Answer {
    Nothing,
    Report(Report),
    /// It is in this stop, and the report of that was taken.
    Taken(StopStatus),
    /// There is none with this id.
    NoTracee,
}

impl Local {
    /// Gives the patrol the means to be woken.
    pub(super) fn equip_patrol(&self) {
        match Alarm::new(self.shard.interrupter().wake_signal()) {
            Ok(alarm) => drop(self.patrol.alarm.replace(Some(alarm))),
            // Then looks are made when something else wakes the thread.
            Err(errno) => tracing::warn!(%errno, "no timer: lost reports may go unnoticed"),
        }
    }

    /// Takes it away again: the alarm belongs to the thread.
    pub(super) fn dismiss_patrol(&self) {
        drop(self.patrol.alarm.take());
    }

    /// Makes sure that a look comes soon: there is somebody new, or somebody was asked to
    /// stop.
    pub(super) fn patrol_soon(&self) {
        let soon = Instant::now() + SOON;
        if self.patrol.due.get().is_none_or(|due| due > soon) {
            self.patrol.pause.set(SOON);
            self.schedule(SOON);
        }
    }

    fn schedule(&self, after: Duration) {
        self.patrol.due.set(Some(Instant::now() + after));
        if let Some(alarm) = &*self.patrol.alarm.borrow() {
            alarm.set(after);
        }
    }

    /// Looks at some tracees if it is time. Called in each turn of the loop; `early` says
    /// that something ended the wait that was no report.
    pub(super) fn patrol(&self, early: bool) {
        let Some(due) = self.patrol.due.get() else {
            return;
        };
        let turns = self.patrol.turns.get().wrapping_add(1);
        self.patrol.turns.set(turns);
        if (early || turns.is_multiple_of(TURNS)) && Instant::now() >= due {
            self.look_around();
        }
    }

    /// Looks at the next tracees of the round, and says when to look again.
    fn look_around(&self) {
        let mut round = self.patrol.round.take();
        if round.is_empty() {
            let tracees = self.tracees.borrow();
            round.extend(tracees.keys());
            let mut missing = self.patrol.missing.borrow_mut();
            missing.retain(|tid, _| tracees.contains_key(tid));
            round.extend(self.launches.tids());
        }
        for tid in round.drain(round.len().saturating_sub(AT_ONCE)..) {
            self.look_at_id(tid);
        }
        self.settle_orphans();
        let pause = if !round.is_empty() {
            SOON
        } else if self.patrol.found.take() {
            Duration::from_millis(1)
        } else {
            (2 * self.patrol.pause.get()).clamp(SOON, SELDOM)
        };
        let over = round.is_empty();
        self.patrol.round.replace(round);
        if over {
            self.patrol.pause.set(pause);
        }
        let nobody = self.tracees.borrow().is_empty() && self.launches.is_empty();
        if nobody && !self.births.has_early() {
            self.patrol.due.set(None);
            if let Some(alarm) = &*self.patrol.alarm.borrow() {
                alarm.set(Duration::ZERO);
            }
        } else {
            self.schedule(pause);
        }
    }

    /// There is no tracee, the kernel says: whoever is believed alive was lost.
    pub(super) fn look_at_all(&self) {
        let mut tids: Vec<Tid> = self.tracees.borrow().keys().copied().collect();
        tids.extend(self.launches.tids());
        // None of them is in the middle of an exec.
        let now = Instant::now();
        let missing = tids.iter().map(|tid| (*tid, now));
        self.patrol.missing.borrow_mut().extend(missing);
        for tid in tids {
            self.look_at_id(tid);
        }
    }

    fn look_at_id(&self, tid: Tid) {
        let found = match self.tracee(tid) {
            Some(slot) => self.look_at(&slot),
            None => self.look_at_launch(tid),
        };
        if found == Found::Something {
            self.patrol.found.set(true);
        }
    }

    fn look_at(&self, slot: &Arc<Slot>) -> Found {
        let tid = slot.tid();
        let silent = {
            let state = slot.lock();
            !state.queued && !matches!(state.phase, Phase::Stopped(_) | Phase::Ended(_))
        };
        match self.inquire(tid, silent) {
            Answer::Report(report) => self.report(report),
            Answer::NoTracee => return self.lost(slot),
            Answer::Taken(status) => {
                self.blame_host(tid, Some(status));
                self.stop_of(slot, status.kind());
                return Found::Something;
            }
            Answer::Nothing => {
                if slot.lock().detach && is_dead_leader(slot) {
                    self.let_go_of_dead_leader(slot);
                }
            }
        }
        self.patrol.missing.borrow_mut().remove(&tid);
        Found::Nothing
    }

    /// Asks the kernel for a tracee's report; if it is `silent`, also for a stop whose report
    /// was taken.
    fn inquire(&self, tid: Tid, silent: bool) -> Answer {
        // In this order: a stop that comes after the first question is reported later.
        let ask = || {
            let stop = silent.then(|| ptrace::stop_status(tid).ok()).flatten();
            let target = Target::One(tid);
            match wait::poll_with_usage(target, OWN_TRACEES, self.shard.usage()) {
                Ok(Some(report)) => Answer::Report(report),
                Err(Errno::ECHILD) => Answer::NoTracee,
                _ => stop.map_or(Answer::Nothing, Answer::Taken),
            }
        };
        match ask() {
            // Or it was killed between the two questions, which took the report with the stop.
            // That happens only once.
            Answer::Taken(_) => ask(),
            answer => answer,
        }
    }

    /// A look at a process before its exec.
    fn look_at_launch(&self, tid: Tid) -> Found {
        if !self.launches.tids().contains(&tid) {
            return Found::Nothing;
        }
        match self.inquire(tid, true) {
            Answer::Report(report) => self.report(report),
            Answer::NoTracee => {
                self.blame_host(tid, None);
                self.launch_dead(tid);
            }
            Answer::Taken(status) => {
                self.blame_host(tid, Some(status));
                self.stopped(tid, status);
                return Found::Something;
            }
            Answer::Nothing => {}
        }
        Found::Nothing
    }

    /// A tracee that is none any more, and whose end was not reported.
    fn lost(&self, slot: &Arc<Slot>) -> Found {
        let tid = slot.tid();
        let event = match proc::status(tid) {
            Ok(status) if status.tracer == self.shard.thread() => return Found::Nothing,
            Ok(status) if status.tgid == tid => Event::Replaced(Replaced { by: None }),
            _ if self.may_be_in_exec(slot) => return Found::Nothing,
            // It was replaced, and its process has ended since.
            _ if self.has_ended_untraced(tid) => Event::Replaced(Replaced { by: None }),
            _ => Event::Lost,
        };
        self.patrol.missing.borrow_mut().remove(&tid);
        self.remove(tid);
        if matches!(event, Event::Lost) {
            self.blame_host(tid, None);
            if let Some(child) = self.take_child(tid) {
                child.lost();
            }
        } else {
            // The process lives on, untraced.
            self.leave_child(tid);
        }
        self.note_bereaved(slot);
        slot.end(End::Dead, event);
        self.settle_orphans();
        Found::Something
    }

    /// Whether a thread that is not there may have given up its own id for that of its process:
    /// in an exec it does before the event that says so, which takes as long as memory and disk
    /// do.
    fn may_be_in_exec(&self, slot: &Slot) -> bool {
        let (tid, tgid) = (slot.tid(), slot.tgid());
        let mut missing = self.patrol.missing.borrow_mut();
        let is_new = !missing.contains_key(&tid);
        let since = *missing.entry(tid).or_insert_with(Instant::now);
        drop(missing);
        let is_alone = |status: &proc::Status| {
            tgid != tid && status.threads == 1 && status.tracer == self.shard.thread()
        };
        match proc::status(tgid) {
            // It is the leader now, or the leader was a tracee before. The latter is not known
            // until the event comes.
            Ok(status) if is_alone(&status) => {
                self.tracee(tgid).is_none() || since.elapsed() < EXEC
            }
            // The exec may have come to that in between.
            _ => is_new,
        }
    }

    /// The leader of a process whose other threads live cannot be detached. For its user it
    /// is: what the kernel still has of it, it reports when the others have ended.
    pub(super) fn let_go_of_dead_leader(&self, slot: &Slot) {
        let tid = slot.tid();
        self.leave_child(tid);
        self.remove(tid);
        slot.end(self.end_of_detach(), Event::Detached);
    }

    /// A child that this process made goes on without being traced: the spawner awaits it.
    fn leave_child(&self, pid: Tid) {
        if let Some(child) = self.take_child(pid) {
            self.keep_child(child, spawner::open_pidfd(pid));
        }
    }

    /// Tells that this report, of a stop or of the end, was taken.
    fn blame_host(&self, tid: Tid, report: Option<StopStatus>) {
        self.shard.counters().lost.add_one();
        let report = report.map_or("its end".into(), |stop| format!("{:?}", stop.kind()));
        if self.patrol.blamed.replace(true) {
            tracing::debug!(%tid, report, "a report was taken by a wait elsewhere in this process");
            return;
        }
        tracing::error!(
            %tid,
            report,
            "a report was taken by a wait elsewhere in this process: somebody waits for \
             everything (wait, waitpid(-1)) or for a child that is traced"
        );
    }
}

/// Whether this is a leader that has ended while other threads of its process live.
pub(super) fn is_dead_leader(slot: &Slot) -> bool {
    let tid = slot.tid();
    slot.tgid() == tid && proc::state(tid, tid).is_ok_and(|state| matches!(state, 'Z' | 'X'))
}

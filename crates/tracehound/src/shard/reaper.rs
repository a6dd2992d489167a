//! The tracer thread's loop: look for stops, turn them into events, run what they woke.
//!
//! A blocking `waitid(P_ALL)` for each stop is what every simple tracer does. It sleeps at
//! each stop, walks all tracees, and always gives those at the head of the kernel's list
//! their turn first. This loop does so only when nothing else is left to do:
//!
//! 1. *Rotate*: ask those that were resumed lately, one by one ([`super::rotation`]), and run
//!    the tasks that this woke. With one tracee this is one system call for each stop, as in
//!    the simple loop, and no sleep.
//! 2. *Look at everybody* from time to time, without waiting: the bound on the delay of any
//!    stop, and the net for those that the rotation does not know.
//! 3. *Yield*: nothing has stopped. See [`crate::pace`].
//! 4. *Sleep* in the interruptible `waitid(P_ALL)`, which walks all tracees before it sleeps
//!    and after. So where one of a crowd is hot, first in `waitid(P_PID)` for that one, until
//!    an alarm says that it is time to look at everybody.
//!
//! Where the time of this thread goes with one pinned task that looks at each system call, its
//! tracee on the same CPU (`perf record -e cpu-clock`, Linux 6.18, x86_64; a stop takes 2 to 3 µs,
//! of which the switches and the tracee's own half are the larger part):
//!
//! | | |
//! |---|---|
//! | ptrace(2), two requests: what the stop is about, the resume | 32 % |
//! | waitid(2), one for each stop | 18 % |
//! | switching to the tracee, in the kernel | 23 % |
//! | the C library's system calls | 6 % |
//! | tracehound: decoding, the slot, the rotation, the wake; no function over 2 % | 16 % |
//! | tokio: `LocalSet`, the task's states | 5 % |
//!
//! That was without bursts ([`super::burst`]). With them the last two lines are about 1,200
//! instructions instead of 2,300: `cargo bench --bench instructions` counts them. `perf record -e cpu-clock -g taskset -c 0 …` on `cargo bench --bench stops -- pinned`
//! repeats it.
//!
//! `__WALL` and a thread of its own were rejected; see [`super`]. Draining everything with
//! `P_ALL` before anything is resumed was the loop before: fair, but a walk of the list for
//! each stop.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracehound_sys::Tid;
use tracehound_sys::wait::{self, OWN_TRACEES, Report, Target};
use tracehound_sys::wake::{Bound, Waited};

use super::rotation::Asked;
use super::{Local, Shard, attach};
use crate::event::Event;
use crate::let_go::LetGo;
use crate::pace::{LOOKS, Patience};
use crate::slot::{End, Slot};
use crate::spawner;

/// How long the end of the thread waits for tracees that cannot stop: a vfork parent, a
/// frozen cgroup. They are let go by the kernel when the thread ends.
const LAST_CALL: Duration = Duration::from_secs(1);

/// What a turn of that counts at most: the machine may stand still for longer.
const TURN: Duration = Duration::from_millis(20);

/// In the end, how many reports more than there are tracees are taken at once: births and
/// deaths come on top of one stop each.
const MARGIN: usize = 64;

/// How many reports a look at everybody takes: each is a walk of the list.
const AT_ONCE: usize = 32;

/// The time between two looks at everybody: at least; at most; and at most when those before
/// found nobody. Where the kernel's list is not in the caches, as among thousands of idle
/// tracees, a walk takes 50 to 150 ns for each.
const LOOK: Duration = Duration::from_micros(50);
const LOOK_AT_MOST: Duration = Duration::from_micros(800);
const QUIET_LOOK_AT_MOST: Duration = Duration::from_millis(10);

/// A look takes no more than this part of the time, where that keeps the bound.
const LOOK_SHARE: u32 = 20;

/// How often in a row the time doubles while looks find nobody.
const QUIET: u32 = 4;

/// How many rounds in which something was found pass between two looks at the clock.
const ROUNDS: usize = 8;

/// How much longer the thread looks before it sleeps for each tracee that it has: sleeping
/// and waking walks them all.
const LOOKS_PER_TRACEE: Duration = Duration::from_nanos(40);

/// From how many tracees on one that is hot is slept for alone: from there a walk costs more
/// than setting the alarm.
const CROWD: usize = 100;

/// When everybody is looked at.
struct Looks {
    next: Instant,
    pause: Duration,
    rounds: usize,
    /// How many in a row have found nobody but those that the rotation asks.
    quiet: u32,
}

/// What the loop keeps from turn to turn.
struct Turns {
    looks: Looks,
    patience: Patience,
    /// The last sleep was for one of a crowd, and in vain.
    waited_for_one: bool,
}

/// What the thread does until the tracer is shut down.
pub(super) fn run(shard: &Arc<Shard>) {
    let bound = shard.interrupter().bind();
    let local = Local::install(Arc::clone(shard));
    local.equip_patrol();
    let mut turns = Turns {
        looks: Looks::new(),
        patience: Patience::default(),
        waited_for_one: false,
    };
    while !local.closing.get() {
        if attend(&local) {
            turns.patience.rewarded();
        }
        local.tasks.poll();
        if !local.attaches.is_empty() {
            local.advance_attaches();
        }
        let early = turns.take_reports(&local, &bound);
        local.patrol(early);
    }
    wind_up(&local, &bound);
    local.dismiss_patrol();
    Local::uninstall();
}

/// Does what other threads have asked for, if they have.
fn attend(local: &Local) -> bool {
    let asked = local.shard.interrupter().acknowledge();
    if asked {
        local.shard.counters().wakes.add_one();
        local.run_ops();
        local.poll_launches();
    }
    asked
}

impl Turns {
    /// Takes what has come, and sleeps if that is nothing. Gives whether something else
    /// than a report ended a sleep.
    fn take_reports(&mut self, local: &Local, bound: &Bound<'_>) -> bool {
        if self.may_sleep_at_once(local) {
            return self.sleep_now(local, bound);
        }
        let burst = local.bursts.take();
        let mut found = match local.rotate(burst) {
            Asked::Found(found) => found,
            Asked::Nobody => 0,
            Asked::LetRun => {
                local.shard.yields().let_run();
                return false;
            }
        };
        if self.looks.is_due(local, found, burst) {
            found += self.looks.look(local);
        }
        if found > 0 {
            self.patience.rewarded();
            return false;
        }
        if is_busy(local) {
            return false;
        }
        if local.has_unsettled() {
            // First stops that nobody has named, and the names did not come.
            local.settle_orphans();
            return false;
        }
        let limit = LOOKS + LOOKS_PER_TRACEE * u32::try_from(local.shard.load()).unwrap_or(0);
        let somebody = local.rotation.len() > 0;
        if somebody && self.patience.goes_on(local.shard.yields(), limit) {
            return false;
        }
        self.patience.gave_up();
        self.sleep_now(local, bound)
    }

    /// Whether there is one tracee, and looking for its stops was in vain lately: the sleep
    /// asks for them, too.
    fn may_sleep_at_once(&self, local: &Local) -> bool {
        !self.patience.is_worthwhile()
            && local.shard.load() == 1
            && local.has_no_arrivals()
            && !is_busy(local)
    }

    /// Sleeps. Gives whether something else than a report ended that.
    fn sleep_now(&mut self, local: &Local, bound: &Bound<'_>) -> bool {
        let reported = self.sleep(local, bound);
        if reported {
            self.patience.rewarded();
        }
        !reported
    }
}

impl Turns {
    /// Sleeps until there is a report, or something else. Gives whether it was a report.
    fn sleep(&mut self, local: &Local, bound: &Bound<'_>) -> bool {
        let crowd = local.shard.load() > CROWD && local.attaches.is_empty();
        let one = match crowd && !self.waited_for_one {
            true => local.rotation.only_one(),
            false => None,
        };
        self.waited_for_one = false;
        if let Some((tid, alarm)) = one.zip(local.alarm().ok()) {
            let _ringing = alarm.ring_every(LOOK_AT_MOST);
            if let Ok(Waited::Report(report)) = bound.wait(Target::One(tid), local.shard.usage()) {
                local.report(report);
                return true;
            }
            // Everybody is looked at now, and slept for if that is in vain.
            self.looks.hurry();
            self.waited_for_one = true;
            return false;
        }
        local.rotation.rest();
        sleep(local, bound)
    }
}

/// Whether there is something to do before the thread may sleep.
fn is_busy(local: &Local) -> bool {
    local.tasks.ready() || local.closing.get() || local.shard.interrupter().is_pending()
}

impl Looks {
    fn new() -> Self {
        Looks {
            next: Instant::now(),
            pause: LOOK,
            rounds: 0,
            quiet: 0,
        }
    }

    /// Whether somebody may have stopped whom the rotation does not ask, and it is time.
    fn is_due(&mut self, local: &Local, found: usize, burst: usize) -> bool {
        if local.has_unsettled() {
            return true;
        }
        // Whoever is alone is in the rotation, or the thread is about to sleep.
        if local.rotation.len() >= local.shard.load() && local.has_no_arrivals() {
            return false;
        }
        self.rounds += 1 + burst;
        if found > 0 && self.rounds < ROUNDS {
            return false;
        }
        self.rounds = 0;
        // Rather when those that are hot have just reported: a look that finds one of them
        // walks the list once more.
        let late = if found > 0 {
            Duration::ZERO
        } else {
            self.pause / 4
        };
        Instant::now() >= self.next + late
    }

    /// The next turn looks.
    fn hurry(&mut self) {
        let now = Instant::now();
        self.next = now.checked_sub(self.pause).unwrap_or(now);
    }

    /// Takes what a look at everybody finds.
    fn look(&mut self, local: &Local) -> usize {
        let start = Instant::now();
        let mut others = false;
        let taken = take_some(local, AT_ONCE, |report| {
            let slot = local.tracee(report.tid).filter(|slot| slot.place.is_hot());
            others |= slot.is_none();
            if let Some(slot) = slot {
                local.rotation.found_early(&slot);
            }
        });
        let end = Instant::now();
        let walk = end.saturating_duration_since(start) / u32::try_from(taken + 1).unwrap_or(1);
        self.quiet = if others {
            0
        } else {
            (self.quiet + 1).min(QUIET)
        };
        self.pause = pause_after(walk, self.quiet);
        self.next = end + self.pause;
        taken
    }
}

/// The time until the next look, after one that took so long and some that found nobody.
fn pause_after(walk: Duration, quiet: u32) -> Duration {
    let cheap = (LOOK_SHARE * walk).max(LOOK);
    let bound = LOOK_AT_MOST.max(4 * walk);
    let quiet_bound = (bound * (1 << quiet)).min(QUIET_LOOK_AT_MOST);
    cheap.min(quiet_bound.max(bound))
}

/// Sleeps until there is a report, or something else. Gives whether it was a report, which
/// is taken.
fn sleep(local: &Local, bound: &Bound<'_>) -> bool {
    // An attach that something holds up is tried again after a while.
    let again = (!local.attaches.is_empty()).then(|| local.alarm().ok());
    let _ringing = again.flatten().map(|alarm| alarm.ring_every(attach::TRY));
    match bound.wait(Target::All, local.shard.usage()) {
        Ok(Waited::Report(report)) => {
            local.report(report);
            return true;
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
    false
}

/// Takes what has come, without waiting, but no more than this; gives how much it was.
pub(super) fn take_some(local: &Local, most: usize, mut see: impl FnMut(&Report)) -> usize {
    for taken in 0..most {
        match wait::poll_with_usage(Target::All, OWN_TRACEES, local.shard.usage()) {
            Ok(Some(report)) => {
                see(&report);
                local.report(report);
            }
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
        local.release(slot);
    }
    let mut left = LAST_CALL;
    let mut before = Instant::now();
    while !local.is_over() && !left.is_zero() {
        attend(local);
        if take_some(local, local.shard.load() + MARGIN, |_| {}) == 0 {
            local.settle_orphans();
            // Nothing tells of a stop but a wait without a limit.
            bound.sleep(Some(Duration::from_millis(1)));
            local.patrol(true);
        } else if local.kills_all() {
            // They die, and what they had made just before is met only then.
            left = LAST_CALL;
        }
        // While this thread itself could not run, nor could they, perhaps.
        let now = Instant::now();
        left = left.saturating_sub((now - before).min(TURN));
        before = now;
    }
    if local.kills_all() && !local.is_over() {
        local.kill_the_unmet();
    }
    local.pass_unstopped();
    let is_left = |_: &Tid, slot: &mut Arc<Slot>| !slot.is_passed();
    let left: Vec<_> = local.tracees.borrow_mut().extract_if(is_left).collect();
    for (_, slot) in left {
        tracing::warn!(tid = %slot.tid(), "did not stop: let go by the end of the tracer thread");
        slot.end(End::Shutdown, Event::Detached);
    }
    for (pid, child) in local.take_untraced_children() {
        spawner::keep(child, spawner::open_pidfd(pid));
    }
    // What came too late finds everything ended, and says so.
    for op in local.shard.close() {
        local.run_op(op);
    }
    local.keep_passing(bound);
}

impl Local {
    /// Nobody is on the way to being a tracee.
    fn has_no_arrivals(&self) -> bool {
        self.launches.is_empty() && self.attaches.is_empty() && !self.births.has_early()
    }

    fn is_idle(&self) -> bool {
        let tracees = self.tracees.borrow();
        tracees.values().all(|slot| slot.is_passed()) && self.launches.is_empty()
    }

    /// Whether everything has been let go. Where all are killed, a child of one of them may
    /// have been made just before: it would run on if the thread ended before its first stop.
    fn is_over(&self) -> bool {
        let all_told = || match self.letting_go.get() {
            LetGo::Detach => true,
            // Of those that are let through their stops some are always left.
            LetGo::Kill => !self.tracees.borrow().is_empty() || !wait::has_tracees(),
        };
        self.is_idle() && !self.births.has_early() && all_told()
    }

    /// Makes the thread end when it comes to it.
    pub(crate) fn close(&self, how: Option<LetGo>) {
        if let Some(how) = how.filter(|_| !self.closing.get()) {
            self.letting_go.set(how);
        }
        self.closing.set(true);
    }
}

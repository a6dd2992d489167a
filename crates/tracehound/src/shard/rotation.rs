//! Whose stop is looked for first.
//!
//! `waitid(P_ALL)` walks all tracees, 8 to 20 ns each, and begins at the head of the list:
//! its cost grows with the crowd, and whoever is near the head has every turn.
//! `waitid(P_PID)` costs the same for any number. So the tracees that were resumed lately
//! (they are *hot*) are asked one by one, in rotation.
//!
//! As long as most of them have stopped when they are asked, each has its turn after all
//! others, which is fair. Where questions in vain outnumber the stops, whoever was asked in
//! vain is skipped for 1, 2, 4, … rounds, and then is *cold*. The cold ones are left to the
//! looks at everybody (see [`super::reaper`]), and to few questions in proportion to the
//! stops: in a busy crowd a look finds none but those at the head. So one that computes or
//! sleeps costs next to nothing. Whoever a look finds before its turn misses that turn.
//!
//! Skipping without the condition starved those of a busy crowd that the scheduler had let
//! wait, and so did looks that were not counted as turns: a third of the others' progress,
//! for 200 on one CPU.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tracehound_sys::Tid;
use tracehound_sys::wait::{self, OWN_TRACEES, Target};

use super::Local;
use crate::slot::{Phase, Slot};

/// How many hot tracees are asked before tasks run again.
const ASKED: usize = 32;

/// How many entries are looked at for that.
const SEEN: usize = 4 * ASKED;

/// An entry that would be skipped for longer is cold.
const LONGEST: u32 = 256;

/// Questions in vain that a stop pays for, how many must be paid for again before nobody is
/// skipped, and the most that is saved up.
const PAID: u32 = 2;
const ENOUGH: u32 = 64;
const SAVED: u32 = 512;

/// How many stops pay for a question to a cold tracee.
const COLD_PRICE: usize = 4;

/// More entries than this are all cold when the thread sleeps: none of them has stopped.
const KEPT_HOT: usize = 64;

/// Where a tracee is in the rotation. Only the tracer thread uses it.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// [`NOWHERE`], [`HOT`], or the stamp of its entry among the cold.
    mark: AtomicU32,
    /// It had a turn before it was due.
    ahead: AtomicBool,
    /// For how many rounds it is skipped; none, if it was not asked since it was resumed.
    skip: AtomicU32,
}

const NOWHERE: u32 = 0;
const HOT: u32 = 1;

impl Place {
    pub(crate) fn is_hot(&self) -> bool {
        self.mark.load(Ordering::Relaxed) == HOT
    }

    /// It was resumed: it is asked in the next round.
    pub(crate) fn renew(&self) {
        self.skip.store(0, Ordering::Relaxed);
    }

    fn set(&self, mark: u32) {
        self.mark.store(mark, Ordering::Relaxed);
    }

    fn is(&self, mark: u32) -> bool {
        self.mark.load(Ordering::Relaxed) == mark
    }

    /// Whether it gives up this turn for one that it had.
    fn waits(&self) -> bool {
        let ahead = self.ahead.load(Ordering::Relaxed);
        self.ahead.store(false, Ordering::Relaxed);
        ahead
    }
}

/// A tracee that was resumed lately.
struct Hot {
    slot: Arc<Slot>,
    /// It is not asked before this round.
    round: u32,
}

/// One that has not stopped for long; nothing, if its slot has another mark.
struct Cold {
    slot: Arc<Slot>,
    stamp: u32,
}

#[derive(Default)]
pub(super) struct Rotation {
    hot: RefCell<Vec<Hot>>,
    /// Where the next round begins.
    cursor: Cell<usize>,
    round: Cell<u32>,
    /// How many questions in vain there may be before those that are slow are skipped.
    credit: Cell<u32>,
    /// They are skipped.
    strict: Cell<bool>,
    cold: RefCell<Vec<Cold>>,
    cold_cursor: Cell<usize>,
    /// Stops that have not paid for a question yet.
    unspent: Cell<usize>,
    stamp: Cell<u32>,
}

/// What became of an entry.
enum Visit {
    Skipped,
    InVain,
    Found,
    /// It is not to be asked any more for now.
    Cools,
    Over,
}

impl Rotation {
    /// A tracee that may stop soon, and is not hot.
    pub(super) fn add(&self, slot: &Arc<Slot>) {
        slot.place.set(HOT);
        self.hot.borrow_mut().push(Hot {
            slot: Arc::clone(slot),
            round: self.round.get(),
        });
    }

    /// A look has found it. Where all that are hot are asked in each round, that is no
    /// advantage.
    pub(super) fn found_early(&self, slot: &Slot) {
        if self.len() > ASKED && slot.place.is_hot() {
            slot.place.ahead.store(true, Ordering::Relaxed);
        }
    }

    /// How many are hot.
    pub(super) fn len(&self) -> usize {
        self.hot.borrow().len()
    }

    /// The only one that is hot, if there is one and it runs.
    pub(super) fn only_one(&self) -> Option<Tid> {
        let hot = self.hot.borrow();
        let [entry] = &hot[..] else {
            return None;
        };
        let runs = entry.slot.lock().phase == Phase::Running;
        runs.then(|| entry.slot.tid())
    }

    /// The thread sleeps: all were asked in vain.
    pub(super) fn rest(&self) {
        let mut hot = self.hot.borrow_mut();
        if hot.len() > KEPT_HOT {
            for entry in hot.drain(..) {
                self.cool(entry.slot);
            }
        }
    }

    /// Nobody is asked any more.
    pub(super) fn clear(&self) {
        let hot = self.hot.take();
        hot.iter().for_each(|entry| entry.slot.place.set(NOWHERE));
        let cold = self.cold.take();
        cold.iter().for_each(|entry| entry.slot.place.set(NOWHERE));
    }

    fn cool(&self, slot: Arc<Slot>) {
        let mut cold = self.cold.borrow_mut();
        // Doubled in between: the cost is shared out.
        if cold.len() >= KEPT_HOT && cold.len().is_power_of_two() {
            cold.retain(|entry| entry.slot.place.is(entry.stamp));
        }
        let stamp = self.stamp.get().max(HOT).wrapping_add(1).max(HOT + 1);
        self.stamp.set(stamp);
        slot.place.set(stamp);
        cold.push(Cold { slot, stamp });
    }

    /// A round in which nobody had stopped costs nothing: there was nothing else to do.
    fn account(&self, in_vain: usize, found: usize) {
        let count = |number| u32::try_from(number).unwrap_or(SAVED);
        let credit = (self.credit.get() + PAID * count(found)).min(SAVED);
        let credit = credit.saturating_sub(count(in_vain));
        self.credit.set(credit);
        if credit == 0 || credit >= ENOUGH {
            self.strict.set(credit == 0);
        }
    }

    /// The next cold tracee, as long as there is one and it is paid for.
    fn next_cold(&self) -> Option<Arc<Slot>> {
        let mut cold = self.cold.borrow_mut();
        let paid = self.unspent.get().checked_sub(COLD_PRICE)?;
        let mut at = self.cold_cursor.get();
        if at >= cold.len() {
            at = 0;
        }
        let entry = cold.get(at)?;
        self.unspent.set(paid);
        if !entry.slot.place.is(entry.stamp) {
            cold.swap_remove(at);
            return None;
        }
        self.cold_cursor.set(at + 1);
        Some(Arc::clone(&entry.slot))
    }
}

impl Local {
    /// Asks some of those who were resumed lately; gives how many had stopped.
    pub(super) fn rotate(&self) -> usize {
        let rotation = &self.rotation;
        // Taken out: wakers run meanwhile, which may resume tracees.
        let mut hot = rotation.hot.take();
        let round = rotation.round.get();
        let strict = rotation.strict.get();
        let (mut asked, mut found) = (0, 0);
        let mut at = rotation.cursor.get();
        for _ in 0..hot.len().min(SEEN) {
            if at >= hot.len() {
                at = 0;
            }
            let Some(entry) = hot.get_mut(at) else {
                break;
            };
            let visit = self.visit(entry, round, strict);
            asked += usize::from(matches!(visit, Visit::InVain | Visit::Found));
            match visit {
                Visit::Skipped | Visit::InVain => at += 1,
                Visit::Found => {
                    found += 1;
                    at += 1;
                }
                Visit::Cools => rotation.cool(hot.swap_remove(at).slot),
                Visit::Over => hot.swap_remove(at).slot.place.set(NOWHERE),
            }
            if asked == ASKED {
                break;
            }
        }
        rotation.cursor.set(at);
        if found > 0 {
            rotation.account(asked - found, found);
        }
        if found > 0 || asked == 0 {
            rotation.round.set(round.wrapping_add(1));
        }
        hot.append(&mut rotation.hot.borrow_mut());
        rotation.hot.replace(hot);
        if found > 0 {
            found += self.ask_the_cold(found);
        }
        found
    }

    fn visit(&self, entry: &mut Hot, round: u32, strict: bool) -> Visit {
        let skip = entry.slot.place.skip.load(Ordering::Relaxed);
        // Rounds wrap around.
        if strict && skip > 0 && entry.round.wrapping_sub(round).cast_signed() > 0 {
            return Visit::Skipped;
        }
        let phase = entry.slot.lock().phase;
        let asks = match phase {
            Phase::Running | Phase::Dying => true,
            // Held, or in a group-stop.
            Phase::Stopped(_) | Phase::Listening => false,
            Phase::Ended(_) => return Visit::Over,
        };
        if asks && entry.slot.place.waits() {
            return Visit::Skipped;
        }
        if asks && self.ask(&entry.slot) {
            return Visit::Found;
        }
        if strict {
            let skip = (2 * skip).max(1);
            entry.slot.place.skip.store(skip, Ordering::Relaxed);
            entry.round = round.wrapping_add(skip);
            if skip > LONGEST {
                return if asks { Visit::Cools } else { Visit::Over };
            }
        }
        if asks { Visit::InVain } else { Visit::Skipped }
    }

    /// Takes what a tracee has to report, if it has.
    fn ask(&self, slot: &Arc<Slot>) -> bool {
        let target = Target::One(slot.tid());
        match wait::poll_with_usage(target, OWN_TRACEES, self.shard.usage()) {
            Ok(Some(report)) => {
                self.report_of(slot, report);
                true
            }
            _ => false,
        }
    }

    fn ask_the_cold(&self, stops: usize) -> usize {
        let unspent = self.rotation.unspent.get() + stops;
        self.rotation.unspent.set(unspent.min(ASKED * COLD_PRICE));
        let mut found = 0;
        while let Some(slot) = self.rotation.next_cold() {
            let phase = slot.lock().phase;
            match phase {
                Phase::Running | Phase::Dying => found += usize::from(self.ask(&slot)),
                // Its entry is dropped when it is met again.
                _ => slot.place.set(NOWHERE),
            }
        }
        found
    }
}

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
//! In a crowd, a *squad* of two neighbours has several turns in a row before the next one has.
//! Each tracee still has as many turns as any other; but what a squad needs, in the kernel and
//! here, is in the caches for all but the first of them. On one CPU a bare loop that asks 200
//! busy processes one after the other takes 1.2 times as long as the unfair one that
//! `waitid(P_ALL)` makes; this one took 1.45 times as long without squads, 1.4 with squads of 8
//! for 6 turns, and 1.17 with squads of 2 for 12. The price is delay: whoever has had its turns waits for those of
//! all others. Still, a slice of 10 turns is shorter than any scheduler's. A squad that was
//! resumed and has not stopped is let run once, since the next one would only queue up with it.
//! Where that is in vain, as on two CPUs, all are asked in turn for a while.
//!
//! Outside of crowds each that has stopped is granted some stops more, which do not come by here:
//! its task asks for them by itself ([`super::burst`]). Among 200 busy ones that made the rate
//! 1.1 times higher, but the slowest fell to 0.8 of the fastest.
//!
//! Skipping without the condition starved those of a busy crowd that the scheduler had let
//! wait, and so did looks that were not counted as turns: a third of the others' progress,
//! for 200 on one CPU.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tracehound_sys::Tid;
use tracehound_sys::wait::{self, OWN_TRACEES, Target};

use super::{Local, burst};
use crate::slot::{Phase, Slot};

/// How many hot tracees are asked before tasks run again.
const ASKED: usize = 32;

/// More hot tracees than [`ASKED`] are asked in squads of so many, and have so many turns.
const SQUAD: usize = 2;
const TURNS: u32 = 10;

/// For how many rounds there are no squads when it was in vain to let one run.
const WITHOUT_SQUADS: u32 = 32;

/// How many entries are looked at before tasks run again.
const SEEN: usize = 4 * ASKED;

/// An entry that would be skipped for longer is cold.
const LONGEST: u32 = 256;

/// Questions in vain that a stop pays for, how many must be paid for again before nobody is
/// skipped, and the most that is saved up.
const PAID: u32 = 2;
const ENOUGH: u32 = 64;
const SAVED: u32 = 512;

/// How many stops pay for a question to a cold tracee: at first, and when many were in vain.
/// Thousands of idle ones are in nobody's caches: a question takes as long as half a stop.
const COLD_PRICE: usize = 4;
const COLD_PRICE_AT_MOST: usize = 64;

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
    /// How many stops it may have without being asked here.
    granted: AtomicU32,
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

    /// Takes one of the stops that it was granted, if there is one.
    pub(crate) fn spend(&self) -> bool {
        let granted = self.granted.load(Ordering::Relaxed);
        self.granted
            .store(granted.saturating_sub(1), Ordering::Relaxed);
        granted > 0
    }

    /// Grants it so many.
    fn grant(&self, stops: u32) {
        self.granted.store(stops, Ordering::Relaxed);
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
    /// The squad that it was in last, and how many turns it had then.
    squad: u32,
    turns: u32,
}

impl Hot {
    fn new(slot: Arc<Slot>, round: u32, squad: u32) -> Self {
        Hot {
            slot,
            round,
            squad,
            turns: 0,
        }
    }

    /// Whether it has had its turns in this squad.
    fn is_done(&mut self, squad: u32) -> bool {
        if self.squad != squad {
            self.squad = squad;
            self.turns = 0;
        }
        self.turns >= TURNS
    }

    /// It has a turn, and may have so many stops more at once.
    fn has_turn(&mut self, grant: u32) {
        self.turns = self.turns.saturating_add(1);
        self.slot.place.grant(grant);
    }
}

/// One that has not stopped for long; nothing, if its slot has another mark.
struct Cold {
    slot: Arc<Slot>,
    stamp: u32,
}

#[derive(Default)]
pub(super) struct Rotation {
    hot: RefCell<Vec<Hot>>,
    /// Where the present squad begins.
    cursor: Cell<usize>,
    /// Its number.
    squad: Cell<u32>,
    /// Some of it had stopped the last time it was asked: they were resumed since, and should
    /// run.
    resumed: Cell<bool>,
    /// It was let run.
    let_run: Cell<bool>,
    /// For how many rounds there are no squads.
    without_squads: Cell<u32>,
    round: Cell<u32>,
    /// How many questions in vain there may be before those that are slow are skipped.
    credit: Cell<u32>,
    /// They are skipped.
    strict: Cell<bool>,
    cold: RefCell<Vec<Cold>>,
    cold_cursor: Cell<usize>,
    /// Stops that have not paid for a question yet.
    unspent: Cell<usize>,
    /// How many pay for the next one, beyond the least.
    surcharge: Cell<usize>,
    stamp: Cell<u32>,
}

/// What asking those that are hot has come to.
pub(super) enum Asked {
    /// So many had stopped.
    Found(usize),
    /// Nobody had stopped, and those that were resumed last should have the CPU once, before
    /// others are asked.
    LetRun,
    /// Nobody had stopped.
    Nobody,
}

/// What asking one squad has come to.
#[derive(Default)]
struct Squad {
    seen: usize,
    asked: usize,
    found: usize,
    /// They have had their turns.
    done: usize,
    /// Where the next one begins.
    end: usize,
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
        let (round, squad) = (self.round.get(), self.squad.get());
        let entry = Hot::new(Arc::clone(slot), round, squad);
        self.hot.borrow_mut().push(entry);
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

    /// It is the next squad's turn.
    fn go_on(&self, begin: usize) {
        self.cursor.set(begin);
        self.squad.set(self.squad.get().wrapping_add(1));
        self.resumed.set(false);
    }

    /// Questions in vain become dear, those to some purpose cheap.
    fn set_surcharge(&self, found: bool) {
        let dearer = 2 * self.surcharge.get() + COLD_PRICE;
        let most = COLD_PRICE_AT_MOST - COLD_PRICE;
        self.surcharge.set(if found { 0 } else { dearer.min(most) });
    }

    /// The next cold tracee, as long as there is one and it is paid for.
    fn next_cold(&self) -> Option<Arc<Slot>> {
        let mut cold = self.cold.borrow_mut();
        let price = COLD_PRICE + self.surcharge.get();
        let paid = self.unspent.get().checked_sub(price)?;
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
    /// Asks some of those who were resumed lately. So many stops were found without since the
    /// last time.
    pub(super) fn rotate(&self, burst: usize) -> Asked {
        let rotation = &self.rotation;
        // Taken out: wakers run meanwhile, which may resume tracees.
        let mut hot = rotation.hot.take();
        let mut result = self.ask_squads(&mut hot);
        hot.append(&mut rotation.hot.borrow_mut());
        rotation.hot.replace(hot);
        if let Asked::Found(found) = &mut result {
            *found += self.ask_the_cold(*found + burst);
        }
        result
    }

    /// Asks one squad after the other until some of one have stopped.
    fn ask_squads(&self, hot: &mut Vec<Hot>) -> Asked {
        let rotation = &self.rotation;
        let crowd = hot.len() > ASKED && self.has_squads();
        let (mut seen, mut asked) = (0, 0);
        loop {
            let limit = SEEN.saturating_sub(seen).min(hot.len());
            let squad = self.ask_squad(hot, crowd, limit);
            seen += squad.seen;
            asked += squad.asked;
            if squad.found > 0 || squad.asked == 0 {
                rotation.round.set(rotation.round.get().wrapping_add(1));
            }
            if squad.found > 0 {
                rotation.account(asked - squad.found, squad.found);
                rotation.resumed.set(true);
                rotation.let_run.set(false);
                if !crowd || squad.done == SQUAD {
                    rotation.go_on(squad.end);
                }
                return Asked::Found(squad.found);
            }
            if crowd && squad.asked > 0 && rotation.resumed.take() {
                rotation.let_run.set(true);
                return Asked::LetRun;
            }
            if rotation.let_run.take() {
                rotation.without_squads.set(WITHOUT_SQUADS);
            }
            rotation.go_on(squad.end);
            if squad.seen == 0 || seen >= SEEN.min(hot.len()) {
                return Asked::Nobody;
            }
        }
    }

    /// Whether it is worth it that a squad has several turns in a row.
    fn has_squads(&self) -> bool {
        let rounds = self.rotation.without_squads.get();
        self.rotation.without_squads.set(rounds.saturating_sub(1));
        // Where nobody yields, nobody can be let run.
        rounds == 0 && self.shard.yields().are_cheap()
    }

    /// Asks those of the present squad, of no more than so many entries.
    fn ask_squad(&self, hot: &mut Vec<Hot>, crowd: bool, limit: usize) -> Squad {
        let rotation = &self.rotation;
        let (round, strict) = (rotation.round.get(), rotation.strict.get());
        let size = if crowd { SQUAD } else { ASKED };
        // In a crowd several turns in a row come by here: what they had besides would not be
        // counted.
        let share = burst::GRANTED / u32::try_from(hot.len().max(1)).unwrap_or(u32::MAX);
        let grant = if crowd { 0 } else { share };
        let mut squad = Squad::default();
        let mut at = rotation.cursor.get();
        while squad.seen < limit && squad.asked + squad.done < size {
            squad.seen += 1;
            if at >= hot.len() {
                at = 0;
            }
            let Some(entry) = hot.get_mut(at) else {
                break;
            };
            if crowd && entry.is_done(rotation.squad.get()) {
                squad.done += 1;
                at += 1;
                continue;
            }
            let visit = self.visit(entry, round, strict);
            squad.asked += usize::from(matches!(visit, Visit::InVain | Visit::Found));
            match visit {
                Visit::Skipped | Visit::InVain => at += 1,
                Visit::Found => {
                    entry.has_turn(grant);
                    squad.found += 1;
                    at += 1;
                }
                Visit::Cools => rotation.cool(hot.swap_remove(at).slot),
                Visit::Over => hot.swap_remove(at).slot.place.set(NOWHERE),
            }
        }
        squad.end = at;
        squad
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
    pub(super) fn ask(&self, slot: &Arc<Slot>) -> bool {
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
                Phase::Running | Phase::Dying => {
                    let stopped = self.ask(&slot);
                    found += usize::from(stopped);
                    self.rotation.set_surcharge(stopped);
                }
                // Its entry is dropped when it is met again.
                _ => slot.place.set(NOWHERE),
            }
        }
        found
    }
}

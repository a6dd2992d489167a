//! Whose stop is looked for first.
//!
//! `waitid(P_ALL)` walks all tracees, 8 to 20 ns each, and begins at the head of the list:
//! its cost grows with the crowd, and whoever is near the head has every turn.
//! `waitid(P_PID)` costs the same for any number. So the tracees that were resumed lately
//! are asked one by one, in rotation. One that was asked in vain while others stopped is
//! skipped for 1, 2, 4, … rounds, and then left to the looks at everybody (see
//! [`super::reaper`]) until it is resumed again. So one that computes or sleeps costs nothing.
//!
//! A queue for each tracee's turn was rejected: a busy tracee would be taken out and put
//! back at each stop.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tracehound_sys::wait::{self, OWN_TRACEES, Target};

use super::Local;
use crate::slot::{Phase, Slot};

/// How many tracees are asked before tasks run again.
const ASKED: usize = 32;

/// How many entries are looked at for that.
const SEEN: usize = 4 * ASKED;

/// An entry that would be skipped for longer is dropped.
const LONGEST: u32 = 256;

/// A tracee that was resumed lately.
struct Entry {
    slot: Arc<Slot>,
    /// It is not asked before this round.
    round: u32,
    /// For how many rounds it is skipped when asked in vain.
    skip: u32,
}

#[derive(Default)]
pub(super) struct Rotation {
    hot: RefCell<Vec<Entry>>,
    /// Where the next round begins.
    cursor: Cell<usize>,
    round: Cell<u32>,
    /// The last round found something: those that are slow are skipped.
    strict: Cell<bool>,
}

/// What became of an entry.
enum Visit {
    Skipped,
    InVain,
    Found,
    Over,
}

impl Rotation {
    /// A tracee that may stop soon. Its mark says that it was not there.
    pub(super) fn add(&self, slot: &Arc<Slot>) {
        self.hot.borrow_mut().push(Entry {
            slot: Arc::clone(slot),
            round: self.round.get(),
            skip: 1,
        });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.hot.borrow().len()
    }

    /// Nobody is left: they all were asked in vain, and the thread sleeps.
    pub(super) fn clear(&self) {
        let mut hot = self.hot.take();
        for entry in hot.drain(..) {
            entry.slot.leave_rotation();
        }
        // Keeps the allocation. Nothing was added: no foreign code ran.
        self.hot.replace(hot);
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
            match self.visit(entry, round, strict) {
                Visit::Skipped => at += 1,
                Visit::InVain => {
                    asked += 1;
                    at += 1;
                }
                Visit::Found => {
                    asked += 1;
                    found += 1;
                    at += 1;
                }
                Visit::Over => hot.swap_remove(at).slot.leave_rotation(),
            }
            if asked == ASKED {
                break;
            }
        }
        rotation.cursor.set(at);
        rotation.strict.set(found > 0);
        if found > 0 {
            rotation.round.set(round.wrapping_add(1));
        }
        hot.append(&mut rotation.hot.borrow_mut());
        rotation.hot.replace(hot);
        found
    }

    fn visit(&self, entry: &mut Entry, round: u32, strict: bool) -> Visit {
        // Rounds wrap around.
        if strict && entry.round.wrapping_sub(round).cast_signed() > 0 {
            return Visit::Skipped;
        }
        let asks = match entry.slot.lock().phase {
            Phase::Running | Phase::Dying => true,
            // Held; or it stays where it is until somebody continues it.
            Phase::Stopped(_) | Phase::Listening => false,
            Phase::Ended(_) => return Visit::Over,
        };
        let target = Target::One(entry.slot.tid());
        if asks
            && let Ok(Some(report)) = wait::poll_with_usage(target, OWN_TRACEES, self.shard.usage())
        {
            entry.round = round;
            entry.skip = 1;
            self.report_of(&entry.slot, report);
            return Visit::Found;
        }
        if strict {
            entry.round = round.wrapping_add(entry.skip);
            entry.skip *= 2;
            if entry.skip > LONGEST {
                return Visit::Over;
            }
        }
        if asks { Visit::InVain } else { Visit::Skipped }
    }
}

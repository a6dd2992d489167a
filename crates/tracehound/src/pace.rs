//! How long to look before sleeping.
//!
//! Most of what a hop between threads costs is sleeping: the wake-up of a thread, and on
//! another CPU that of the CPU. So whoever waits for something that mostly comes at once
//! first yields the CPU a few times and looks again. On one CPU the yield is what lets the
//! other side run; on two it bridges the few microseconds until the answer.
//!
//! Looking is not free, so there are two guards. Where it was in vain, as with a tracee
//! that computes, the next waits sleep at once, twice as many each time
//! ([`Patience`]). And beside a program that uses the CPU up, a yield costs a time slice,
//! hundreds of times the stop: each yield is timed, and after a long one nobody yields for a
//! while. Where the short ones in between have saved about as much as it cost, the while stays
//! short: something else wants the CPU now and then. Else it is eight times longer each time
//! ([`Yields`], shared by the tracer thread and the tasks).
//!
//! A spin without yielding was rejected: on one CPU it keeps away what it waits for.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Context;
use std::time::{Duration, Instant};

/// How long a wait looks before it sleeps.
pub(crate) const LOOKS: Duration = Duration::from_micros(50);

/// How often a task looks before the runtime's other tasks have their turn.
pub(crate) const LOOKS_AT_ONCE: u32 = 4;

/// A yield that takes longer gave the CPU to somebody who does not mean to give it back.
const LONG: Duration = Duration::from_micros(200);

/// For how long nobody yields after the first long one, and at most.
const FIRST_PENALTY: Duration = Duration::from_millis(2);
const LAST_PENALTY: Duration = Duration::from_secs(10);

/// How many times in a row it is longer.
const LONGER: u32 = 5;

/// So many short yields save about what a long one costs.
const REDEEMED: u32 = 256;

/// The most waits in a row that sleep at once, as a power of two.
const FUTILE: u32 = 8;

/// The yields of a tracer thread and of the tasks that wait for it.
pub(crate) struct Yields {
    began: Instant,
    /// Nobody yields before this time, in nanoseconds since the beginning.
    not_before: AtomicU64,
    /// How many long yields there were without enough short ones in between.
    long: AtomicU32,
    /// How many short ones there were since.
    short: AtomicU32,
}

impl Yields {
    pub(crate) fn new() -> Self {
        Yields {
            began: Instant::now(),
            not_before: AtomicU64::new(0),
            long: AtomicU32::new(0),
            short: AtomicU32::new(0),
        }
    }

    fn nanos(&self, time: Instant) -> u64 {
        let since = time.saturating_duration_since(self.began);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether none was too expensive lately.
    pub(crate) fn are_cheap(&self) -> bool {
        let not_before = self.not_before.load(Ordering::Relaxed);
        not_before == 0 || self.nanos(Instant::now()) >= not_before
    }

    /// Yields the CPU to those that were just resumed, unless that is too expensive.
    pub(crate) fn let_run(&self) {
        self.once(Instant::now());
    }

    /// Yields the CPU once, unless that was or is too expensive: `false`.
    fn once(&self, now: Instant) -> bool {
        let not_before = self.not_before.load(Ordering::Relaxed);
        if not_before != 0 && self.nanos(now) < not_before {
            return false;
        }
        std::thread::yield_now();
        let after = Instant::now();
        if after.saturating_duration_since(now) > LONG {
            self.penalize(after);
            return false;
        }
        self.short.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn penalize(&self, now: Instant) {
        let short = self.short.swap(0, Ordering::Relaxed);
        let times = match short >= REDEEMED {
            true => 0,
            false => self.long.load(Ordering::Relaxed).min(LONGER),
        };
        self.long.store(times + 1, Ordering::Relaxed);
        let penalty = (FIRST_PENALTY * 8_u32.pow(times)).min(LAST_PENALTY);
        self.not_before
            .store(self.nanos(now + penalty), Ordering::Relaxed);
    }
}

/// Whether one that waits again and again should look before it sleeps.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// When it began to look.
    since: Option<Instant>,
    /// How many times in a row it has slept in the end.
    futile: u32,
    /// How many waits from now on sleep at once.
    skip: u32,
}

impl Patience {
    /// Whether the present wait looks at all.
    pub(crate) fn is_worthwhile(&self) -> bool {
        self.since.is_some() || self.skip == 0
    }

    /// Nothing has come yet: yields, if that is worth it. `false` says that it is time to
    /// sleep.
    pub(crate) fn goes_on(&mut self, yields: &Yields, limit: Duration) -> bool {
        let now = Instant::now();
        self.looks(now, limit) && yields.once(now)
    }

    fn looks(&mut self, now: Instant, limit: Duration) -> bool {
        if !self.is_worthwhile() {
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(since) < limit
    }

    /// It came.
    pub(crate) fn rewarded(&mut self) {
        if self.since.take().is_some() {
            self.futile = 0;
        } else {
            self.skip = self.skip.saturating_sub(1);
        }
    }

    /// It sleeps now.
    pub(crate) fn gave_up(&mut self) {
        if self.since.take().is_some() {
            self.skip = 1 << self.futile;
            self.futile = (self.futile + 1).min(FUTILE);
        }
    }
}

/// Has the task polled again when others have had their turn.
pub(crate) fn come_again(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_in_vain_become_rare() {
        let now = Instant::now();
        let mut patience = Patience::default();
        let mut looked = 0;
        for _ in 0..10_000 {
            if patience.looks(now, LOOKS) {
                looked += 1;
                patience.gave_up();
            } else {
                patience.gave_up();
                patience.rewarded();
            }
        }
        assert!((8..60).contains(&looked), "{looked}");
        // One that is not in vain, and they are back.
        while !patience.looks(now, LOOKS) {
            patience.rewarded();
        }
        patience.rewarded();
        for _ in 0..100 {
            assert!(patience.looks(now, LOOKS));
            patience.rewarded();
        }
        // Nor does one wait look for ever.
        assert!(patience.looks(now, LOOKS));
        assert!(!patience.looks(now + LOOKS, LOOKS));
    }

    #[test]
    fn penalties_grow_and_are_forgotten() {
        let yields = Yields::new();
        let mut now = yields.began + Duration::from_secs(1);
        let mut expected = FIRST_PENALTY;
        for _ in 0..20 {
            yields.penalize(now);
            let end = yields.not_before.load(Ordering::Relaxed);
            assert_eq!(end, yields.nanos(now + expected));
            assert!(!yields.once(now + expected / 2));
            now += expected;
            expected = (8 * expected).min(LAST_PENALTY);
            // Some short ones make up for nothing.
            yields.short.fetch_add(REDEEMED - 1, Ordering::Relaxed);
        }
        yields.short.fetch_add(REDEEMED, Ordering::Relaxed);
        yields.penalize(now);
        let end = yields.not_before.load(Ordering::Relaxed);
        assert_eq!(end, yields.nanos(now + FIRST_PENALTY));
    }
}

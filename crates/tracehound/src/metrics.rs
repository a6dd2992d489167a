//! What a tracer has done: counts, for a host that watches over it.
//!
//! Each tracer thread counts for itself, and only it writes: a count is a load and a store,
//! not an atomic addition, which would cost more than all the rest of it. A snapshot adds up
//! the threads; its numbers are each exact, but not of the same instant.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracehound_sys::wait::StopKind;

/// A count that one thread writes.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// On the thread that writes it.
    pub(crate) fn add_one(&self) {
        self.0.store(self.get().wrapping_add(1), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one tracer thread counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    stops: [Counter; StopCounts::NAMES.len()],
    pub(crate) deaths: Counter,
    pub(crate) resumes: Counter,
    pub(crate) requests: Counter,
    pub(crate) wakes: Counter,
    pub(crate) unexplained: Counter,
    pub(crate) lost: Counter,
    pub(crate) over_limit: Counter,
    delays: [Counter; DelayHistogram::BUCKETS],
}

impl Counters {
    pub(crate) fn stop(&self, kind: StopKind) {
        if let Some(counter) = self.stops.get(place_of(kind)) {
            counter.add_one();
        }
    }

    pub(crate) fn delay(&self, delay: Duration) {
        if let Some(counter) = self.delays.get(DelayHistogram::bucket_of(delay)) {
            counter.add_one();
        }
    }

    /// Adds all this to a snapshot.
    pub(crate) fn add_to(&self, metrics: &mut Metrics) {
        for (sum, counter) in metrics.stops.counts.iter_mut().zip(&self.stops) {
            *sum += counter.get();
        }
        for (sum, counter) in metrics.queue_delay.counts.iter_mut().zip(&self.delays) {
            *sum += counter.get();
        }
        metrics.deaths += self.deaths.get();
        metrics.resumes += self.resumes.get();
        metrics.requests += self.requests.get();
        metrics.wakes += self.wakes.get();
        metrics.unexplained += self.unexplained.get();
        metrics.lost += self.lost.get();
        metrics.over_limit += self.over_limit.get();
    }
}

/// Where in [`StopCounts::NAMES`] a stop is counted.
fn place_of(kind: StopKind) -> usize {
    match kind {
        StopKind::Syscall => 0,
        StopKind::Signal(_) => 1,
        StopKind::Group(_) => 2,
        StopKind::Trap => 3,
        StopKind::Fork => 4,
        StopKind::Vfork => 5,
        StopKind::Clone => 6,
        StopKind::VforkDone => 7,
        StopKind::Exec => 8,
        StopKind::Exit => 9,
        StopKind::Seccomp => 10,
        // The kernel has a new one.
        _ => 11,
    }
}

/// What a tracer has done until now: [`Tracer::metrics`](crate::Tracer::metrics).
///
/// The counts go on from the start of the tracer and are never reset. They cannot be switched off:
/// together with the test whether anybody listens to a tracee's `tracing` span they make a stop
/// 0.6 % longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// The tracees that there are now, on all tracer threads.
    pub tracees: usize,
    /// The stops that the kernel reported.
    pub stops: StopCounts,
    /// The tracees whose death was reported.
    pub deaths: u64,
    /// The resumes, also those of streams that were asked for their next event.
    pub resumes: u64,
    /// The other requests that were made of held tracees.
    pub requests: u64,
    /// How often the tracer threads were interrupted to take what was queued elsewhere.
    pub wakes: u64,
    /// How long what was queued elsewhere waited for its tracer thread: the oldest of what was
    /// taken at once.
    pub queue_delay: DelayHistogram,
    /// The stops that could not be explained; they came as [`Event::Unknown`](crate::Event).
    pub unexplained: u64,
    /// The reports that somebody else in this process has taken by a wait of their own.
    pub lost: u64,
    /// The new tracees that were let go since there were as many as there
    /// [may be](crate::TracerBuilder::max_tracees).
    pub over_limit: u64,
}

/// Stops, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopCounts {
    counts: [u64; StopCounts::NAMES.len()],
}

impl StopCounts {
    const NAMES: [&'static str; 12] = [
        "syscall",
        "signal",
        "group",
        "trap",
        "fork",
        "vfork",
        "clone",
        "vfork_done",
        "exec",
        "exit",
        "seccomp",
        "unknown",
    ];

    /// The kinds of stop and how many there were of each, in an order that stays. `signal` has
    /// single steps and breakpoints, too, and `trap` first stops and answers to interrupts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::NAMES.into_iter().zip(self.counts)
    }

    /// How many there were of a kind, by its name.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, count)| count)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// How long something took, in ranges that double.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DelayHistogram {
    counts: [u64; DelayHistogram::BUCKETS],
}

impl DelayHistogram {
    /// The last is for everything from half a second on.
    const BUCKETS: usize = 21;

    /// The first that holds this: up to 1 µs, 2 µs, 4 µs and so on.
    fn bucket_of(delay: Duration) -> usize {
        let above = delay.as_nanos().saturating_sub(1) / 1_000;
        let bits = u128::BITS - above.leading_zeros();
        (bits as usize).min(Self::BUCKETS - 1)
    }

    /// The ranges, by what is in them at most, and how many there were in each. The last has no
    /// limit.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.counts.into_iter().enumerate().map(|(number, count)| {
            let limit = match number {
                last if last == Self::BUCKETS - 1 => Duration::MAX,
                number => Duration::from_micros(1 << number),
            };
            (limit, count)
        })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The limit of the range that has this share of all below or in it: 0.5 for the median.
    /// Nothing if there were none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = share.clamp(0.0, 1.0) * self.count() as f64;
        let mut seen = 0;
        self.buckets()
            .find(|(_, count)| {
                seen += count;
                seen > 0 && seen as f64 >= wanted
            })
            .map(|(limit, _)| limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracehound_sys::Signal;

    #[test]
    fn delays_are_in_the_range_that_holds_them() {
        let cases = [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (2_000, 1),
            (2_001, 2),
            (4_000, 2),
            (524_288_000, 19),
            (524_288_001, 20),
        ];
        for (nanos, bucket) in cases {
            assert_eq!(
                DelayHistogram::bucket_of(Duration::from_nanos(nanos)),
                bucket
            );
        }
        let last = DelayHistogram::BUCKETS - 1;
        assert_eq!(DelayHistogram::bucket_of(Duration::MAX), last);
        let counters = Counters::default();
        for nanos in [500, 1_500, 1_600, 900_000_000_000] {
            counters.delay(Duration::from_nanos(nanos));
        }
        let mut metrics = Metrics::default();
        counters.add_to(&mut metrics);
        let delay = metrics.queue_delay;
        assert_eq!(delay.count(), 4);
        assert_eq!(delay.quantile(0.0), Some(Duration::from_micros(1)));
        assert_eq!(delay.quantile(0.5), Some(Duration::from_micros(2)));
        assert_eq!(delay.quantile(1.0), Some(Duration::MAX));
        assert_eq!(DelayHistogram::default().quantile(0.5), None);
        // Each is in a range up to the limit that its number says.
        for (number, (limit, _)) in delay.buckets().enumerate().take(last) {
            assert_eq!(DelayHistogram::bucket_of(limit), number);
        }
    }

    #[test]
    fn every_kind_has_its_count() {
        use StopKind as S;
        let counters = Counters::default();
        let signal = Signal::SIGTRAP;
        let kinds = [
            (S::Syscall, "syscall"),
            (S::Signal(signal), "signal"),
            (S::Group(signal), "group"),
            (S::Trap, "trap"),
            (S::Fork, "fork"),
            (S::Vfork, "vfork"),
            (S::Clone, "clone"),
            (S::VforkDone, "vfork_done"),
            (S::Exec, "exec"),
            (S::Exit, "exit"),
            (S::Seccomp, "seccomp"),
            (S::Unknown { event: 99, signal }, "unknown"),
        ];
        for (kind, name) in kinds {
            counters.stop(kind);
            let mut metrics = Metrics::default();
            counters.add_to(&mut metrics);
            assert_eq!(metrics.stops.get(name), Some(1), "{name}");
        }
        let mut metrics = Metrics::default();
        counters.add_to(&mut metrics);
        // The same again: another tracer thread.
        counters.add_to(&mut metrics);
        assert_eq!(metrics.stops.total(), 2 * kinds.len() as u64);
        assert_eq!(metrics.stops.get("none"), None);
    }
}

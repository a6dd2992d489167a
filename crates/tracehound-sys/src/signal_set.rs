//! Sets of signals, as the kernel keeps them: a bit for each of the 64.

use std::fmt;

use crate::{SIGNAL_MAX, Signal};

/// A set of signals: what a thread blocks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: SignalSet = SignalSet(0);

    /// All signals.
    pub const ALL: SignalSet = SignalSet(u64::MAX);

    /// The set with these bits: bit 0 is signal 1. The form of `SigBlk` in
    /// `/proc/PID/status`.
    pub const fn from_bits(bits: u64) -> Self {
        SignalSet(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    const fn bit(signal: Signal) -> u64 {
        if signal.is_valid() {
            1 << (signal.as_raw() - 1)
        } else {
            0
        }
    }

    /// Whether a signal is in the set.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & Self::bit(signal) != 0
    }

    /// Adds a signal. One that does not exist changes nothing.
    pub const fn insert(&mut self, signal: Signal) {
        self.0 |= Self::bit(signal);
    }

    /// Takes a signal out.
    pub const fn remove(&mut self, signal: Signal) {
        self.0 &= !Self::bit(signal);
    }

    /// Whether there is no signal in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The signals of the set, in order.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        (1..=SIGNAL_MAX)
            .map(Signal::from_raw)
            .filter(move |signal| self.contains(*signal))
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        let mut set = SignalSet::EMPTY;
        set.extend(signals);
        set
    }
}

impl Extend<Signal> for SignalSet {
    fn extend<I: IntoIterator<Item = Signal>>(&mut self, signals: I) {
        signals.into_iter().for_each(|signal| self.insert(signal));
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bits_are_those_of_the_kernel() {
        let set: SignalSet = [Signal::SIGHUP, Signal::from_raw(64)].into_iter().collect();
        assert_eq!(set.bits(), 1 | 1 << 63);
        assert_eq!(format!("{set:?}"), "{SIGHUP, SIGRT_32}");
    }

    proptest! {
        #[test]
        fn any_number_may_be_asked_for(bits: u64, raw: i32) {
            let signal = Signal::from_raw(raw);
            let mut set = SignalSet::from_bits(bits);
            prop_assert!(signal.is_valid() || !set.contains(signal));
            prop_assert_eq!(set.iter().collect::<SignalSet>(), set);
            set.insert(signal);
            prop_assert_eq!(set.contains(signal), signal.is_valid());
            set.remove(signal);
            prop_assert!(!set.contains(signal));
        }
    }
}

//! What one run of one case measured.

use std::time::Duration;

/// Stops, and the time they took.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The stops that were counted.
    pub(crate) stops: u64,
    /// From the first resume to the last death.
    pub(crate) time: Duration,
    /// What else is worth telling, by name.
    pub(crate) facts: Vec<(&'static str, f64)>,
}

impl Sample {
    /// A sample without further facts.
    pub(crate) fn new(stops: u64, time: Duration) -> Self {
        Sample {
            stops,
            time,
            facts: Vec::new(),
        }
    }

    /// Adds a fact.
    pub(crate) fn with(mut self, name: &'static str, value: f64) -> Self {
        self.facts.push((name, value));
        self
    }

    /// Microseconds for each stop.
    pub(crate) fn micros(&self) -> f64 {
        self.time.as_secs_f64() * 1e6 / self.stops.max(1) as f64
    }
}

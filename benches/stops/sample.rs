//! What one run of one case measured.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Stops, and the time they took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The stops that were counted.
    pub(crate) stops: u64,
    /// From the first resume to the last death.
    pub(crate) nanoseconds: u64,
    /// What else is worth telling, by name.
    pub(crate) facts: Vec<(String, f64)>,
}

impl Sample {
    /// A sample without further facts.
    pub(crate) fn new(stops: u64, time: Duration) -> Self {
        Sample {
            stops,
            nanoseconds: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            facts: Vec::new(),
        }
    }

    /// Adds a fact, if it is known: a number.
    pub(crate) fn with(mut self, name: &str, value: f64) -> Self {
        if value.is_finite() {
            self.facts.push((name.to_owned(), value));
        }
        self
    }

    /// Microseconds for each stop.
    pub(crate) fn micros(&self) -> f64 {
        self.nanoseconds as f64 / 1e3 / self.stops.max(1) as f64
    }

    /// The fact of that name.
    pub(crate) fn fact(&self, name: &str) -> Option<f64> {
        let (_, value) = self.facts.iter().find(|(known, _)| known == name)?;
        Some(*value)
    }
}

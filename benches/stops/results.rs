//! All that was measured, and what follows from it: medians and ranges over the rounds.
//! Written as JSON and read again.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cases::{By, Chosen};
use crate::isolated::{Failure, FailureKind};
use crate::machine::Machine;
use crate::plan::Plan;
use crate::sample::Sample;

/// All samples of all cases.
#[derive(Serialize, Deserialize)]
pub(crate) struct Results {
    /// Where.
    pub(crate) machine: Machine,
    /// On which day (UTC).
    pub(crate) date: String,
    /// How often the cases ran, at most.
    pub(crate) rounds: usize,
    /// System calls of a lone tracee.
    pub(crate) calls: u64,
    /// In the order of the table.
    pub(crate) cases: Vec<Row>,
}

/// One case: a sample for each round in which it ran and worked.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) by: By,
    pub(crate) baseline: Option<String>,
    pub(crate) goal: Option<f64>,
    pub(crate) rounds: Vec<Option<Sample>>,
    pub(crate) failure: Option<Failure>,
    /// For those who read the file: microseconds for each stop, and the ratio to the
    /// baseline.
    #[serde(skip_deserializing)]
    micros: Option<Spread>,
    #[serde(skip_deserializing)]
    ratio: Option<Spread>,
}

impl Results {
    /// Without samples as yet.
    pub(crate) fn new(chosen: &[Chosen], plan: &Plan) -> Self {
        let row = |chosen: &Chosen| Row {
            name: chosen.case.name.to_owned(),
            by: chosen.by,
            baseline: chosen.case.baseline.map(str::to_owned),
            goal: chosen.case.goal,
            rounds: Vec::new(),
            failure: None,
            micros: None,
            ratio: None,
        };
        Results {
            machine: Machine::this(),
            date: time::OffsetDateTime::now_utc().date().to_string(),
            rounds: plan.rounds,
            calls: plan.calls,
            cases: chosen.iter().map(row).collect(),
        }
    }

    /// The row of that name.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.cases.iter().find(|row| row.name == name)
    }

    /// The ratios of two cases, each of two times of the same round.
    pub(crate) fn ratio(&self, row: &Row, baseline: &str) -> Option<Spread> {
        let pairs = row.rounds.iter().zip(&self.row(baseline)?.rounds);
        Spread::of(pairs.filter_map(|(this, base)| {
            let ratio = this.as_ref()?.micros() / base.as_ref()?.micros();
            ratio.is_finite().then_some(ratio)
        }))
    }

    /// Whether a case failed. A peer may, and what is missing here did not.
    pub(crate) fn has_failures(&self) -> bool {
        self.cases.iter().any(|row| match (&row.failure, row.by) {
            (Some(failure), By::Us) => failure.kind != FailureKind::Missing,
            _ => false,
        })
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// Those of writing it.
    pub(crate) fn write(&mut self, path: &Path) -> io::Result<()> {
        let ratios: Vec<_> = self
            .cases
            .iter()
            .map(|row| self.ratio(row, row.baseline.as_deref()?))
            .collect();
        for (row, ratio) in self.cases.iter_mut().zip(ratios) {
            row.micros = row.micros();
            row.ratio = ratio;
        }
        let mut file = File::create(path)?;
        serde_json::to_writer_pretty(&file, self)?;
        writeln!(file)
    }

    /// Reads what [`Results::write`] has written.
    ///
    /// # Errors
    ///
    /// Those of reading it, and `InvalidData`.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_reader(BufReader::new(File::open(path)?))?)
    }
}

impl Row {
    /// Adds what the case gave in the next round; nothing if it did not run in it.
    pub(crate) fn add(&mut self, result: Option<Result<Sample, Failure>>) {
        let sample = match result {
            Some(Ok(sample)) => Some(sample),
            Some(Err(failure)) => {
                self.failure = Some(failure);
                None
            }
            None => None,
        };
        self.rounds.push(sample);
    }

    /// Whether it is of no use to run it again.
    pub(crate) fn is_hopeless(&self) -> bool {
        matches!(&self.failure, Some(failure) if failure.kind != FailureKind::Error)
    }

    /// The samples there are.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.rounds.iter().flatten()
    }

    /// Microseconds for each stop.
    pub(crate) fn micros(&self) -> Option<Spread> {
        Spread::of(self.samples().map(Sample::micros))
    }
}

/// The median and the range of some numbers.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Nothing if there are no numbers.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Some(Spread {
            median: *values.get(values.len() / 2)?,
            min: *values.first()?,
            max: *values.last()?,
        })
    }
}

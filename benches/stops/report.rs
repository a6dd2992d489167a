//! The table: medians and ranges over the rounds.

use std::fmt;
use std::io;

use crate::cases::Case;
use crate::sample::Sample;

/// All samples of all cases.
pub(crate) struct Report {
    rows: Vec<Row>,
}

/// One case: a sample for each round in which it worked.
struct Row {
    case: &'static Case,
    rounds: Vec<Option<Sample>>,
    error: Option<io::Error>,
}

impl Report {
    /// A report without samples.
    pub(crate) fn new(cases: &[&'static Case]) -> Self {
        let row = |&case| Row {
            case,
            rounds: Vec::new(),
            error: None,
        };
        Report {
            rows: cases.iter().map(row).collect(),
        }
    }

    /// Adds what a case gave in the next round.
    pub(crate) fn add(&mut self, case: &Case, result: io::Result<Sample>) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.case.name == case.name) {
            match result {
                Ok(sample) => row.rounds.push(Some(sample)),
                Err(error) => {
                    row.rounds.push(None);
                    row.error = Some(error);
                }
            }
        }
    }

    /// Whether a case failed. One that lacks a program or a kernel did not.
    pub(crate) fn has_failures(&self) -> bool {
        self.rows.iter().any(|row| match &row.error {
            Some(error) => error.kind() != io::ErrorKind::Unsupported,
            None => false,
        })
    }

    /// The ratios to the baseline, each of two times of the same round.
    fn ratios(&self, row: &Row) -> Option<(&'static str, Spread)> {
        let baseline = row.case.baseline?;
        let base = self.rows.iter().find(|row| row.case.name == baseline)?;
        let pairs = row.rounds.iter().zip(&base.rounds);
        let ratios = pairs.filter_map(|(this, base)| {
            let (this, base) = (this.as_ref()?, base.as_ref()?);
            Some(this.micros() / base.micros())
        });
        Some((baseline, Spread::of(ratios)?))
    }

    fn write_row(&self, f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
        write!(f, "{:<WIDTH$}", row.case.name)?;
        if let Some(micros) = Spread::of(row.samples().map(Sample::micros)) {
            write!(f, "{micros}")?;
        }
        if let Some((baseline, ratios)) = self.ratios(row) {
            write!(f, "{ratios}   of {baseline}")?;
            if let Some(goal) = row.case.goal {
                let verdict = if ratios.median <= goal {
                    "met"
                } else {
                    "MISSED"
                };
                write!(f, " (goal {goal:.2}: {verdict})")?;
            }
        }
        if let Some(error) = &row.error {
            write!(f, "   {error}")?;
        }
        writeln!(f)
    }
}

/// The width of the names' column.
const WIDTH: usize = 36;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        let (micros, ratio) = ("µs per stop (min..max)", "ratio (min..max)");
        writeln!(f, "{:<WIDTH$}{micros:>26}{ratio:>26}", "case")?;
        for row in &self.rows {
            self.write_row(f, row)?;
        }
        for row in &self.rows {
            row.write_facts(f)?;
        }
        Ok(())
    }
}

impl Row {
    fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.rounds.iter().flatten()
    }

    fn write_facts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.samples().next() else {
            return Ok(());
        };
        for (index, (name, _)) in first.facts.iter().enumerate() {
            let values = self
                .samples()
                .filter_map(|sample| Some(sample.facts.get(index)?.1));
            if let Some(spread) = Spread::of(values) {
                writeln!(f, "  {}: {name}:{spread}", self.case.name)?;
            }
        }
        Ok(())
    }
}

/// The median and the range of some numbers.
#[derive(Clone, Copy, Debug)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Some(Spread {
            median: *values.get(values.len() / 2)?,
            min: *values.first()?,
            max: *values.last()?,
        })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = if self.max.fract() == 0.0 && self.min.fract() == 0.0 {
            0
        } else {
            2
        };
        let Spread { median, min, max } = self;
        let range = format!("({min:.places$}..{max:.places$})");
        write!(f, "{median:>10.places$} {range:>15}")
    }
}

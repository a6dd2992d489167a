//! The table.

use std::fmt;

use crate::cases::By;
use crate::results::{Results, Row, Spread};

/// The width of the names' column.
const WIDTH: usize = 36;

/// The results, to be printed.
pub(crate) struct Table<'a>(pub(crate) &'a Results);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        let (micros, ratio) = ("µs per stop (min..max)", "ratio (min..max)");
        writeln!(f, "{:<WIDTH$}{micros:>26}{ratio:>26}", "case")?;
        for row in &self.0.cases {
            self.write_row(f, row)?;
        }
        for row in &self.0.cases {
            write_facts(f, row)?;
        }
        Ok(())
    }
}

impl Table<'_> {
    fn write_row(&self, f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
        write!(f, "{:<WIDTH$}", row.name)?;
        if let Some(micros) = row.micros() {
            write!(f, "{micros}")?;
        }
        if let Some(baseline) = &row.baseline
            && let Some(ratio) = self.0.ratio(row, baseline)
        {
            write!(f, "{ratio}   of {baseline}")?;
            write_verdict(f, row, ratio)?;
        }
        if let Some(failure) = &row.failure {
            let what = match (row.samples().next(), row.by) {
                (Some(_), _) => "failed once",
                (None, By::Us) => "FAILED",
                (None, By::Peer) => "not measured",
            };
            write!(f, "   {what}: {}", failure.why)?;
        }
        writeln!(f)
    }
}

fn write_verdict(f: &mut fmt::Formatter<'_>, row: &Row, ratio: Spread) -> fmt::Result {
    let Some(goal) = row.goal else {
        return Ok(());
    };
    let verdict = if ratio.median <= goal {
        "met"
    } else {
        "MISSED"
    };
    write!(f, " (goal {goal:.2}: {verdict})")
}

fn write_facts(f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
    let Some(first) = row.samples().next() else {
        return Ok(());
    };
    for (name, _) in &first.facts {
        let values = row.samples().filter_map(|sample| sample.fact(name));
        if let Some(spread) = Spread::of(values) {
            writeln!(f, "  {}: {name}:{spread}", row.name)?;
        }
    }
    Ok(())
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

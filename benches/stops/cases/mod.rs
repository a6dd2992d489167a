//! The cases: what is measured, one file for each subject.

mod bare;
mod births;
mod crowd;
mod hog;
mod host;
mod idle;
mod memory;
mod pinned;
mod step;
mod strace;
mod task;
mod two_cpus;

use std::io;

use crate::plan::Plan;
use crate::sample::Sample;

/// Something to measure.
pub(crate) struct Case {
    /// Its name in the table; words of the command line are looked for in it.
    pub(crate) name: &'static str,
    /// The name of the case that it is compared with.
    pub(crate) baseline: Option<&'static str>,
    /// The largest ratio that is good enough.
    pub(crate) goal: Option<f64>,
    /// Runs it once. An error of the kind `Unsupported` says that something is missing
    /// here, and is no failure.
    pub(crate) run: fn(&Plan) -> io::Result<Sample>,
}

/// All cases, in the order of the table and of each round.
fn all() -> impl Iterator<Item = &'static Case> {
    [
        bare::CASES,
        pinned::CASES,
        task::CASES,
        strace::CASES,
        two_cpus::CASES,
        hog::CASES,
        step::CASES,
        crowd::CASES,
        idle::CASES,
        births::CASES,
        memory::CASES,
    ]
    .into_iter()
    .flatten()
}

/// The cases whose names contain one of the words, and what they are compared with; all
/// if there are no words.
pub(crate) fn selected(words: &[String]) -> Vec<&'static Case> {
    let named = |case: &Case| {
        words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str()))
    };
    let baselines: Vec<&str> = all()
        .filter(|case| named(case))
        .filter_map(|case| case.baseline)
        .collect();
    all()
        .filter(|case| named(case) || baselines.contains(&case.name))
        .collect()
}

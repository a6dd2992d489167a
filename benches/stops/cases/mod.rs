//! The cases: what is measured, one file for each subject.

mod bare;
mod births;
mod crowd;
mod hog;
mod host;
mod idle;
mod memory;
mod peers;
mod pinned;
mod sigchld;
mod step;
mod strace;
mod task;
mod two_cpus;
mod waiting;

use std::io;

use serde::{Deserialize, Serialize};

pub(crate) use crate::cases::bare::FLOOR;

use crate::plan::{Plan, Scope};
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

/// Whose code a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum By {
    /// The bare loops and tracehound.
    Us,
    /// Another tracer. It may be missing or fail here; that is told, and is no failure.
    Peer,
}

/// A case, and what it is one of.
#[derive(Clone, Copy)]
pub(crate) struct Chosen {
    pub(crate) case: &'static Case,
    pub(crate) by: By,
    /// It runs in each round, or in each third or fifth: a case that takes long.
    pub(crate) every: usize,
}

/// A case that is drawn: a lone tracee on the tracer's CPU.
pub(crate) struct Drawn {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    /// A bare loop, and no tracer that anybody would use.
    pub(crate) is_loop: bool,
}

/// The cases that are drawn, in this order.
pub(crate) fn drawn() -> impl Iterator<Item = &'static Drawn> {
    const fn bar(name: &'static str, label: &'static str) -> Drawn {
        Drawn {
            name,
            label,
            is_loop: false,
        }
    }
    const fn bare(name: &'static str, label: &'static str) -> Drawn {
        Drawn {
            name,
            label,
            is_loop: true,
        }
    }
    const DRAWN: &[Drawn] = &[
        bare(FLOOR, "bare loop"),
        bare(bare::FLOOR_INFO, "bare loop that asks which call it is"),
        bar(pinned::PINNED, "tracehound, pinned task"),
        bar(task::CURRENT_THREAD, "tracehound, task, current-thread"),
        bar(task::MULTI_THREAD, "tracehound, task, multi-thread"),
        bar(strace::STRACE, strace::STRACE),
        bar(peers::SAFEPTRACE_SYNC, peers::SAFEPTRACE_SYNC),
        bar(peers::SAFEPTRACE, peers::SAFEPTRACE),
        bar(peers::PETE_BUSY, peers::PETE_BUSY),
        bar(peers::PETE, peers::PETE),
    ];
    DRAWN.iter()
}

/// All cases, in the order of the table and of each round. What is compared with each
/// other must run in the same rounds.
fn all() -> impl Iterator<Item = Chosen> {
    [
        (bare::CASES, By::Us, 1),
        (pinned::CASES, By::Us, 1),
        (task::CASES, By::Us, 1),
        (strace::CASES, By::Peer, 1),
        (peers::CASES, By::Peer, 1),
        (two_cpus::CASES, By::Us, 1),
        (sigchld::CASES, By::Us, 1),
        (hog::CASES, By::Us, 1),
        (step::CASES, By::Us, 1),
        (crowd::CASES, By::Us, 1),
        (crowd::LARGE, By::Us, 5),
        (idle::CASES, By::Us, 5),
        (waiting::CASES, By::Us, 5),
        (births::CASES, By::Us, 3),
        (births::LARGE, By::Us, 5),
        (memory::CASES, By::Us, 3),
    ]
    .into_iter()
    .flat_map(|(cases, by, every)| cases.iter().map(move |case| Chosen { case, by, every }))
}

/// The cases that the plan asks for, and what they are compared with.
pub(crate) fn selected(plan: &Plan) -> Vec<Chosen> {
    let baselines: Vec<&str> = all()
        .filter(|chosen| is_selected(plan, chosen))
        .filter_map(|chosen| chosen.case.baseline)
        .collect();
    all()
        .filter(|chosen| is_selected(plan, chosen) || baselines.contains(&chosen.case.name))
        .collect()
}

fn is_selected(plan: &Plan, chosen: &Chosen) -> bool {
    let name = chosen.case.name;
    match plan.scope {
        Scope::Named => plan.words.iter().any(|word| name.contains(word.as_str())),
        Scope::Drawn => drawn().any(|drawn| drawn.name == name),
        Scope::Quick => chosen.every <= QUICK,
        Scope::All => true,
    }
}

/// A look in a few seconds leaves out what does not run in each third round at least.
const QUICK: usize = 3;

/// The case of that name.
pub(crate) fn find(name: &str) -> Option<&'static Case> {
    all()
        .map(|chosen| chosen.case)
        .find(|case| case.name == name)
}

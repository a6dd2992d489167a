//! What a stop costs: tracehound beside bare loops and its peers, in one run.
//!
//!     cargo bench                                  # all cases
//!     cargo bench --bench stops -- --quick         # fewer rounds, calls and cases
//!     cargo bench --bench stops -- pinned crowd    # the cases whose names contain a
//!                                                  # word, and their baselines
//!     cargo bench --bench stops -- --json FILE     # writes all samples
//!     cargo bench --bench stops -- --from FILE     # prints the table of such a file
//!     cargo bench --bench stops -- --svg stops.svg # the README's drawing (with `--from`
//!                                                  # too); paths begin in `benches`
//!     TRACEHOUND_BENCH_QUICK=1 cargo bench
//!
//! Everything is pinned to one CPU, where a stop is cheapest and varies least. Times
//! of different machines, or of one machine an hour apart, cannot be compared; ratios
//! can. So each round runs every case once (those that take long: each third or fifth), a
//! ratio is made of two times of the same round, and the table gives the median and the
//! range of these ratios.
//!
//! Each run of a case has a process of its own, which is killed if it does not end. A peer
//! that is missing or fails is named, and the rest goes on.
//!
//! A further case is a file in `cases` and a line in [`cases::all`].

mod cases;
mod crowds;
mod drawing;
mod floor;
mod isolated;
mod machine;
mod plan;
mod report;
mod results;
mod sample;
mod workload;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use crate::machine::Usage;
use crate::plan::{Args, Plan};
use crate::report::Table;
use crate::results::Results;

fn main() -> ExitCode {
    // The traced programs are this executable too.
    if workload::run_if_asked() {
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    let plan = Plan::new(&args);
    if let Some(name) = &args.one {
        return answer(name, &plan);
    }
    match report(&args, &plan) {
        Ok(results) if !results.has_failures() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, or reads what was measured; prints it and writes what was asked for.
fn report(args: &Args, plan: &Plan) -> io::Result<Results> {
    let mut results = match &args.from {
        Some(path) => {
            let results = Results::read(path)?;
            println!("{}, on {}", results.machine, results.date);
            results
        }
        None => measure(plan),
    };
    print!("{}", Table(&results));
    if let Some(path) = &args.json {
        results.write(path)?;
    }
    if let Some(path) = &args.svg {
        drawing::write(&results, path)?;
    }
    Ok(results)
}

/// The process of one run of one case.
fn answer(name: &str, plan: &Plan) -> ExitCode {
    match cases::find(name) {
        Some(case) => {
            isolated::answer(case, plan);
            ExitCode::SUCCESS
        }
        None => ExitCode::FAILURE,
    }
}

fn measure(plan: &Plan) -> Results {
    let chosen = cases::selected(plan);
    let mut results = Results::new(&chosen, plan);
    println!("{}", results.machine);
    match machine::pin() {
        Ok(cpu) => println!("All on CPU {cpu}. {plan}."),
        Err(error) => println!("Not pinned: {error}. {plan}."),
    }
    let usage = Usage::new();
    for round in 0..plan.rounds {
        for (chosen, row) in chosen.iter().zip(&mut results.cases) {
            let runs = round % chosen.every == 0 && !row.is_hopeless();
            row.add(runs.then(|| isolated::run(chosen.case, plan)));
        }
    }
    println!("{usage}");
    results
}

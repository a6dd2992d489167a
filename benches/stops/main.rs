//! What a stop costs: tracehound beside bare loops and strace, in one run.
//!
//!     cargo bench                                  # all cases
//!     cargo bench --bench stops -- --quick         # fewer rounds and calls
//!     cargo bench --bench stops -- pinned crowd    # the cases whose names contain a
//!                                                  # word, and their baselines
//!     TRACEHOUND_BENCH_QUICK=1 cargo bench
//!
//! Everything is pinned to one CPU, where a stop is cheapest and varies least. Times
//! of different machines, or of one machine an hour apart, cannot be compared; ratios
//! can. So each round runs every case once, a ratio is made of two times of the same
//! round, and the table gives the median and the range of these ratios.
//!
//! A further case is a file in `cases` and a line in [`cases::all`].

mod cases;
mod crowds;
mod floor;
mod machine;
mod plan;
mod report;
mod sample;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use crate::machine::Usage;
use crate::plan::{Args, Plan};
use crate::report::Report;

fn main() -> ExitCode {
    // The traced programs are this executable too.
    if workload::run_if_asked() {
        return ExitCode::SUCCESS;
    }
    let plan = Plan::new(&Args::parse());
    let cases = cases::selected(&plan.words);
    println!("{}", machine::describe());
    match machine::pin() {
        Ok(cpu) => println!("All on CPU {cpu}. {plan}."),
        Err(error) => println!("Not pinned: {error}. {plan}."),
    }
    let mut report = Report::new(&cases);
    let usage = Usage::new();
    for _ in 0..plan.rounds {
        for case in &cases {
            report.add(case, (case.run)(&plan));
        }
    }
    print!("{report}");
    println!("{usage}");
    if report.has_failures() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

//! strace, as a whole process.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cases::Case;
use crate::cases::bare::FLOOR;
use crate::plan::Plan;
use crate::sample::Sample;
use crate::workload::{LOADER_PATH, Workload};

pub(super) const STRACE: &str = "strace -f -o /dev/null";

pub(super) const CASES: &[Case] = &[Case {
    name: STRACE,
    baseline: Some(FLOOR),
    goal: None,
    run,
}];

/// What the calls add to the time of `strace` on a program that makes none: so neither
/// the start of strace nor that of the program counts, as elsewhere.
fn run(plan: &Plan) -> io::Result<Sample> {
    let idle = time(Workload::Calls(0))?;
    let busy = time(Workload::Calls(plan.calls))?;
    Ok(Sample::new(2 * plan.calls, busy.saturating_sub(idle)))
}

fn time(workload: Workload) -> io::Result<Duration> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "--"]);
    strace.args(workload.command_line()?);
    strace.env_remove(LOADER_PATH).stdin(Stdio::null());
    let start = Instant::now();
    let status = strace.status().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::new(io::ErrorKind::Unsupported, "strace is not installed")
        }
        _ => error,
    })?;
    let time = start.elapsed();
    if !status.success() {
        return Err(io::Error::other(format!("strace: {status}")));
    }
    Ok(time)
}

//! One tracee whose logic is pinned to the tracer thread.

use std::io;
use std::time::Instant;

use tracehound::{ResumeMode, Tracer};

use crate::cases::bare::FLOOR_INFO;
use crate::cases::{Case, host};
use crate::sample::Sample;
use crate::workload::Workload;

pub(super) const PINNED: &str = "tracehound, pinned task";

pub(super) const CASES: &[Case] = &[Case {
    name: PINNED,
    baseline: Some(FLOOR_INFO),
    goal: Some(1.08),
    run: |plan| run(Workload::Calls(plan.calls)),
}];

/// Traces the program with a pinned task.
pub(super) fn run(program: Workload) -> io::Result<Sample> {
    host::with_tracer(&host::current_thread()?, async |tracer| {
        measure(tracer, program).await
    })
}

/// The same, with a tracer that has other tracees.
pub(super) async fn measure(tracer: &Tracer, program: Workload) -> io::Result<Sample> {
    let (tracee, mut child) = host::spawn(tracer, program, ResumeMode::Syscall).await?;
    let start = Instant::now();
    let task = tracee.spawn_pinned(host::watch);
    let stops = task.await.map_err(host::ended_early)?;
    let time = start.elapsed();
    child.wait().await?;
    Ok(Sample::new(stops, time))
}

//! One tracee whose logic is pinned to the tracer thread.

use std::io;
use std::time::Instant;

use tracehound::ResumeMode;

use crate::cases::bare::FLOOR_INFO;
use crate::cases::{Case, host};
use crate::plan::Plan;
use crate::sample::Sample;
use crate::workload::Workload;

pub(super) const CASES: &[Case] = &[Case {
    name: "tracehound, pinned task",
    baseline: Some(FLOOR_INFO),
    goal: Some(1.20),
    run,
}];

fn run(plan: &Plan) -> io::Result<Sample> {
    host::with_tracer(&host::current_thread()?, async |tracer| {
        let program = Workload::Calls(plan.calls);
        let (tracee, mut child) = host::spawn(tracer, program, ResumeMode::Syscall).await?;
        let start = Instant::now();
        let task = tracee.spawn_pinned(host::watch);
        let stops = task.await.map_err(host::ended_early)?;
        let time = start.elapsed();
        child.wait().await?;
        Ok(Sample::new(stops, time))
    })
}

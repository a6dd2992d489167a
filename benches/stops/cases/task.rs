//! One tracee whose logic is an ordinary tokio task, on another thread than the tracer.

use std::io;
use std::time::Instant;

use tokio::runtime::Runtime;
use tracehound::ResumeMode;

use crate::cases::bare::FLOOR;
use crate::cases::{Case, host};
use crate::plan::Plan;
use crate::sample::Sample;
use crate::workload::Workload;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "tracehound, task, current-thread",
        baseline: Some(FLOOR),
        goal: None,
        run: |plan| run(plan, &host::current_thread()?),
    },
    Case {
        name: "tracehound, task, multi-thread",
        baseline: Some(FLOOR),
        goal: None,
        run: |plan| run(plan, &host::multi_thread()?),
    },
];

fn run(plan: &Plan, runtime: &Runtime) -> io::Result<Sample> {
    host::with_tracer(runtime, async |tracer| {
        let program = Workload::Calls(plan.calls);
        let (tracee, mut child) = host::spawn(tracer, program, ResumeMode::Syscall).await?;
        let start = Instant::now();
        let task = tokio::spawn(host::watch(tracee));
        let stops = task.await.map_err(io::Error::other)?;
        let time = start.elapsed();
        child.wait().await?;
        Ok(Sample::new(stops, time))
    })
}

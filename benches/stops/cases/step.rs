//! One tracee that stops after each instruction.

use std::io;
use std::time::Instant;

use futures::StreamExt;
use tracehound::{Event, ResumeMode, Signal, Tracee};

use crate::cases::{Case, host};
use crate::floor::{self, Resume, Seen};
use crate::plan::Plan;
use crate::sample::Sample;
use crate::workload::{READY, Workload};

const FLOOR_STEP: &str = "floor, single step";

pub(super) const CASES: &[Case] = &[
    Case {
        name: FLOOR_STEP,
        baseline: None,
        goal: None,
        run: bare,
    },
    Case {
        name: "tracehound, pinned single step",
        baseline: Some(FLOOR_STEP),
        goal: None,
        run: pinned,
    },
];

fn bare(plan: &Plan) -> io::Result<Sample> {
    let tracee = floor::spawn_held(Workload::Spin(plan.spins))?;
    floor::run_to_signal(tracee, READY)?;
    let mut stops = 0;
    let start = Instant::now();
    floor::serve(&[tracee], Resume::Step, |seen| {
        stops += u64::from(matches!(seen, Seen::Stop(_)));
        Ok(())
    })?;
    Ok(Sample::new(stops, start.elapsed()))
}

fn pinned(plan: &Plan) -> io::Result<Sample> {
    host::with_tracer(&host::current_thread()?, async |tracer| {
        let program = Workload::Spin(plan.spins);
        let (tracee, mut child) = host::spawn(tracer, program, ResumeMode::Cont).await?;
        let task = tracee.spawn_pinned(step_when_ready);
        let sample = task.await.map_err(host::ended_early)??;
        child.wait().await?;
        Ok(sample)
    })
}

/// Lets the tracee run until it is ready, then steps it until it ends.
async fn step_when_ready(mut tracee: Tracee) -> io::Result<Sample> {
    let ready = Signal::from_raw(READY);
    while let Some(event) = tracee.next().await {
        if matches!(event, Event::Signal(stop) if stop.signal == ready) {
            break;
        }
    }
    tracee.set_resume_mode(ResumeMode::Step);
    let start = Instant::now();
    let mut stops = 0;
    // The signal, which this first step suppresses, would not matter.
    tracee.step().await?;
    while let Some(event) = tracee.next().await {
        stops += u64::from(host::is_counted(&event));
    }
    Ok(Sample::new(stops, start.elapsed()))
}

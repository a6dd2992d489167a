//! One tracee whose logic is an ordinary tokio task, on another thread than the tracer.

use std::hint::black_box;
use std::io;
use std::time::Instant;

use futures::StreamExt;
use tokio::runtime::Runtime;
use tracehound::{ResumeMode, Tracee};

use crate::cases::bare::{FLOOR, FLOOR_REGS};
use crate::cases::{Case, host};
use crate::sample::Sample;
use crate::workload::Workload;

pub(super) const CURRENT_THREAD: &str = "tracehound, task, current-thread";
pub(super) const MULTI_THREAD: &str = "tracehound, task, multi-thread";

pub(super) const CASES: &[Case] = &[
    Case {
        name: CURRENT_THREAD,
        baseline: Some(FLOOR),
        goal: Some(1.6),
        run: |plan| {
            run(
                &host::current_thread()?,
                Workload::Calls(plan.calls),
                Wants::Event,
            )
        },
    },
    Case {
        name: MULTI_THREAD,
        baseline: Some(FLOOR),
        goal: Some(1.6),
        run: |plan| {
            run(
                &host::multi_thread()?,
                Workload::Calls(plan.calls),
                Wants::Event,
            )
        },
    },
    Case {
        name: "task + registers with the event",
        baseline: Some(FLOOR_REGS),
        goal: Some(1.5),
        run: |plan| {
            let program = Workload::Calls(plan.calls);
            run(&host::current_thread()?, program, Wants::Prefetched)
        },
    },
    Case {
        name: "task + getregs at each event",
        baseline: Some(FLOOR_REGS),
        goal: Some(2.0),
        run: |plan| {
            run(
                &host::current_thread()?,
                Workload::Calls(plan.calls),
                Wants::Asked,
            )
        },
    },
];

/// What the task looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// What the event carries.
    Event,
    /// The registers too, which come with it.
    Prefetched,
    /// The registers too, for which it asks.
    Asked,
}

/// Traces the program with an ordinary task.
pub(super) fn run(runtime: &Runtime, program: Workload, wants: Wants) -> io::Result<Sample> {
    host::with_tracer(runtime, async |tracer| {
        let (mut tracee, mut child) = host::spawn(tracer, program, ResumeMode::Syscall).await?;
        tracee.set_prefetch_registers(wants == Wants::Prefetched);
        let start = Instant::now();
        let task = match wants {
            Wants::Event => tokio::spawn(host::watch(tracee)),
            _ => tokio::spawn(watch_registers(tracee)),
        };
        let stops = task.await.map_err(io::Error::other)?;
        let time = start.elapsed();
        child.wait().await?;
        Ok(Sample::new(stops, time))
    })
}

/// [`host::watch`], with the registers of each stop.
async fn watch_registers(mut tracee: Tracee) -> u64 {
    let mut stops = 0;
    while let Some(event) = tracee.next().await {
        if host::is_counted(&event) {
            // An error: it was killed.
            let _ = black_box(tracee.getregs().await);
            stops += 1;
        }
    }
    stops
}

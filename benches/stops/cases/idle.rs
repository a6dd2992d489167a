//! One busy tracee among many idle ones.

use std::io;

use futures::StreamExt;
use futures::future::{FutureExt, LocalBoxFuture};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tracehound::{ResumeMode, Stdio, Tracee, Tracer};

use crate::cases::pinned::{self, PINNED};
use crate::cases::{Case, host};
use crate::machine::{count_own, resident};
use crate::plan::Plan;
use crate::sample::Sample;
use crate::workload::Workload;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "among 1000 idle processes",
        baseline: Some(PINNED),
        goal: Some(1.25),
        run: |plan| among_processes(plan, 1_000),
    },
    Case {
        name: "among 4000 idle processes",
        baseline: Some(PINNED),
        goal: Some(1.25),
        run: |plan| among_processes(plan, 4_000),
    },
    Case {
        name: "among 10000 idle processes",
        baseline: Some(PINNED),
        goal: Some(1.25),
        run: |plan| among_processes(plan, 10_000),
    },
    Case {
        name: "among 1000 attached threads",
        baseline: Some(PINNED),
        goal: Some(1.25),
        run: |plan| among_threads(plan, 1_000),
    },
    Case {
        name: "among 4000 attached threads",
        baseline: Some(PINNED),
        goal: Some(1.25),
        run: |plan| among_threads(plan, 4_000),
    },
];

fn among_processes(plan: &Plan, number: u64) -> io::Result<Sample> {
    host::with_tracer(&host::current_thread()?, async |tracer| {
        let before = resident();
        let mut command = host::command(Workload::IdleProcesses(number), ResumeMode::Cont)?;
        command.stdout(Stdio::piped());
        let (leader, mut child) = tracer.spawn(command).await?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        drop(leader.spawn_pinned(follow));
        BufReader::new(output).read_line(&mut String::new()).await?;
        let sample = busy(plan, tracer, number, before).await?;
        // The others die with it.
        child.kill().await?;
        Ok(sample)
    })
}

/// The life of an idle tracee, and of what it makes.
fn follow(mut tracee: Tracee) -> LocalBoxFuture<'static, ()> {
    async move {
        while let Some(event) = tracee.next().await {
            if let Some(child) = event.birth().and_then(|birth| tracee.take_child(birth)) {
                drop(child.spawn_pinned(follow));
            }
        }
    }
    .boxed_local()
}

fn among_threads(plan: &Plan, number: u64) -> io::Result<Sample> {
    let crowd = host::Crowd::start(number)?;
    let pid = crowd.pid()?;
    host::with_tracer(&host::current_thread()?, async |tracer| {
        let before = resident();
        let mut process = tracer.attach(pid).own_child(true).await?;
        let watch = tokio::spawn(async move { while process.next().await.is_some() {} });
        let sample = busy(plan, tracer, number, before).await?;
        watch.abort();
        let _ = watch.await;
        Ok(sample)
    })
}

/// The busy tracee, then a second one whose rare stops are timed meanwhile.
async fn busy(plan: &Plan, tracer: &Tracer, idle: u64, before: f64) -> io::Result<Sample> {
    let per_tracee = (resident() - before) / idle as f64;
    let (threads, descriptors) = (count_own("task"), count_own("fd"));
    let sample = pinned::measure(tracer, Workload::Calls(plan.calls)).await?;
    let (typical, late) = delays(plan, tracer).await?;
    Ok(sample
        .with("threads", threads)
        .with("descriptors", descriptors)
        .with("bytes for each idle tracee", per_tracee.round())
        .with("another's call beside the busy one, µs, median", typical)
        .with("another's call beside the busy one, µs, p99", late))
}

/// How long a call of another tracee takes while one is busy: median and 99th percentile.
async fn delays(plan: &Plan, tracer: &Tracer) -> io::Result<(f64, f64)> {
    let (busy, mut hog) =
        host::spawn(tracer, Workload::Calls(u64::MAX), ResumeMode::Syscall).await?;
    let mut command = host::command(Workload::Pulse(plan.pulses), ResumeMode::Syscall)?;
    command.stdout(Stdio::piped());
    let (pulse, mut child) = tracer.spawn(command).await?;
    let mut output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let busy = busy.spawn_pinned(host::watch);
    let pulse = pulse.spawn_pinned(host::watch);
    let mut text = String::new();
    output.read_to_string(&mut text).await?;
    pulse.await.map_err(host::ended_early)?;
    child.wait().await?;
    hog.kill().await?;
    busy.await.map_err(host::ended_early)?;
    let mut numbers = text
        .split_whitespace()
        .filter_map(|number| number.parse().ok());
    Ok((
        numbers.next().unwrap_or(f64::NAN),
        numbers.next().unwrap_or(f64::NAN),
    ))
}

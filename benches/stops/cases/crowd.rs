//! Many tracees at once, all of them busy: what a stop costs then, whether each gets
//! its turn, and what the tracer needs for it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures::StreamExt;
use tokio::sync::Barrier;
use tracehound::{ResumeMode, Tracee};

use crate::cases::{Case, host};
use crate::floor::{self, Resume, Seen};
use crate::machine::count_own;
use crate::plan::Plan;
use crate::sample::Sample;
use crate::workload::Workload;

const FLOOR_200: &str = "floor + info, 200 busy tracees";
const FLOOR_1000: &str = "floor + info, 1000 busy tracees";

pub(super) const CASES: &[Case] = &[
    Case {
        name: FLOOR_200,
        baseline: None,
        goal: None,
        run: |plan| bare(plan, 200, Turns::FromTheHead),
    },
    Case {
        name: "the same in turn, 200 busy tracees",
        baseline: Some(FLOOR_200),
        goal: None,
        run: |plan| bare(plan, 200, Turns::Each),
    },
    Case {
        name: "tracehound, 200 pinned tasks",
        baseline: Some(FLOOR_200),
        goal: None,
        run: |plan| pinned(plan, 200),
    },
];

/// These take long.
pub(super) const LARGE: &[Case] = &[
    Case {
        name: FLOOR_1000,
        baseline: None,
        goal: None,
        run: |plan| bare(plan, 1_000, Turns::FromTheHead),
    },
    Case {
        name: "the same in turn, 1000 busy tracees",
        baseline: Some(FLOOR_1000),
        goal: None,
        run: |plan| bare(plan, 1_000, Turns::Each),
    },
    Case {
        name: "tracehound, 1000 pinned tasks",
        baseline: Some(FLOOR_1000),
        goal: None,
        run: |plan| pinned(plan, 1_000),
    },
];

/// Whom the bare loop serves.
#[derive(Clone, Copy)]
enum Turns {
    /// Whoever `waitid(P_ALL)` finds, which begins at the head of its list.
    FromTheHead,
    /// One after the other: what a fair loop costs at least.
    Each,
}

fn bare(plan: &Plan, crowd: usize, turns: Turns) -> io::Result<Sample> {
    let workload = Workload::Calls(plan.crowd_calls);
    let held = (0..crowd).map(|_| floor::spawn_held(workload));
    let mut pids = held.collect::<io::Result<Vec<_>>>()?;
    pids.sort_unstable();
    let progress = Progress::new(pids.len());
    let start = Instant::now();
    let see = |seen| match seen {
        Seen::Stop(pid) => {
            if let Ok(index) = pids.binary_search(&pid) {
                progress.stop(index);
            }
            floor::get_syscall_info(pid)
        }
        Seen::Death => {
            progress.end();
            Ok(())
        }
    };
    match turns {
        Turns::FromTheHead => floor::serve(&pids, Resume::Syscall, see)?,
        Turns::Each => floor::serve_in_turn(&pids, Resume::Syscall, see)?,
    }
    Ok(progress.sample(start))
}

fn pinned(plan: &Plan, crowd: usize) -> io::Result<Sample> {
    host::with_tracer(&host::current_thread()?, async |tracer| {
        let (threads, descriptors) = (count_own("task"), count_own("fd"));
        let (mut tracees, mut children) = (Vec::new(), Vec::new());
        for _ in 0..crowd {
            let workload = Workload::Calls(plan.crowd_calls);
            let (tracee, child) = host::spawn(tracer, workload, ResumeMode::Syscall).await?;
            tracees.push(tracee);
            children.push(child);
        }
        let (more_threads, more_descriptors) = (count_own("task"), count_own("fd"));
        let progress = Arc::new(Progress::new(crowd));
        let gate = Arc::new(Barrier::new(crowd));
        let start = Instant::now();
        let tasks: Vec<_> = tracees
            .into_iter()
            .enumerate()
            .map(|(index, tracee)| {
                let (gate, progress) = (Arc::clone(&gate), Arc::clone(&progress));
                tracee.spawn_pinned(move |tracee| follow(tracee, gate, progress, index))
            })
            .collect();
        for task in tasks {
            task.await.map_err(host::ended_early)?;
        }
        let sample = progress.sample(start);
        for mut child in children {
            child.wait().await?;
        }
        Ok(sample
            .with("threads before", threads)
            .with("threads with the tracees", more_threads)
            .with("descriptors before", descriptors)
            .with("descriptors with the tracees", more_descriptors))
    })
}

/// The life of one tracee. None begins before all tasks are there, so that none has a
/// start on the others; the last to come, on the tracer thread, lets them go.
async fn follow(mut tracee: Tracee, gate: Arc<Barrier>, progress: Arc<Progress>, index: usize) {
    gate.wait().await;
    while let Some(event) = tracee.next().await {
        if host::is_counted(&event) {
            progress.stop(index);
        }
    }
    progress.end();
}

/// How far each tracee has come.
struct Progress {
    /// The stops of each. Only one thread counts at a time.
    stops: Vec<AtomicU64>,
    /// The slowest beside the fastest when the first one ended.
    evenness: OnceLock<f64>,
}

impl Progress {
    fn new(tracees: usize) -> Self {
        Progress {
            stops: (0..tracees).map(|_| AtomicU64::new(0)).collect(),
            evenness: OnceLock::new(),
        }
    }

    /// Notes a stop of one tracee.
    fn stop(&self, index: usize) {
        if let Some(stops) = self.stops.get(index) {
            // No read-modify-write, which the bare loop would not need.
            stops.store(stops.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Notes a death.
    fn end(&self) {
        self.evenness.get_or_init(|| {
            let all = || self.counts();
            let (slowest, fastest) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
            slowest as f64 / fastest.max(1) as f64
        });
    }

    fn counts(&self) -> impl Iterator<Item = u64> {
        self.stops.iter().map(|stops| stops.load(Ordering::Relaxed))
    }

    fn sample(&self, start: Instant) -> Sample {
        let time = start.elapsed();
        let evenness = self.evenness.get().copied().unwrap_or(f64::NAN);
        let stops: u64 = self.counts().sum();
        let rate = stops as f64 / time.as_secs_f64();
        Sample::new(stops, time)
            .with("stops per second", rate.round())
            .with("slowest/fastest at the first end", evenness)
    }
}

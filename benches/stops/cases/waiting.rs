//! The CPU time that a tracer uses while nothing stops: all threads of its process, in
//! microseconds for each second.
//!
//! A bare loop with no tracee is not there: it has nothing to wait for, and ends.

use std::io;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use tracehound::ResumeMode;

use crate::cases::{Case, host};
use crate::floor::{self, Resume};
use crate::plan::Plan;
use crate::sample::Sample;
use crate::workload::Workload;

/// The tracees that sleep.
const SLEEPERS: usize = 100;

/// How often it is looked whether the tracees all sleep or compute by now.
const SETTLE: Duration = Duration::from_millis(100);

/// How often at most: a tracer that never becomes quiet is measured as it is.
const LOOKS: usize = 50;

/// What a tracer uses at most while it does not serve any stops.
const QUIET: Duration = Duration::from_millis(2);

const FLOOR_ASLEEP: &str = "floor, CPU a second: 100 asleep";
const FLOOR_COMPUTES: &str = "floor, CPU a second: 1 computes";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "tracehound, CPU a second: no tracee",
        baseline: None,
        goal: None,
        run: |plan| ours(plan, Place::Pinned, 0, Workload::Sleep),
    },
    Case {
        name: FLOOR_ASLEEP,
        baseline: None,
        goal: None,
        run: |plan| bare(plan, SLEEPERS, Workload::Sleep),
    },
    Case {
        name: "pinned, CPU a second: 100 asleep",
        baseline: None,
        goal: None,
        run: |plan| ours(plan, Place::Pinned, SLEEPERS, Workload::Sleep),
    },
    Case {
        name: "tasks, CPU a second: 100 asleep",
        baseline: None,
        goal: None,
        run: |plan| ours(plan, Place::Task, SLEEPERS, Workload::Sleep),
    },
    Case {
        name: FLOOR_COMPUTES,
        baseline: None,
        goal: None,
        run: |plan| bare(plan, 1, Workload::Hog),
    },
    Case {
        name: "pinned, CPU a second: 1 computes",
        baseline: None,
        goal: None,
        run: |plan| ours(plan, Place::Pinned, 1, Workload::Hog),
    },
    Case {
        name: "task, CPU a second: 1 computes",
        baseline: None,
        goal: None,
        run: |plan| ours(plan, Place::Task, 1, Workload::Hog),
    },
];

/// Where the logic of the tracees runs.
#[derive(Clone, Copy)]
enum Place {
    Pinned,
    Task,
}

fn ours(plan: &Plan, place: Place, number: usize, workload: Workload) -> io::Result<Sample> {
    host::with_tracer(&host::current_thread()?, async |tracer| {
        let (mut children, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..number {
            let (tracee, child) = host::spawn(tracer, workload, ResumeMode::Syscall).await?;
            match place {
                Place::Pinned => drop(tracee.spawn_pinned(host::watch)),
                Place::Task => tasks.push(tokio::spawn(host::watch(tracee))),
            }
            children.push(child);
        }
        for _ in 0..LOOKS {
            let before = used()?;
            tokio::time::sleep(SETTLE).await;
            if used()? - before < QUIET {
                break;
            }
        }
        let before = used()?;
        tokio::time::sleep(plan.look).await;
        let sample = sample(plan, before)?;
        for mut child in children {
            child.kill().await?;
        }
        for task in tasks {
            task.await.map_err(io::Error::other)?;
        }
        Ok(sample)
    })
}

/// The loop blocks in its waitid(2); another thread looks at the clock, then ends it all.
fn bare(plan: &Plan, number: usize, workload: Workload) -> io::Result<Sample> {
    let held = (0..number).map(|_| floor::spawn_held(workload));
    let pids = held.collect::<io::Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let sample = look(plan);
            for &pid in &pids {
                kill(Pid::from_raw(pid), Signal::SIGKILL)?;
            }
            sample
        });
        match floor::serve(&pids, Resume::Syscall, |_| Ok(())) {
            // It was killed between its stop and the request.
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => {}
            result => result?,
        }
        looker
            .join()
            .map_err(|_| io::Error::other("the thread that looks"))?
    })
}

/// Waits until all is quiet, then measures, while another thread traces.
fn look(plan: &Plan) -> io::Result<Sample> {
    for _ in 0..LOOKS {
        let before = used()?;
        thread::sleep(SETTLE);
        if used()? - before < QUIET {
            break;
        }
    }
    let before = used()?;
    thread::sleep(plan.look);
    sample(plan, before)
}

/// The CPU time of this process.
fn used() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn sample(plan: &Plan, before: Duration) -> io::Result<Sample> {
    let share = used()?.saturating_sub(before).div_duration_f64(plan.look);
    let percent = share * 100.0;
    Ok(Sample::new(1, Duration::from_secs(1).mul_f64(share)).with("% of the time", percent))
}

//! Births: forks that are followed, attaching to a crowd of threads, spawning.

use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tracehound::{ResumeMode, Tid, Tracer};

use crate::cases::{Case, host};
use crate::floor;
use crate::machine::Ballast;
use crate::plan::Plan;
use crate::sample::Sample;
use crate::workload::{LOADER_PATH, Workload};

const FLOOR_FORKS: &str = "floor, a fork followed";
const FLOOR_ATTACH: &str = "floor, attach, stop and let go";
const FLOOR_SPAWN: &str = "posix_spawn, host of 50 MiB";
const FLOOR_SPAWN_LARGE: &str = "posix_spawn, host of 4 GiB";

const MIB: usize = 1024 * 1024;

pub(super) const CASES: &[Case] = &[
    Case {
        name: FLOOR_FORKS,
        baseline: None,
        goal: None,
        run: bare_forks,
    },
    Case {
        name: "tracehound, a fork followed",
        baseline: Some(FLOOR_FORKS),
        goal: Some(1.15),
        run: forks,
    },
    Case {
        name: FLOOR_ATTACH,
        baseline: None,
        goal: None,
        run: bare_attach,
    },
    Case {
        name: "tracehound, attach, stop, let go",
        baseline: Some(FLOOR_ATTACH),
        goal: Some(1.2),
        run: attach,
    },
    Case {
        name: FLOOR_SPAWN,
        baseline: None,
        goal: None,
        run: |plan| bare_spawn(plan, 50 * MIB),
    },
    // What a stop at the exec takes at the least: posix_spawn returns in the middle of it.
    Case {
        name: "bare traced spawn, host of 50 MiB",
        baseline: Some(FLOOR_SPAWN),
        goal: None,
        run: |plan| bare_traced_spawn(plan, 50 * MIB),
    },
    Case {
        name: "spawn, host of 50 MiB",
        baseline: Some(FLOOR_SPAWN),
        goal: Some(1.2),
        run: |plan| spawn(plan, 50 * MIB),
    },
];

/// These take long.
pub(super) const LARGE: &[Case] = &[
    Case {
        name: FLOOR_SPAWN_LARGE,
        baseline: None,
        goal: None,
        run: |plan| bare_spawn(plan, 4096 * MIB),
    },
    Case {
        name: "spawn, host of 4 GiB",
        baseline: Some(FLOOR_SPAWN_LARGE),
        goal: Some(1.2),
        run: |plan| spawn(plan, 4096 * MIB),
    },
];

fn bare_forks(plan: &Plan) -> io::Result<Sample> {
    let first = floor::spawn_held(Workload::Forks(plan.forks))?;
    let start = Instant::now();
    floor::follow_forks(first)?;
    Ok(Sample::new(plan.forks, start.elapsed()))
}

fn forks(plan: &Plan) -> io::Result<Sample> {
    host::with_tracer(&host::current_thread()?, async |tracer| {
        let command = host::command(Workload::Forks(plan.forks), ResumeMode::Cont)?;
        let start = Instant::now();
        let traced = tracer.trace(command, |mut tracee| async move {
            while tracee.next().await.is_some() {}
        });
        traced.await?;
        Ok(Sample::new(plan.forks, start.elapsed()))
    })
}

fn bare_attach(plan: &Plan) -> io::Result<Sample> {
    let crowd = host::Crowd::start(plan.threads)?;
    let start = Instant::now();
    for _ in 0..plan.attaches {
        floor::attach_stop_and_let_go(crowd.pid()?)?;
    }
    Ok(Sample::new(
        plan.attaches * (plan.threads + 1),
        start.elapsed(),
    ))
}

fn attach(plan: &Plan) -> io::Result<Sample> {
    let crowd = host::Crowd::start(plan.threads)?;
    let pid = crowd.pid()?;
    host::with_tracer(&host::current_thread()?, async |tracer| {
        let start = Instant::now();
        for _ in 0..plan.attaches {
            let attach = tracer.attach(Tid::from_raw(pid)).own_child(true);
            let mut process = attach.stop_all(true).await?;
            process.detach().await?;
        }
        Ok(Sample::new(
            plan.attaches * (plan.threads + 1),
            start.elapsed(),
        ))
    })
}

fn bare_spawn(plan: &Plan, size: usize) -> io::Result<Sample> {
    let _ballast = Ballast::new(size);
    let mut time = Duration::ZERO;
    for _ in 0..plan.spawns {
        let [program, args @ ..] = Workload::Calls(0).command_line()?;
        let mut command = Command::new(program);
        command.args(args).env_remove(LOADER_PATH);
        let start = Instant::now();
        let mut child = command.spawn()?;
        time += start.elapsed();
        child.wait()?;
    }
    Ok(Sample::new(plan.spawns, time))
}

fn bare_traced_spawn(plan: &Plan, size: usize) -> io::Result<Sample> {
    let _ballast = Ballast::new(size);
    let ready = floor::Ready::new(Workload::Calls(0))?;
    let mut time = Duration::ZERO;
    for _ in 0..plan.spawns {
        let start = Instant::now();
        let pid = floor::vfork_traced(&ready)?;
        time += start.elapsed();
        floor::follow_forks(pid)?;
    }
    Ok(Sample::new(plan.spawns, time))
}

fn spawn(plan: &Plan, size: usize) -> io::Result<Sample> {
    let _ballast = Ballast::new(size);
    host::with_tracer(&host::current_thread()?, async |tracer: &Tracer| {
        let mut time = Duration::ZERO;
        for _ in 0..plan.spawns {
            let command = host::command(Workload::Calls(0), ResumeMode::Cont)?;
            let start = Instant::now();
            let (mut tracee, mut child) = tracer.spawn(command).await?;
            tracee.next().await;
            time += start.elapsed();
            while tracee.next().await.is_some() {}
            child.wait().await?;
        }
        Ok(Sample::new(plan.spawns, time))
    })
}

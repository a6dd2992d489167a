//! The process that carries cases out, one after the other.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tracehound_tests::{own_fds, own_threads};

use crate::plan::Case;
use crate::shrink::Trees;
use crate::world::Shared;
use crate::{ERRORS, end, system, until};

static SILENT: AtomicBool = AtomicBool::new(false);

/// Says nothing of what fails.
pub(crate) fn be_silent() {
    SILENT.store(true, Ordering::Relaxed);
}

/// What must be as it was after each case.
#[derive(Debug, PartialEq, Eq)]
struct Own {
    threads: usize,
    fds: usize,
}

fn own() -> Own {
    Own {
        threads: own_threads().len(),
        fds: own_fds(),
    }
}

/// Resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).expect("VmRSS")
}

/// A runtime whose threads are all there from now on.
fn runtime() -> Runtime {
    // Wherever it is, a panic fails the case, and the process with it.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !SILENT.load(Ordering::Relaxed) {
            hook(info);
        }
        // SAFETY: ends the process.
        unsafe { libc::_exit(101) }
    }));
    system::become_subreaper();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(100_000))
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        tokio::task::spawn_blocking(|| ()).await.expect("no panic");
    });
    runtime
}

async fn one_case(case: Case, before: &Own, shared: &Arc<Shared>) {
    end::run(case, shared).await;
    assert_eq!(ERRORS.load(Ordering::Relaxed), 0, "errors were logged");
    until(
        || format!("{before:?}, but {:?}", own()),
        || &own() == before,
    )
    .await;
}

/// Carries out one case.
pub(crate) fn run_one(case: Case) -> u64 {
    let runtime = runtime();
    let before = own();
    let shared = Arc::default();
    runtime.block_on(one_case(case, &before, &shared));
    shared.ops.load(Ordering::Relaxed)
}

/// Carries out cases until the time is over. Says which it begins with, and in the end what it
/// has done.
pub(crate) fn run(first: u64, span: Duration, cases: u64, mut says: File) {
    let runtime = runtime();
    let before = own();
    let start = Instant::now();
    let (mut done, mut ops) = (0, 0);
    let mut early = None;
    while done < cases && start.elapsed() < span {
        let seed = first.wrapping_add(done);
        writeln!(says, "seed {seed} after {done} cases, {ops} operations")
            .expect("the driver listens");
        let shared = Arc::new(Shared::default());
        runtime.block_on(one_case(Trees::of(seed).current(), &before, &shared));
        done += 1;
        ops += shared.ops.load(Ordering::Relaxed);
        if start.elapsed() > span / 5 {
            early.get_or_insert_with(resident);
        }
    }
    let (late, early) = (resident(), early.unwrap_or_else(resident));
    let memory = format!("{early} KiB resident after a fifth of the time, {late} in the end");
    // What a larger case than any before takes once.
    assert!(late < early + early / 4 + 2048, "{memory}");
    let time = start.elapsed().as_secs();
    writeln!(says, "{done} cases, {ops} operations in {time} s; {memory}").expect("listens");
}

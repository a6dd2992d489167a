//! A host that traces one short-lived process after the other, and does not grow: its resident
//! memory in the end is within 5 % of what it was after the first hundredth.
//!
//! `TRACEHOUND_SOAK` is how many there are: 5,000, if it is not set.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tracehound::{Command, Event, Tracer};
use tracehound_tests::{end, new_tracer, own_fds, own_threads, place, soon, until};

/// How many are traced at once.
const AT_ONCE: usize = 8;

/// Resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).expect("VmRSS")
}

/// Traces so many processes, and counts them.
async fn trace(tracer: Tracer, count: u64, done: Arc<AtomicU64>) {
    while done.fetch_add(1, Ordering::Relaxed) < count {
        let mut command = Command::new("true");
        let spawned = soon("a spawn", tracer.spawn(place(&mut command))).await;
        let (mut tracee, mut child) = spawned.expect("spawn");
        let last = end(&mut tracee).await;
        assert!(
            matches!(last, Event::Exited(exited) if exited.code == 0),
            "{last:?}"
        );
        let status = soon("a status", child.wait()).await.expect("a status");
        assert!(status.success(), "{status}");
    }
}

async fn trace_all(tracer: &Tracer, count: u64) {
    let done = Arc::default();
    let one = || tokio::spawn(trace(tracer.clone(), count, Arc::clone(&done)));
    let tasks: Vec<_> = (0..AT_ONCE).map(|_| one()).collect();
    for task in tasks {
        task.await.expect("no panic");
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let count = std::env::var("TRACEHOUND_SOAK").ok();
    let count: u64 = count.map_or(5_000, |count| count.parse().expect("a number"));
    let tracer = new_tracer();
    let start = Instant::now();
    let first = (count / 100).max(1_000);
    trace_all(&tracer, first).await;
    let early = (resident(), own_threads().len(), own_fds());
    trace_all(&tracer, count.saturating_sub(first)).await;
    let few = || own_threads().len() <= early.1 && own_fds() <= early.2;
    until("no more threads and descriptors", few).await;
    let late = (resident(), own_threads().len(), own_fds());
    let time = start.elapsed().as_secs_f64();
    println!(
        "{count} processes in {time:.1} s; KiB resident, threads, descriptors: {early:?}, then {late:?}"
    );
    assert!(late.0 * 100 <= early.0 * 105, "it has grown");
    assert_eq!(tracer.metrics().tracees, 0);
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

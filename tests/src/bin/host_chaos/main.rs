//! A host that does anything with tracehound, in any order: a long random walk over all that
//! can be asked of it, against a model of what may come of that.
//!
//! A case is a list of operations that proptest makes from a seed. When it has ended, nobody
//! may be left, traced or not, and no thread or descriptor of this process; in the end its
//! memory has not grown. What fails is tried again with fewer operations, each time in a process
//! of its own, and the shortest list that still fails is told.
//!
//! - `TRACEHOUND_CHAOS_SECONDS`: how long to go on; 20 if it is not set
//! - `TRACEHOUND_CHAOS_SEED`: the first case's seed; those that follow count up. Otherwise it is
//!   the time
//! - `TRACEHOUND_CHAOS_CASES`: how many at most
//! - `TRACEHOUND_CHAOS_SHRINK`: how many seconds may be spent on shrinking; 30
//! - `TRACEHOUND_CHAOS_STUCK`: after how many seconds something that does not come is stuck; 45

mod end;
mod filter;
mod follow;
mod group;
mod life;
mod plan;
mod shrink;
mod system;
mod touch;
mod worker;
mod world;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

fn setting(name: &str, default: u64) -> u64 {
    let name = format!("TRACEHOUND_CHAOS_{name}");
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().expect("a number"))
}

/// After how many seconds something is stuck.
fn stuck() -> u64 {
    setting("STUCK", 45)
}

/// How many errors the tracer has logged.
static ERRORS: AtomicU64 = AtomicU64::new(0);

/// What the tracer finds wrong is seen beside what the model does, and ends the case, too.
fn hear_errors() {
    let errors = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR);
    let writer = || {
        ERRORS.fetch_add(1, Ordering::Relaxed);
        std::io::stderr()
    };
    errors.with_writer(writer).init();
}

/// Waits for what has to come.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    soon_or(future, || what.to_string()).await
}

/// Waits for what has to come; says this if it does not.
async fn soon_or<T>(future: impl Future<Output = T>, what: impl FnOnce() -> String) -> T {
    match tokio::time::timeout(Duration::from_secs(stuck()), future).await {
        Ok(output) => output,
        Err(_) => panic!("stuck: {}\n{}", what(), system::told()),
    }
}

/// Waits for a state of the system that nothing tells of.
async fn until(what: impl Fn() -> String, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        let late = start.elapsed() > Duration::from_secs(stuck());
        assert!(!late, "never came true: {}", what());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A process that works, and what it says.
struct Worker {
    pid: libc::pid_t,
    said: BufReader<File>,
}

impl Worker {
    /// Forks one. This process has one thread.
    fn fork(work: impl FnOnce(File)) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        // SAFETY: there is one thread, so whatever the child uses is in order.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork");
        if pid == 0 {
            drop(reader);
            work(File::from(std::os::fd::OwnedFd::from(writer)));
            std::process::exit(0);
        }
        drop(writer);
        let said = BufReader::new(File::from(std::os::fd::OwnedFd::from(reader)));
        Worker { pid, said }
    }

    /// Its last line, and whether it succeeded.
    fn join(mut self) -> (String, bool) {
        let (mut last, mut line) = (String::new(), String::new());
        while self.said.read_line(&mut line).is_ok_and(|read| read > 0) {
            last = std::mem::take(&mut line);
        }
        let mut status = 0;
        // SAFETY: the child is this process's, and the status is there to be written.
        unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        clear_up();
        (last, status == 0)
    }
}

/// Ends whatever a worker that failed has left.
fn clear_up() {
    let start = Instant::now();
    while !system::descendants().is_empty() && start.elapsed() < Duration::from_secs(20) {
        system::kill_all();
        for pid in system::descendants() {
            let _ = tracehound_sys::reap(pid);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn main() {
    system::become_subreaper();
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let first = setting("SEED", time.map_or(1, |time| time.as_secs() * 1_000_000));
    let span = Duration::from_secs(setting("SECONDS", 20));
    let cases = setting("CASES", u64::MAX);
    let worker = Worker::fork(move |says| {
        hear_errors();
        worker::run(first, span, cases, says);
    });
    let (last, succeeded) = worker.join();
    println!("first seed {first}: {}", last.trim_end());
    if succeeded {
        return;
    }
    let seed = last.split_whitespace().find_map(|word| word.parse().ok());
    let seed: u64 = seed.unwrap_or(first);
    println!("seed {seed} fails: TRACEHOUND_CHAOS_SEED={seed} TRACEHOUND_CHAOS_CASES=1");
    match shrink::least(seed) {
        Some(least) => println!("the least that was found to fail: {least}"),
        None => println!(
            "it did not fail again: {}",
            shrink::Trees::of(seed).current()
        ),
    }
    std::process::exit(1);
}

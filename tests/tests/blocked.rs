//! Pinned tasks that block their tracer thread.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};
use tracehound::{Command, Event, PinnedTask, ResumeMode, Stdio, Tid, Tracee, Tracer};
use tracehound_tests::{Log, builder, next, own_threads, soon, start, state, until};
use tracing::Level;

/// The threads of the whole process are looked at: one test at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: AsyncMutex<()> = AsyncMutex::const_new(());
    let alone = ALONE.lock().await;
    // A tracer that was dropped ends by itself.
    until("the end of the last one's", || watchers().is_empty()).await;
    alone
}

fn tracer(threads: usize, limit: Duration) -> Tracer {
    let mut builder = builder();
    builder.threads(threads).report_blocked_after(limit);
    builder.build().expect("a tracer")
}

fn sleeper(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sleeper"));
    command.args(args).stdout(Stdio::null()).kill_on_drop(true);
    command
}

/// The watching threads of this process.
fn watchers() -> Vec<Tid> {
    let mut threads = own_threads();
    threads.retain(|tid| {
        let comm = std::fs::read_to_string(format!("/proc/self/task/{tid}/comm"));
        comm.is_ok_and(|comm| comm.starts_with("tracehound-watc"))
    });
    threads
}

/// The watching thread was joined. `/proc` may show it for a moment longer.
async fn has_ended() {
    until("the end of the watching thread", || watchers().is_empty()).await;
}

fn said_of(log: &Log, tid: Tid) -> usize {
    let text = log.text();
    let tid = format!("tid={tid} ");
    let blocks = "a pinned task blocks its tracer thread";
    text.lines()
        .filter(|line| line.contains(blocks) && line.contains(&tid))
        .count()
}

/// A task that does what none must: it blocks its thread, until it is let go.
async fn block(tracee: Tracee) -> (Sender<()>, PinnedTask<()>) {
    let (let_go, wait) = std::sync::mpsc::channel();
    let (begun, begin) = tokio::sync::oneshot::channel();
    let task = tracee.spawn_pinned(move |tracee| async move {
        let _ = begun.send(());
        let _ = wait.recv();
        drop(tracee);
    });
    soon("the task", begin).await.expect("it runs");
    (let_go, task)
}

// It is named while it goes on, and other shards go on, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_blocks_is_reported() {
    let _alone = alone().await;
    let log = Log::of(Level::INFO);
    let tracer = tracer(2, Duration::from_millis(100));
    let (blocked, _child) = start(&tracer, &mut sleeper(&[])).await;
    let (mut other, _other) = start(&tracer, &mut sleeper(&["spin"])).await;
    let tid = blocked.tid();
    let (let_go, task) = block(blocked).await;
    until("a report", || said_of(&log, tid) > 0).await;
    for _ in 0..100 {
        other.step().await.expect("held");
        assert!(matches!(
            soon("a step", other.wait()).await,
            Some(Event::Step)
        ));
    }
    until("another report", || said_of(&log, tid) > 1).await;
    let_go.send(()).expect("it waits");
    soon("the task", task).await.expect("no panic");
    until("the end", || {
        log.text().contains("serves its tracees again")
    })
    .await;
    assert_eq!(said_of(&log, other.tid()), 0);
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    has_ended().await;
}

// A shutdown has to wait for it, and does not do so silently.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_holds_up_the_end_is_reported() {
    let _alone = alone().await;
    let log = Log::of(Level::INFO);
    let tracer = tracer(1, Duration::from_millis(100));
    let (blocked, _child) = start(&tracer, &mut sleeper(&[])).await;
    let tid = blocked.tid();
    let (let_go, _task) = block(blocked).await;
    let shutdown = tokio::spawn({
        let tracer = tracer.clone();
        async move { tracer.shutdown().await }
    });
    until("a report", || said_of(&log, tid) > 0).await;
    let_go.send(()).expect("it waits");
    soon("shutdown", shutdown)
        .await
        .expect("no panic")
        .expect("shutdown");
    has_ended().await;
}

// Who awaits is not reported, whatever it does all day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_works_is_not() {
    let _alone = alone().await;
    let log = Log::of(Level::INFO);
    let limit = Duration::from_millis(300);
    let tracer = tracer(1, limit);
    let mut command = sleeper(&["calls", "100000"]);
    command.resume_mode(ResumeMode::Syscall);
    let (tracee, mut child) = start(&tracer, &mut command).await;
    let tid = tracee.tid();
    let task = tracee.spawn_pinned(|mut tracee| async move {
        let mut count = pin!(tracee.by_ref().count());
        let mut longest = Duration::ZERO;
        let counted = poll_fn(|cx| {
            let begin = Instant::now();
            let polled = count.as_mut().poll(cx);
            longest = longest.max(begin.elapsed());
            polled
        });
        (counted.await, longest)
    });
    let (count, longest) = soon("the task", task).await.expect("no panic");
    assert!(count > 200_000);
    soon("its end", child.wait()).await.expect("a status");
    // The machine itself may have stood still in a poll.
    let stood_still = longest > limit / 2;
    assert!(said_of(&log, tid) == 0 || stood_still, "{longest:?}");
}

// When nothing is polled, nobody looks.
#[tokio::test]
async fn watching_an_idle_tracer_costs_nothing() {
    let _alone = alone().await;
    let tracer = tracer(1, Duration::from_millis(20));
    assert_eq!(watchers(), [], "there is no pinned task");
    let (tracee, _child) = start(&tracer, &mut sleeper(&[])).await;
    let control = tracee.control();
    let task = tracee.spawn_pinned(|mut tracee| async move {
        next!(tracee, Event::Interrupted);
        std::future::pending::<()>().await;
    });
    until("the watching thread", || watchers().len() == 1).await;
    let watcher = watchers()[0];
    let wakes = || {
        let status = std::fs::read_to_string(format!("/proc/self/task/{watcher}/status"));
        let status = status.expect("it is there");
        let of = |line: &str| {
            line.strip_prefix("voluntary_ctxt_switches:")?
                .trim()
                .parse()
                .ok()
        };
        status.lines().find_map(of).unwrap_or(0_u64)
    };
    // It sleeps for many times the limit. One that goes on looking never does.
    until("sleep", || {
        let before = wakes();
        std::thread::sleep(Duration::from_millis(400));
        wakes() == before && state(watcher) == Some('S')
    })
    .await;
    let before = wakes();
    // A poll wakes it.
    soon("an answer", control.interrupt())
        .await
        .expect("it lives");
    until("a look", || wakes() > before).await;
    drop(task);
}

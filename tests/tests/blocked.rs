//! Pinned tasks that block their tracer thread.

use std::io::Write;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};
use tracehound::{Command, Event, PinnedTask, ResumeMode, Stdio, Tid, Tracee, Tracer};
use tracehound_tests::{builder, next, own_threads, soon, start, until};

/// The threads of the whole process are looked at: one test at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: AsyncMutex<()> = AsyncMutex::const_new(());
    let alone = ALONE.lock().await;
    // A tracer that was dropped ends by itself.
    until("the end of the last one's", || watchers().is_empty()).await;
    alone
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> (Log, tracing::Dispatch) {
        let log = Log::default();
        let own = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || own.clone());
        (log, subscriber.finish().into())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

/// All tests of a process share the log of the first: what is looked for names a tracee.
fn log() -> Log {
    static LOG: std::sync::OnceLock<Log> = std::sync::OnceLock::new();
    let start = || {
        let (log, dispatch) = Log::start();
        tracing::dispatcher::set_global_default(dispatch).expect("the first");
        log
    };
    LOG.get_or_init(start).clone()
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
    let log = log();
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
    assert_eq!(watchers(), [], "joined");
}

// A shutdown has to wait for it, and does not do so silently.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_holds_up_the_end_is_reported() {
    let _alone = alone().await;
    let log = log();
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
    assert_eq!(watchers(), [], "joined");
}

// Who awaits is not reported, whatever it does all day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_works_is_not() {
    let _alone = alone().await;
    let log = log();
    let tracer = tracer(1, Duration::from_millis(300));
    let mut command = sleeper(&["calls", "100000"]);
    command.resume_mode(ResumeMode::Syscall);
    let (tracee, mut child) = start(&tracer, &mut command).await;
    let tid = tracee.tid();
    let task = tracee.spawn_pinned(|tracee| tracee.count());
    assert!(soon("the task", task).await.expect("no panic") > 200_000);
    soon("its end", child.wait()).await.expect("a status");
    assert_eq!(said_of(&log, tid), 0);
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
    let mut before = wakes();
    until("sleep", || {
        std::thread::sleep(Duration::from_millis(100));
        std::mem::replace(&mut before, wakes()) == before
    })
    .await;
    // For many times the limit.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(wakes(), before);
    // A poll wakes it.
    soon("an answer", control.interrupt())
        .await
        .expect("it lives");
    until("a look", || wakes() > before).await;
    drop(task);
}

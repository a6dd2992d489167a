//! A host that waits for what is traced: `host_waits WHAT`.
//!
//! `everything`: one of its threads waits for any child, all the time. `child`: it waits for
//! the traced child, as std does. `once`: it takes one stop of a held tracee, and one death.
//!
//! Whatever it takes from the tracer, every stream ends, nothing stays frozen, and somebody
//! is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tracehound::{Command, Event, ResumeMode, Signal, Stdio, Tid, Tracer};
use tracehound_tests::{
    Family, History, builder, next, place, sibling, soon, start, state, until, wait,
};
use tracing::span;

/// How many errors the library has told of.
static ERRORS: AtomicUsize = AtomicUsize::new(0);

/// Counts errors.
struct Counter;

impl tracing::Subscriber for Counter {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        ERRORS.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// One wait for a child; gives its id and status.
fn wait_for(pid: i32, flags: i32) -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the status outlives the call.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, flags) };
    (waited > 0).then_some((waited, status))
}

/// A thread that waits for this until it is dropped; it counts what it takes.
struct Thief {
    stop: Arc<AtomicBool>,
    stops: Arc<AtomicUsize>,
    deaths: Arc<AtomicUsize>,
}

impl Thief {
    fn of(pid: i32) -> Thief {
        let thief = Thief {
            stop: Arc::default(),
            stops: Arc::default(),
            deaths: Arc::default(),
        };
        let stop = Arc::clone(&thief.stop);
        let (stops, deaths) = (Arc::clone(&thief.stops), Arc::clone(&thief.deaths));
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                match wait_for(pid, libc::__WALL) {
                    Some((_, status)) if libc::WIFSTOPPED(status) => &stops,
                    Some(_) => &deaths,
                    None => {
                        std::thread::yield_now();
                        continue;
                    }
                }
                .fetch_add(1, Ordering::SeqCst);
            }
        });
        thief
    }
}

impl Drop for Thief {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn lost(histories: &[History]) -> usize {
    let lost = histories.iter().filter(|h| matches!(h.end(), Event::Lost));
    lost.count()
}

/// It takes about the half of everything.
async fn everything(tracer: &Tracer) {
    let thief = Thief::of(-1);
    let mut command = Command::new(sibling("sleeper"));
    command.args(["births", "5"]).stdout(Stdio::null());
    let spawned = soon("spawn", tracer.spawn(place(&mut command))).await;
    let (mut stops, mut deaths) = (0, 0);
    if let Ok((tracee, mut child)) = spawned {
        let histories = Family::of(tracee).to_the_end().await;
        let status = soon("the status", child.wait()).await;
        assert_eq!(status.is_err(), matches!(histories[0].end(), Event::Lost));
        // What it took of ours is missing at ours, but for its host's own children.
        assert!(lost(&histories) <= thief.deaths.load(Ordering::SeqCst));
        stops = thief.stops.load(Ordering::SeqCst);
        deaths = lost(&histories);
    }
    if stops + deaths > 0 {
        assert!(
            ERRORS.load(Ordering::SeqCst) > 0,
            "{stops} stops, {deaths} deaths"
        );
    }
}

/// As std's wait for a child does, taking a stop for an end.
async fn child(tracer: &Tracer) {
    let mut command = Command::new(sibling("puppet"));
    command
        .args(["mark", "100"])
        .resume_mode(ResumeMode::Syscall);
    let (mut tracee, mut child) = start(tracer, &mut command).await;
    let thief = Thief::of(child.id().as_raw());
    // However seldom it is the quicker one.
    let one_is_taken = async {
        while thief.stops.load(Ordering::SeqCst) == 0 {
            tracee.step().await.expect("it is held");
            wait!(tracee, Event::Step);
        }
    };
    soon("a stop that it takes", one_is_taken).await;
    let histories = Family::of(tracee).to_the_end().await;
    let entries = |event: &&Event| matches!(event, Event::SyscallEnter(e) if e.call.name() == Some("getppid"));
    // Every stop that it took was found.
    assert_eq!(histories[0].events.iter().filter(entries).count(), 100);
    assert!(ERRORS.load(Ordering::SeqCst) > 0);
    let status = soon("the status", child.wait()).await;
    match histories[0].end() {
        Event::Lost => assert!(status.is_err()),
        Event::Exited(exited) => assert_eq!(status.expect("status").code(), Some(exited.code)),
        other => panic!("{other:?}"),
    }
}

/// Blocks the tracer thread, so that it takes nothing itself, while this happens.
async fn behind_its_back(tracer: &Tracer, f: impl FnOnce() + Send + 'static) {
    let (guide, mut child) = start(tracer, &mut Command::new("true")).await;
    let task = guide.spawn_pinned(move |guide| async move {
        f();
        drop(guide);
    });
    soon("a task", task).await.expect("no panic");
    soon("its end", child.wait()).await.expect("status");
}

/// One of each, for certain.
async fn once(tracer: &Tracer) {
    let mut command = Command::new(sibling("puppet"));
    let (mut tracee, mut child) = start(tracer, command.arg("pause")).await;
    let pid: Tid = child.id();
    tracee.cont().await.expect("it is held");
    until("it pauses", || state(pid) == Some('S')).await;
    let take = move |signal: Signal| {
        move || {
            tracehound_sys::signal_process(pid, signal).expect("it lives");
            let (taken, _) = wait_for(pid.as_raw(), libc::__WALL).expect("a report");
            assert_eq!(taken, pid.as_raw());
        }
    };
    behind_its_back(tracer, take(Signal::SIGUSR1)).await;
    let stop = wait!(tracee, Event::Signal(stop) => stop);
    assert_eq!(stop.signal, Signal::SIGUSR1);
    assert_eq!(ERRORS.swap(0, Ordering::SeqCst), 1);
    tracee.cont().await.expect("it is held");
    until("it pauses", || state(pid) == Some('S')).await;
    behind_its_back(tracer, take(Signal::SIGKILL)).await;
    wait!(tracee, Event::Lost);
    assert!(tracee.wait().await.is_none());
    soon("its end", child.wait())
        .await
        .expect_err("nobody knows");
    // With others left, of which the kernel still tells.
    let mut command = Command::new(sibling("puppet"));
    let (mut other, _other) = start(tracer, command.arg("pause")).await;
    let (mut tracee, child) = start(tracer, command.arg("pause")).await;
    let pid = child.id();
    let take = move || {
        tracehound_sys::signal_process(pid, Signal::SIGKILL).expect("it lives");
        wait_for(pid.as_raw(), libc::__WALL).expect("a report");
    };
    behind_its_back(tracer, take).await;
    wait!(tracee, Event::Lost);
    other.control().kill().expect("it lives");
    next!(other, Event::Killed(_));
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    tracing::subscriber::set_global_default(Counter).expect("the first one");
    // It is held up while its stops are taken: one for all tracees.
    let tracer = builder().threads(1).build().expect("a tracer");
    match std::env::args().nth(1).expect("what to wait for").as_str() {
        "everything" => everything(&tracer).await,
        "child" => child(&tracer).await,
        _ => once(&tracer).await,
    }
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    // The thief may be in a wait.
    std::process::exit(0);
}

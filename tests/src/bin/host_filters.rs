//! A host whose tracer ends while tracees with a filter live: `host_filters WAY`.
//!
//! `kill`, `pass`: by a shutdown. `drop`: with its last handle. `runtime`: with the runtime.
//! `die HOW`: traces a process and a child of it, says their ids, and waits for its input to
//! end, or for its own death.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;

use futures::StreamExt;
use tokio::runtime::{Builder, Runtime};
use tracehound::{Child, Command, Event, Follow, Sysno, Tid, Tracee, Tracer, Unwatched};
use tracehound_sys::proc;
use tracehound_tests::{new_tracer, own_threads, place, sibling, soon, state, until};

/// The ends of the program's pipes.
struct Pipes {
    input: std::io::PipeWriter,
    output: BufReader<std::io::PipeReader>,
}

impl Pipes {
    fn expect(&mut self, expected: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        assert_eq!(line.trim_end(), expected);
    }

    fn calls_are_made(&mut self) {
        for _ in 0..10 {
            self.input.write_all(b"\n").expect("it reads");
            self.expect("made");
        }
    }
}

/// A caller, which the child of the command is; both have a filter.
async fn start(tracer: &Tracer, unwatched: Unwatched) -> (Tracee, Child, Pipes) {
    let (their_input, input) = std::io::pipe().expect("a pipe");
    let (output, their_output) = std::io::pipe().expect("a pipe");
    let mut command = Command::new(sibling("puppet"));
    command
        .args(["call-on-demand", "child"])
        .follow(Follow::Everything);
    command
        .stdin(OwnedFd::from(their_input))
        .stdout(OwnedFd::from(their_output));
    command
        .trace_syscalls([Sysno::getpgid])
        .unwatched(unwatched);
    let spawned = soon("spawn", tracer.spawn(place(&mut command))).await;
    let (tracee, child) = spawned.expect("spawn");
    drop(command);
    let output = BufReader::new(output);
    (tracee, child, Pipes { input, output })
}

/// Leads both to where the child waits for lines.
async fn until_ready(tracee: &mut Tracee) -> Tracee {
    loop {
        let event = soon("an event", tracee.next()).await.expect("it lives");
        let child = event.birth().and_then(|birth| tracee.take_child(birth));
        if let Some(mut child) = child {
            tracee.cont().await.expect("it is held");
            let event = soon("an event", child.next()).await;
            assert!(matches!(event, Some(Event::Started(_))), "{event:?}");
            child.cont().await.expect("it is held");
            return child;
        }
    }
}

fn tracer_threads() -> usize {
    let is_tracer = |tid: &Tid| {
        let name = std::fs::read_to_string(format!("/proc/self/task/{tid}/comm"));
        name.is_ok_and(|name| name.trim_end() == "tracehound")
    };
    own_threads().iter().filter(|tid| is_tracer(tid)).count()
}

async fn kill(tracer: Tracer) {
    let (mut tracee, mut child, mut pipes) = start(&tracer, Unwatched::Kill).await;
    let mut inner = until_ready(&mut tracee).await;
    pipes.expect("ready");
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    assert_eq!(tracer_threads(), 0);
    for tracee in [&mut tracee, &mut inner] {
        let events: Vec<Event> = soon("the end", tracee.collect()).await;
        let [.., Event::Killed(killed)] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(killed.signal, tracehound::Signal::SIGKILL);
    }
    let status = soon("its end", child.wait()).await.expect("a status");
    assert_eq!(status.signal(), Some(libc::SIGKILL));
}

/// What still holds when there is no tracer.
async fn goes_on(mut child: Child, mut pipes: Pipes, killed: bool) {
    assert_eq!(tracer_threads(), 1);
    pipes.calls_are_made();
    if killed {
        child.start_kill();
        let status = soon("its end", child.wait()).await.expect("a status");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        // Its child has lost its parent alone.
        pipes.calls_are_made();
        drop(pipes.input);
    } else {
        drop(pipes.input);
        let status = soon("its end", child.wait()).await.expect("a status");
        assert!(status.success(), "{status}");
    }
    drop(child);
    until("the thread has ended", || tracer_threads() == 0).await;
}

async fn pass(tracer: Tracer) {
    for killed in [false, true] {
        let tracer = if killed { new_tracer() } else { tracer.clone() };
        let (mut tracee, child, mut pipes) = start(&tracer, Unwatched::Pass).await;
        let mut inner = until_ready(&mut tracee).await;
        pipes.expect("ready");
        soon("shutdown", tracer.shutdown()).await.expect("shutdown");
        for tracee in [&mut tracee, &mut inner] {
            let events: Vec<Event> = soon("the end", tracee.collect()).await;
            assert!(matches!(events[..], [.., Event::Detached]), "{events:?}");
        }
        drop((tracee, inner));
        goes_on(child, pipes, killed).await;
    }
}

async fn drop_all(tracer: Tracer) {
    let (mut tracee, child, mut pipes) = start(&tracer, Unwatched::Pass).await;
    let inner = until_ready(&mut tracee).await;
    drop((tracee, inner));
    drop(tracer);
    // It has a share in the tracer.
    drop(child);
    pipes.expect("ready");
    pipes.calls_are_made();
    drop(pipes.input);
    let mut rest = String::new();
    pipes.output.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "");
    until("the thread has ended", || tracer_threads() == 0).await;
}

/// Not inside of it.
fn end_of_runtime(runtime: Runtime) {
    let tracer = runtime.block_on(async { new_tracer() });
    let (tracee, child, pipes) = runtime.block_on(async {
        let (mut tracee, child, mut pipes) = start(&tracer, Unwatched::Pass).await;
        let inner = until_ready(&mut tracee).await;
        pipes.expect("ready");
        drop(inner);
        (tracee, child, pipes)
    });
    drop(runtime);
    let other = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    other.block_on(async {
        let events: Vec<Event> = soon("the end", tracee.collect()).await;
        assert!(matches!(events[..], [.., Event::Detached]), "{events:?}");
        goes_on(child, pipes, false).await;
    });
}

/// Says who is traced, and waits for its end.
async fn die(tracer: Tracer, how: &str) {
    let unwatched = match how {
        "watched" => Unwatched::Kill,
        _ => Unwatched::Pass,
    };
    let (mut tracee, child, mut pipes) = start(&tracer, unwatched).await;
    let inner = until_ready(&mut tracee).await;
    pipes.expect("ready");
    let pids = [child.id(), inner.tid()];
    match how {
        "watched" | "exit" => {}
        "passed" => drop((tracee, inner)),
        _ => soon("shutdown", tracer.shutdown()).await.expect("shutdown"),
    }
    if how != "watched" {
        tokio::task::yield_now().await;
    }
    for pid in pids {
        assert!(state(pid).is_some() && proc::status(pid).is_ok());
        println!("{pid}");
    }
    let _ = std::io::stdin().read(&mut [0]);
}

fn main() {
    let way = std::env::args().nth(1).expect("a way");
    let how = std::env::args().nth(2).unwrap_or_default();
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    if way == "runtime" {
        return end_of_runtime(runtime);
    }
    runtime.block_on(async {
        let tracer = new_tracer();
        match way.as_str() {
            "kill" => kill(tracer).await,
            "pass" => pass(tracer).await,
            "drop" => drop_all(tracer).await,
            "die" => die(tracer, &how).await,
            other => panic!("no such way: {other}"),
        }
    });
}

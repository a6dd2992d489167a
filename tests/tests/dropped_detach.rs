//! A detach that nobody waits for any more, and a resume that comes after it.

use std::pin::pin;

use futures::{FutureExt, StreamExt};
use tracehound::{Command, Event, Signal, Stdio, Sysno, Tracer, Unwatched};
use tracehound_sys::signal_process;
use tracehound_tests::{Stall, builder, is_traced, line, lines, soon, start, state, until, wait};

const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

/// The tracer thread finds both in its queue.
async fn both_in_the_queue(tracer: &Tracer, filter: bool) {
    let mut command = Command::new(SLEEPER);
    command.arg("pause").stdout(Stdio::piped());
    if filter {
        command.trace_syscalls([Sysno::getpgid]);
        command.unwatched(Unwatched::Pass);
    }
    let (mut tracee, mut child) = start(tracer, &mut command).await;
    tracee.cont().await.expect("it is held");
    assert_eq!(line(&mut lines(&mut child)).await, "ready");
    let pid = tracee.tid();
    signal_process(pid, Signal::SIGWINCH).expect("it lives");
    wait!(tracee, Event::Signal(stop) if stop.signal == Signal::SIGWINCH);
    let stall = Stall::of(tracer).await;
    {
        let detach = pin!(tracee.detach_with(Signal::SIGWINCH));
        assert!(detach.now_or_never().is_none());
    }
    // It asks for the next event, for which it resumes.
    assert!(tracee.next().now_or_never().is_none());
    drop(stall);
    let last = soon("its end", tracee.next()).await;
    assert!(matches!(last, Some(Event::Detached)), "{last:?}");
    until("it sleeps", || state(pid) == Some('S')).await;
    assert_eq!(is_traced(pid), filter);
    assert_eq!(tracer.metrics().lost, 0);
    soon("its end", child.kill()).await.expect("a status");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_tracee_that_can_be_detached() {
    let tracer = builder().threads(1).build().expect("a tracer");
    both_in_the_queue(&tracer, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_that_is_let_through_its_stops() {
    let tracer = builder().threads(1).build().expect("a tracer");
    both_in_the_queue(&tracer, true).await;
}

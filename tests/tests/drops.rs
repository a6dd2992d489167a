//! Dropping anything, at any moment. Scenario 48 throughout.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures::{FutureExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tracehound::event::SyscallEnter;
use tracehound::{Command, Event, ResumeMode, Stdio, Sysno};
use tracehound_tests::{end, new_tracer, puppet, run_host, soon, start};

const HOST: &str = env!("CARGO_BIN_EXE_host_drops");

// Scenario 48
#[tokio::test]
async fn a_dropped_spawn_leaves_nothing() {
    run_host(HOST, ["spawns"]).await;
}

// Scenario 48
#[tokio::test]
async fn a_tracee_dropped_in_any_stop_leaves_nothing() {
    run_host(HOST, ["stops"]).await;
}

// Scenario 48
#[tokio::test]
async fn a_dropped_tree_leaves_nothing() {
    run_host(HOST, ["trees"]).await;
}

// Scenario 48
#[tokio::test]
async fn a_dropped_attach_or_process_leaves_nothing() {
    run_host(HOST, ["attaches"]).await;
}

// Scenario 48
#[tokio::test]
async fn a_dropped_child_is_killed_if_asked_for() {
    run_host(HOST, ["kills"]).await;
}

// Scenario 48
#[tokio::test]
async fn a_dropped_tracer_leaves_nothing() {
    run_host(HOST, ["tracers"]).await;
}

// Scenario 48: what waits for an event may be dropped; the event is not lost.
#[tokio::test]
async fn dropped_waits_lose_no_event() {
    const CALLS: usize = 500;
    let tracer = new_tracer();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sleeper"));
    command
        .args(["calls", &CALLS.to_string()])
        .stdout(Stdio::null())
        .resume_mode(ResumeMode::Syscall);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    let (mut entered, mut calls) = (false, 0);
    loop {
        // Begun, which resumes it, and dropped, once or several times.
        let mut event = None;
        for _ in 0..3 {
            let polled = {
                let mut next = pin!(tracee.next());
                next.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            };
            match polled {
                Poll::Ready(ready) => {
                    event = Some(ready);
                    break;
                }
                Poll::Pending => {}
            }
            tokio::task::yield_now().await;
        }
        let event = match event {
            Some(event) => event,
            None => match tracee.wait().now_or_never() {
                Some(event) => event,
                None => soon("an event", tracee.wait()).await,
            },
        };
        match event.expect("it has an end") {
            Event::SyscallEnter(enter) => {
                assert!(!std::mem::replace(&mut entered, true), "{enter}");
                calls += usize::from(enter.call.nr == libc::SYS_getppid as u64);
            }
            Event::SyscallExit(exit) => {
                assert_eq!(std::mem::take(&mut entered), exit.call.is_some(), "{exit}");
            }
            event if event.is_terminal() => break,
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(calls, CALLS);
}

// Scenario 48: the same where the event cannot have come yet.
#[tokio::test]
async fn dropped_waits_for_what_has_not_happened_lose_no_event() {
    let tracer = new_tracer();
    let mut command = puppet!("call-on-demand");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .resume_mode(ResumeMode::Syscall);
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    let mut stdin = child.stdin.take().expect("piped");
    let is_read = |enter: &SyscallEnter| enter.call.sysno() == Some(Sysno::read);
    for _ in 0..50 {
        // Up to where it waits for the next line: the only call that is not over at once.
        loop {
            let enter = match soon("a call", tracee.next()).await.expect("it lives") {
                Event::SyscallEnter(enter) => enter,
                Event::SyscallExit(_) => continue,
                other => panic!("{other:?}"),
            };
            if is_read(&enter) && enter.call.args[0] == 0 {
                break;
            }
        }
        // The first resumes it.
        for _ in 0..3 {
            assert!(tracee.next().now_or_never().is_none());
            tokio::task::yield_now().await;
            assert!(tracee.wait().now_or_never().is_none());
        }
        stdin.write_all(b"\n").await.expect("it reads");
        let event = soon("the end of the call", tracee.wait()).await;
        let is_it = matches!(&event, Some(Event::SyscallExit(exit)) if exit.value == 1);
        assert!(is_it, "{event:?}");
    }
    drop(stdin);
    let end = end(&mut tracee).await;
    assert!(
        matches!(end, Event::Exited(exited) if exited.code == 0),
        "{end:?}"
    );
}

// Scenario 48: a request that was sent is carried out; its answer may be forgotten.
#[tokio::test]
async fn dropped_requests_change_nothing() {
    let tracer = new_tracer();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sleeper"));
    command.args(["exit", "8"]).stdout(Stdio::null());
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    let regs = tracee.getregs().await.expect("held");
    for _ in 0..500 {
        // Sent, and seldom answered at once.
        drop(tracee.getregs().now_or_never());
        drop(tracee.getregs());
        drop(tracee.cont());
    }
    assert_eq!(tracee.getregs().await.expect("still held"), regs);
    // Sent at its first poll, and waited for by nobody.
    let _ = tracee.detach().now_or_never();
    let status = soon("its end", child.wait()).await.expect("a status");
    assert_eq!(status.code(), Some(8));
    let last = soon("the end", tracee.collect::<Vec<_>>()).await;
    assert!(matches!(last[..], [Event::Detached]), "{last:?}");
}

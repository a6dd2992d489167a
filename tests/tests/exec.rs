//! A tracee becomes another program, whichever of its threads asks for it.

use futures::StreamExt;
use tracehound::{Error, Event, ResumeMode, Signal, Tid, Tracee, Tracer};
use tracehound_tests::{end, in_each_place, next, puppet, soon, start, state, to_the_end, until};

in_each_place! {
    by_the_leader, by_the_leader_of_threads, by_another_thread, by_another_thread_watched_by_nobody,
    former_leader_is_told_apart, failed, again_and_again, no_trap_is_injected, syscall_stops,
    killed_in_the_exec_stop,
}

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

fn exit_code(event: &Event) -> Option<i32> {
    match event {
        Event::Exited(exited) => Some(exited.code),
        _ => None,
    }
}

// Scenario 14
async fn by_the_leader(tracer: Tracer) {
    let mut command = puppet!("exec", PUPPET, "exit", 11);
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    let before = tracee.tid();
    next!(tracee, Event::Exec(exec) if exec.former_tid == before);
    assert_eq!((tracee.tid(), tracee.tgid()), (before, before));
    assert_eq!(exit_code(&end(&mut tracee).await), Some(11));
    assert_eq!(child.wait().await.expect("status").code(), Some(11));
}

/// Runs a puppet whose leader makes two threads. The first runs; the leader and the
/// second, which may be the one to call exec, are held.
async fn with_two_threads(tracer: &Tracer, command: &str) -> (Tracee, [Tracee; 2]) {
    let mut command = puppet!(command, PUPPET, "exit", 11);
    let (mut leader, _child) = start(tracer, &mut command).await;
    let mut threads = Vec::new();
    for _ in 0..2 {
        let birth = next!(leader, Event::Clone(birth) => birth);
        let mut thread = leader.take_child(&birth).expect("the thread");
        next!(thread, Event::Started(_));
        if threads.is_empty() {
            thread.cont().await.expect("cont");
        }
        threads.push(thread);
    }
    let threads = threads.try_into().expect("two");
    (leader, threads)
}

/// How a thread ends that another one's exec does away with.
fn is_swept_away(event: &Event) -> bool {
    match event {
        Event::Exited(exited) => exited.code == 0,
        Event::Killed(killed) => killed.signal == Signal::SIGKILL,
        _ => false,
    }
}

// Scenario 14: the streams of the other threads end.
async fn by_the_leader_of_threads(tracer: Tracer) {
    let (mut leader, mut threads) = with_two_threads(&tracer, "exec-with-threads").await;
    let before = leader.tid();
    threads[1].cont().await.expect("cont");
    next!(leader, Event::Exec(exec) if exec.former_tid == before);
    for thread in &mut threads {
        let events = to_the_end(thread).await;
        let [end] = &events[..] else {
            panic!("{events:?}");
        };
        assert!(is_swept_away(end), "{end:?}");
    }
    assert_eq!(exit_code(&end(&mut leader).await), Some(11));
}

// Scenario 14: its tid becomes the tgid, and the event names the former one.
async fn by_another_thread(tracer: Tracer) {
    let (mut leader, [mut other, mut caller]) = with_two_threads(&tracer, "exec-from-thread").await;
    let (tgid, former) = (leader.tid(), caller.tid());
    leader.cont().await.expect("cont");
    caller.cont().await.expect("cont");
    let control = caller.control();
    let exec = match soon("the exec", caller.wait()).await {
        Some(Event::Exec(exec)) => exec,
        other => panic!("expected the exec, got {other:?}"),
    };
    assert_eq!(exec.former_tid, former);
    assert_eq!((caller.tid(), caller.tgid()), (tgid, tgid));
    assert_eq!(control.tid(), tgid);
    // It is held, and takes requests under its new id.
    caller.getregs().await.expect("regs");
    let leaders = to_the_end(&mut leader).await;
    assert!(
        matches!(leaders[..], [Event::Replaced(replaced)] if replaced.by == Some(former)),
        "{leaders:?}"
    );
    let others = to_the_end(&mut other).await;
    assert!(others.len() == 1 && is_swept_away(&others[0]), "{others:?}");
    assert_eq!(state(former), None);
    assert_eq!(exit_code(&end(&mut caller).await), Some(11));
}

// Scenario 14: handles that nobody listens to do not hold it up.
async fn by_another_thread_watched_by_nobody(tracer: Tracer) {
    let (mut leader, [other, mut caller]) = with_two_threads(&tracer, "exec-from-thread").await;
    leader.cont().await.expect("cont");
    caller.cont().await.expect("cont");
    until("the exec", || caller_is_through(&caller)).await;
    next_is_exec(&mut caller).await;
    assert_eq!(exit_code(&end(&mut caller).await), Some(11));
    drop(other);
    drop(leader);
}

fn caller_is_through(caller: &Tracee) -> bool {
    caller.tid() == caller.tgid()
}

async fn next_is_exec(caller: &mut Tracee) {
    let event = soon("the exec", caller.wait()).await;
    assert!(matches!(event, Some(Event::Exec(_))), "{event:?}");
}

// Scenario 14: the leader's handle refuses requests, and does not reach the survivor.
async fn former_leader_is_told_apart(tracer: Tracer) {
    let (mut leader, [_other, mut caller]) = with_two_threads(&tracer, "exec-from-thread").await;
    leader.cont().await.expect("cont");
    caller.cont().await.expect("cont");
    next_is_exec(&mut caller).await;
    let refused = |error: Error| matches!(error, Error::Gone(_));
    assert!(refused(leader.getregs().await.expect_err("gone")));
    assert!(refused(leader.cont().await.expect_err("gone")));
    assert!(refused(
        leader.control().interrupt().await.expect_err("gone")
    ));
    assert!(refused(leader.control().kill().expect_err("gone")));
    assert!(refused(leader.detach().await.expect_err("gone")));
    let mut byte = [0];
    assert!(refused(
        leader.read_memory(0x1000, &mut byte).expect_err("gone")
    ));
    drop(leader);
    // Still held, still traced, still alive.
    caller.getregs().await.expect("regs");
    assert_eq!(exit_code(&end(&mut caller).await), Some(11));
}

// Scenario 15: no exec event, and the error is reported.
async fn failed(tracer: Tracer) {
    let mut command = puppet!("failed-exec");
    command.resume_mode(ResumeMode::Syscall);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    let events = to_the_end(&mut tracee).await;
    assert!(!events.iter().any(|event| matches!(event, Event::Exec(_))));
    let errnos: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::SyscallExit(exit) => Some(exit),
            _ => None,
        })
        .filter(|exit| exit.call.is_some_and(|call| call.name() == Some("execve")))
        .filter_map(|exit| exit.errno())
        .collect();
    assert_eq!(errnos, [libc::ENOENT]);
}

// Scenario 14: by other threads, one after the other.
async fn again_and_again(tracer: Tracer) {
    let from_thread = [PUPPET, "exec-from-thread"].repeat(3);
    let mut command = puppet!("exec-from-thread");
    command.args(from_thread).args([PUPPET, "exit", "12"]);
    let (tracee, mut child) = start(&tracer, &mut command).await;
    let tree = watch(tracee);
    assert_eq!(soon("the tree", tree).await, 4);
    assert_eq!(child.wait().await.expect("status").code(), Some(12));
}

/// Follows a thread and all that comes of it; gives the number of execs.
fn watch(mut tracee: Tracee) -> futures::future::BoxFuture<'static, usize> {
    Box::pin(async move {
        let mut children = Vec::new();
        let mut execs = 0;
        while let Some(event) = tracee.next().await {
            let child = event.birth().and_then(|birth| tracee.take_child(birth));
            children.extend(child.map(|child| tokio::spawn(watch(child))));
            execs += usize::from(matches!(event, Event::Exec(_)));
        }
        for child in children {
            execs += child.await.expect("a thread");
        }
        execs
    })
}

// Scenario 17
async fn no_trap_is_injected(tracer: Tracer) {
    let mut command = puppet!("exec", PUPPET, "exit", 11);
    for mode in [ResumeMode::Cont, ResumeMode::Syscall] {
        let (mut tracee, _child) = start(&tracer, command.resume_mode(mode)).await;
        let events = to_the_end(&mut tracee).await;
        let signal = events
            .iter()
            .find(|event| matches!(event, Event::Signal(_)));
        assert!(signal.is_none(), "{signal:?}");
        let execs = events
            .iter()
            .filter(|event| matches!(event, Event::Exec(_)));
        assert_eq!(execs.count(), 1);
    }
}

// Scenario 39: entry, event, exit; then entries and exits in turn.
async fn syscall_stops(tracer: Tracer) {
    let mut command = puppet!("exec", PUPPET, "exit", 11);
    let (mut tracee, _child) = start(&tracer, command.resume_mode(ResumeMode::Syscall)).await;
    next!(tracee, Event::SyscallExit(exit) if !exit.is_error);
    let entry = loop {
        let call = next!(tracee, Event::SyscallEnter(enter) => enter.call);
        if call.name() == Some("execve") {
            break call;
        }
        next!(tracee, Event::SyscallExit(exit) if exit.call == Some(call));
    };
    let path = tracee.read_cstring(entry.args[0], 4096).expect("a path");
    assert_eq!(path.strip_suffix(b"\0"), Some(PUPPET.as_bytes()));
    next!(tracee, Event::Exec(_));
    let exit = next!(tracee, Event::SyscallExit(exit) => exit);
    assert_eq!(
        (exit.call, exit.value, exit.is_error),
        (Some(entry), 0, false)
    );
    let call = next!(tracee, Event::SyscallEnter(enter) => enter.call);
    next!(tracee, Event::SyscallExit(exit) if exit.call == Some(call));
    assert_eq!(exit_code(&end(&mut tracee).await), Some(11));
}

// Scenarios 16 and 18
async fn killed_in_the_exec_stop(tracer: Tracer) {
    let (mut leader, [mut other, mut caller]) = with_two_threads(&tracer, "exec-from-thread").await;
    leader.cont().await.expect("cont");
    caller.cont().await.expect("cont");
    next_is_exec(&mut caller).await;
    let tgid: Tid = caller.tid();
    tracehound_sys::signal_process(tgid, Signal::SIGKILL).expect("it lives");
    let end_of_caller = end(&mut caller).await;
    let killed = matches!(end_of_caller, Event::Killed(end) if end.signal == Signal::SIGKILL);
    assert!(killed, "{end_of_caller:?}");
    assert!(matches!(end(&mut leader).await, Event::Replaced(_)));
    assert!(is_swept_away(&end(&mut other).await));
}

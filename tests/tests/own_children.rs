//! Children that were detached, and that another tracer thread attaches to: whoever sees the
//! end, the `Child` says how it was.
//!
//! The other tracer thread is another tracer's here: with several threads in one tracer, chance
//! decides which of them attaches.

use std::time::Duration;

use tracehound::{Child, Command, Error, Event, Refusal, Signal, Stdio, Tracee, Tracer};
use tracehound_tests::{
    Random, end, in_each_place, line, lines, new_tracer, place, soon, start, wait,
};

in_each_place! {
    exits_while_traced_by_another, is_killed_while_traced_by_another,
    exits_when_the_other_has_gone, becomes_a_thread_that_another_traces,
    ends_while_another_attaches,
}

/// A program that exits with 7 when its standard input ends; detached by its maker.
async fn detached(tracer: &Tracer) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "read line; exit 7"]);
    command.stdin(Stdio::piped());
    let (mut tracee, child) = start(tracer, place(&mut command)).await;
    soon("detach", tracee.detach()).await.expect("held");
    child
}

/// Its one thread, attached by another tracer.
async fn attached(other: &Tracer, child: &Child) -> Tracee {
    let attach = other.attach(child.id()).own_child(true);
    let process = soon("attach", attach).await.expect("attached");
    process.into_threads().remove(0)
}

async fn assert_exits_with_7(child: &mut Child) {
    let status = soon("its end", child.wait()).await.expect("its status");
    assert_eq!(status.code(), Some(7));
    assert_eq!(child.try_wait(), Some(status));
}

async fn exits_while_traced_by_another(tracer: Tracer) {
    let other = new_tracer();
    for _ in 0..10 {
        let mut child = detached(&tracer).await;
        let mut tracee = attached(&other, &child).await;
        drop(child.stdin.take());
        let Event::Exited(exited) = end(&mut tracee).await else {
            panic!("it was not killed");
        };
        assert_eq!(exited.code, 7);
        assert_exits_with_7(&mut child).await;
    }
    soon("shutdown", other.shutdown()).await.expect("shutdown");
}

async fn is_killed_while_traced_by_another(tracer: Tracer) {
    let other = new_tracer();
    for round in 0..10 {
        let mut child = detached(&tracer).await;
        let mut tracee = attached(&other, &child).await;
        if round % 2 == 0 {
            tracee.control().interrupt().await.expect("it lives");
            wait!(tracee, Event::Interrupted);
        }
        child.start_kill();
        assert!(matches!(end(&mut tracee).await, Event::Killed(_)));
        let status = soon("its end", child.wait()).await.expect("its status");
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(Signal::SIGKILL.as_raw()));
    }
    soon("shutdown", other.shutdown()).await.expect("shutdown");
}

async fn exits_when_the_other_has_gone(tracer: Tracer) {
    for round in 0..10 {
        let other = new_tracer();
        let mut child = detached(&tracer).await;
        let attach = other.attach(child.id()).own_child(true);
        let mut process = soon("attach", attach).await.expect("attached");
        match round % 3 {
            0 => soon("detach", process.detach()).await.expect("detached"),
            1 => soon("shutdown", other.shutdown()).await.expect("shutdown"),
            _ => drop((process, other)),
        }
        assert_exits_with_7(&mut child).await;
    }
}

// The other traces one thread only, which takes the child's id by its exec.
async fn becomes_a_thread_that_another_traces(tracer: Tracer) {
    let other = new_tracer();
    for _ in 0..10 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crew"));
        let puppet = env!("CARGO_BIN_EXE_puppet");
        command.args(["exec-when-told", "1", puppet, "exit", "7"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let (mut tracee, mut child) = start(&tracer, place(&mut command)).await;
        soon("detach", tracee.detach()).await.expect("held");
        let ready = line(&mut lines(&mut child)).await;
        let tid: u32 = ready.trim_start_matches("ready ").parse().expect("an id");
        let attach = other.attach_thread(tid).own_child(true);
        let mut thread = soon("attach", attach).await.expect("attached");
        drop(child.stdin.take());
        wait!(thread, Event::Exec(exec) if exec.former_tid.as_raw() == tid as i32);
        assert_eq!(thread.tid(), child.id());
        assert!(matches!(end(&mut thread).await, Event::Exited(_)));
        assert_exits_with_7(&mut child).await;
    }
    soon("shutdown", other.shutdown()).await.expect("shutdown");
}

async fn ends_while_another_attaches(tracer: Tracer) {
    let other = new_tracer();
    let mut random = Random::new(7);
    for _ in 0..200 {
        let mut child = detached(&tracer).await;
        let stdin = child.stdin.take();
        let pause = Duration::from_micros(random.below(300) as u64);
        let closing = std::thread::spawn(move || {
            std::thread::sleep(pause);
            drop(stdin);
        });
        let attach = other.attach(child.id()).own_child(true);
        match soon("attach", attach).await {
            Ok(process) => {
                let mut tracee = process.into_threads().remove(0);
                end(&mut tracee).await;
            }
            // It has ended before. That it can be attached to, others show.
            Err(Error::NoSuchProcess(_)) => {}
            Err(Error::NotPermitted {
                reason: Refusal::Zombie,
                ..
            }) => {}
            Err(error) => panic!("{error}"),
        }
        assert_exits_with_7(&mut child).await;
        closing.join().expect("it only sleeps");
    }
    soon("shutdown", other.shutdown()).await.expect("shutdown");
}

//! A thousand tracees at once: each in its own task, on few threads and descriptors, and
//! none starves. One test, since it counts what its whole process has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use futures::future::join_all;
use tokio::sync::Notify;
use tracehound::{Event, ResumeMode, Stdio, Tracee, Tracer};
use tracehound_tests::{new_tracer, own_fds, own_threads, puppet, soon, start, until};

const TRACEES: usize = 1000;

/// How many system calls each must make while all others are as busy.
const CALLS: usize = 10;

/// Goes on until every tracee has made its calls.
#[derive(Default)]
struct Crowd {
    through: AtomicUsize,
    all: Notify,
}

async fn busy(mut tracee: Tracee, crowd: Arc<Crowd>) {
    let mut calls = 0;
    let mut all = std::pin::pin!(crowd.all.notified());
    all.as_mut().enable();
    loop {
        let event = tokio::select! {
            event = tracee.next() => event,
            () = &mut all => break,
        };
        match event {
            Some(Event::SyscallEnter(_)) => calls += 1,
            Some(Event::SyscallExit(_)) => continue,
            other => panic!("{other:?}"),
        }
        if calls == CALLS && crowd.through.fetch_add(1, Ordering::SeqCst) + 1 == TRACEES {
            crowd.all.notify_waiters();
            break;
        }
    }
    tracee.control().kill().expect("kill");
    while tracee.next().await.is_some() {}
}

async fn spawn_all(tracer: &Tracer) -> Vec<Tracee> {
    let mut tracees = Vec::new();
    for _ in 0..TRACEES {
        let mut command = puppet!("marks");
        command
            .stdout(Stdio::null())
            .resume_mode(ResumeMode::Syscall);
        let (tracee, _child) = start(tracer, &mut command).await;
        tracees.push(tracee);
    }
    tracees
}

// Scenario 45
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tracees() {
    let tracer = new_tracer();
    // What comes with the first of them, and with the first pinned task.
    let (first, _child) = start(&tracer, puppet!("exit", 0).stdout(Stdio::null())).await;
    let task = first.spawn_pinned(|tracee| tracee.count());
    soon("the first task", task).await.expect("a task");
    let (threads, fds) = (own_threads().len(), own_fds());
    let no_more = || own_threads().len() <= threads && own_fds() <= fds;

    let tracees = spawn_all(&tracer).await;
    until("a thousand take no more than one", no_more).await;
    let crowd = Arc::new(Crowd::default());
    let tasks = tracees
        .into_iter()
        .map(|tracee| tokio::spawn(busy(tracee, Arc::clone(&crowd))));
    for task in soon("a thousand tasks", join_all(tasks)).await {
        task.expect("a task");
    }

    let crowd = Arc::new(Crowd::default());
    let pin = |tracee: Tracee| {
        let crowd = Arc::clone(&crowd);
        tracee.spawn_pinned(|tracee| busy(tracee, crowd))
    };
    let tasks: Vec<_> = spawn_all(&tracer).await.into_iter().map(pin).collect();
    until("a thousand take no more than one", no_more).await;
    for task in soon("a thousand pinned tasks", join_all(tasks)).await {
        task.expect("a task");
    }
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

//! Whose turn it is: many busy tracees on one tracer thread, idle ones, and those that stop
//! rarely.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use futures::future::{LocalBoxFuture, join_all};
use tracehound::{Child, Event, ResumeMode, Tracee, Tracer};
use tracehound_tests::{builder, end, next, puppet, soon, start, until, wait};

fn one_thread() -> Tracer {
    let tracer = builder().threads(1).build();
    tracer.expect("a tracer")
}

/// A program that makes calls without end, stopped at each.
async fn busy(tracer: &Tracer) -> (Tracee, Child) {
    let mut command = puppet!("mark", i32::MAX);
    start(tracer, command.resume_mode(ResumeMode::Syscall)).await
}

/// The same with other logic on the tracer thread, which counts its stops.
async fn counted(tracer: &Tracer) -> (Arc<AtomicU64>, Child) {
    let (tracee, child) = busy(tracer).await;
    let stops = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&stops);
    drop(tracee.spawn_pinned(move |mut tracee| async move {
        while tracee.next().await.is_some() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }));
    (stops, child)
}

async fn kill_all(children: Vec<Child>) {
    let killed = children.into_iter().map(|mut child| async move {
        soon("its end", child.kill()).await.expect("killed");
    });
    join_all(killed).await;
}

// Scenario 45: whoever is at the head of the kernel's list has not every turn.
#[tokio::test]
async fn each_has_its_turn() {
    let tracer = one_thread();
    let crowd = join_all((0..100).map(|_| counted(&tracer))).await;
    let (stops, children): (Vec<_>, Vec<_>) = crowd.into_iter().unzip();
    let now = || stops.iter().map(|stops| stops.load(Ordering::Relaxed));
    let before: Vec<u64> = now().collect();
    let done = || now().zip(&before).map(|(now, before)| now - before);
    // None of them comes to an end: whoever has to wait for that has no turn at all.
    until("the last has come far", || done().min() >= Some(500)).await;
    kill_all(children).await;
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

// Scenario 45: in a busy crowd a look at everybody never comes to the end of the list.
#[tokio::test]
async fn those_that_stop_rarely_among_busy_ones() {
    let tracer = one_thread();
    let crowd = join_all((0..64).map(|_| counted(&tracer))).await;
    // So many that they are not all asked in each round.
    let mut rare = Vec::new();
    for _ in 0..150 {
        let mut command = puppet!("nap", 3, 400);
        let (tracee, child) = start(&tracer, command.resume_mode(ResumeMode::Syscall)).await;
        drop(tracee.spawn_pinned(follow));
        rare.push(child);
    }
    for mut child in rare {
        let status = soon("its end", child.wait()).await.expect("status");
        assert!(status.success(), "{status:?}");
    }
    kill_all(crowd.into_iter().map(|(_, child)| child).collect()).await;
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

/// The life of an idle tracee, and of what it makes.
fn follow(mut tracee: Tracee) -> LocalBoxFuture<'static, ()> {
    Box::pin(async move {
        while let Some(event) = tracee.next().await {
            if let Some(child) = event.birth().and_then(|birth| tracee.take_child(birth)) {
                drop(child.spawn_pinned(follow));
            }
        }
    })
}

// Scenario 47: idle ones do not keep the stops of others back, of whatever kind those are.
#[tokio::test]
async fn two_that_stop_rarely_among_idle_ones() {
    let tracer = one_thread();
    let mut idle = puppet!("waiting-threads", 150);
    let (leader, mut crowd) = start(&tracer, &mut idle).await;
    drop(leader.spawn_pinned(follow));
    let (mut still, _still) = start(&tracer, &mut puppet!("pause")).await;
    still.cont().await.expect("cont");
    let mut command = puppet!("nap", 100_000, 1);
    let (rare, mut child) = start(&tracer, command.resume_mode(ResumeMode::Syscall)).await;
    let rare = rare.spawn_pinned(|mut rare| async move { while rare.next().await.is_some() {} });
    for _ in 0..200 {
        // Whoever naps is waited for alone, for a while.
        still.control().interrupt().await.expect("it lives");
        wait!(still, Event::Interrupted);
        still.cont().await.expect("cont");
    }
    soon("its end", child.kill()).await.expect("killed");
    soon("the rest", rare).await.expect("no panic");
    still.control().kill().expect("it lives");
    end(&mut still).await;
    soon("its end", crowd.kill()).await.expect("killed");
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

// Scenario 45: in tasks of the host, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_have_their_turns() {
    let tracer = one_thread();
    let mut tasks = Vec::new();
    for _ in 0..30 {
        let (mut tracee, mut child) = busy(&tracer).await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..200 {
                next!(tracee, Event::SyscallExit(_) | Event::SyscallEnter(_));
            }
            soon("its end", child.kill()).await.expect("killed");
            end(&mut tracee).await;
        }));
    }
    for task in tasks {
        soon("the task", task).await.expect("no panic");
    }
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

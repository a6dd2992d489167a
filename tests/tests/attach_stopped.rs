//! Attaching to a process whose threads are stopped as soon as they are seized.

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::task::{Context, Poll, Waker};

use futures::{FutureExt, StreamExt};
use tracehound::{Event, Process, ResumeMode, Signal, Tid, Tracer};
use tracehound_sys::signal_process;
use tracehound_tests::{Ward, all_in, is_untraced, new_tracer, soon, state, tasks, until};

const KEEPER: &str = env!("CARGO_BIN_EXE_keeper");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

async fn attach(tracer: &Tracer, pid: Tid) -> Process {
    let attach = tracer.attach(pid).stop_all(true).into_future();
    soon("attach", attach).await.expect("attached")
}

/// Whether no event waits to be told.
fn is_silent(process: &mut Process) -> bool {
    let mut task = Context::from_waker(Waker::noop());
    process.poll_next_unpin(&mut task).is_pending()
}

// Scenario 46
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_threads() {
    let ward = Ward::start([KEEPER, SLEEPER, "idle-threads", "1000"]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    for _ in 0..2 {
        let mut process = attach(&tracer, pid).await;
        assert!(all_in(pid, &['t']));
        let held = process.threads().map(|thread| thread.tid());
        assert_eq!(
            held.collect::<BTreeSet<_>>(),
            tasks(pid).into_iter().collect()
        );
        for thread in process.threads() {
            thread.getregs().await.expect("held");
        }
        assert!(is_silent(&mut process));
        process.resume_all().await.expect("resumed");
        until("they sleep", || all_in(pid, &['S'])).await;
        assert!(is_silent(&mut process));
        soon("detach", process.detach()).await.expect("detached");
        until("all free", || is_untraced(pid)).await;
    }
}

// Scenario 3, 46: whoever is being born is stopped, too, and belongs to the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_chain_of_threads_escapes() {
    let ward = Ward::start([KEEPER, SLEEPER, "chains", "32"]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    for _ in 0..20 {
        let mut process = attach(&tracer, pid).await;
        let held: BTreeSet<Tid> = process.threads().map(|thread| thread.tid()).collect();
        for tid in tasks(pid) {
            // A dead one may not have been waited for.
            assert!(matches!(state(tid), Some('t' | 'Z' | 'X') | None), "{tid}");
            assert!(held.contains(&tid), "{tid} is not known");
        }
        process.resume_all().await.expect("resumed");
        for _ in 0..100 {
            soon("an event", process.next()).await.expect("they live");
        }
        drop(process);
        until("all free", || is_untraced(pid)).await;
    }
}

// Scenario 4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amid_execs() {
    let ward = Ward::start([KEEPER, SLEEPER, "execs", "50"]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    for _ in 0..20 {
        let process = attach(&tracer, pid).await;
        let held: BTreeSet<Tid> = process.threads().map(|thread| thread.tid()).collect();
        for tid in tasks(pid) {
            assert!(held.contains(&tid), "{tid} is not known");
        }
        drop(process);
        until("all free", || is_untraced(pid)).await;
    }
}

// Scenario 8, 37: a group that stopped itself stays as job control says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_group_stays_stopped() {
    let mut ward = Ward::start([KEEPER, SLEEPER, "threads", "9"]).await;
    let pid = ward.pid();
    until("its threads", || tasks(pid).len() == 9).await;
    signal_process(pid, Signal::SIGSTOP).expect("there");
    ward.expect("stopped 19").await;
    let tracer = new_tracer();
    for _ in 0..3 {
        let mut process = attach(&tracer, pid).await;
        assert!(all_in(pid, &['t']));
        soon("detach", process.detach()).await.expect("detached");
        until("all stopped", || is_untraced(pid) && all_in(pid, &['T'])).await;
    }
    signal_process(pid, Signal::SIGCONT).expect("there");
    ward.expect("continued").await;
}

// Going on is going on in the resume mode.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_go_on_in_their_resume_mode() {
    let ward = Ward::start([KEEPER, SLEEPER, "chains", "4"]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    let attach = tracer.attach(pid).resume_mode(ResumeMode::Syscall);
    let attach = attach.stop_all(true).into_future();
    let mut process = soon("attach", attach).await.expect("attached");
    assert!(all_in(pid, &['t', 'Z']));
    process.resume_all().await.expect("resumed");
    let mut calls = 0;
    while calls < 20 {
        let (_, event) = soon("an event", process.next()).await.expect("they live");
        calls += usize::from(matches!(event, Event::SyscallEnter(_)));
    }
}

// Scenario 48
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_dropped_freezes_nobody() {
    let ward = Ward::start([KEEPER, SLEEPER, "threads", "5"]).await;
    let pid = ward.pid();
    until("its threads", || tasks(pid).len() == 5).await;
    let tracer = new_tracer();
    let mut done = 0;
    for polls in 0.. {
        let mut task = Context::from_waker(Waker::noop());
        let mut attach = tracer.attach(pid).stop_all(true).into_future();
        for _ in 0..polls % 16 {
            if let Poll::Ready(process) = attach.poll_unpin(&mut task) {
                process.expect("attached");
                done += 1;
                break;
            }
            let nobody = tracer.attach(0).into_future();
            soon("a round trip", nobody).await.expect_err("nobody");
        }
        drop(attach);
        until("all free", || {
            is_untraced(pid) && all_in(pid, &['R', 'S', 'D'])
        })
        .await;
        if done == 3 {
            break;
        }
    }
}

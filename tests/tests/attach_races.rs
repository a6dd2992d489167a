//! Attaching to processes that change all the while.

use std::collections::BTreeSet;

use futures::StreamExt;
use tracehound::{Error, Process, Tid, Tracer};
use tracehound_sys::proc;
use tracehound_tests::{Ward, new_tracer, own_threads, soon, tasks, until};

const KEEPER: &str = env!("CARGO_BIN_EXE_keeper");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");
const CHAINS: usize = 64;

/// The threads that are alive and not traced by this process.
fn untraced(pid: Tid) -> Vec<Tid> {
    let own = own_threads();
    let free = |tid: &Tid| {
        proc::status(*tid).is_ok_and(|s| !own.contains(&s.tracer) && !matches!(s.state, 'Z' | 'X'))
    };
    tasks(pid).into_iter().filter(free).collect()
}

/// The chains that have a thread.
fn chains(pid: Tid) -> BTreeSet<String> {
    let name = |tid| std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).ok();
    let names = tasks(pid).into_iter().filter_map(name);
    names.filter(|name| name.starts_with("chain-")).collect()
}

async fn attach(tracer: &Tracer, pid: Tid) -> Process {
    soon("attach", tracer.attach(pid)).await.expect("attached")
}

// Scenario 3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_chain_of_threads_escapes() {
    let ward = Ward::start([KEEPER, SLEEPER, "chains", &CHAINS.to_string()]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    for _ in 0..10 {
        until("all chains", || chains(pid).len() == CHAINS).await;
        let mut process = attach(&tracer, pid).await;
        assert_eq!(untraced(pid), []);
        // Whoever is born now is born traced.
        for _ in 0..200 {
            soon("an event", process.next()).await.expect("they live");
        }
        assert_eq!(untraced(pid), []);
        soon("a stop", process.stop_all()).await.expect("stopped");
        let stopped: BTreeSet<Tid> = process.threads().map(|thread| thread.tid()).collect();
        let listed: BTreeSet<Tid> = tasks(pid).into_iter().collect();
        assert!(stopped.is_superset(&listed), "{stopped:?} {listed:?}");
        assert_eq!(chains(pid).len(), CHAINS);
        drop(process);
        until("all free", || untraced(pid).len() == tasks(pid).len()).await;
    }
}

// Scenario 3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_chain_escapes_that_nobody_looks_at() {
    let ward = Ward::start([KEEPER, SLEEPER, "chains", &CHAINS.to_string()]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    for _ in 0..20 {
        until("all chains", || chains(pid).len() == CHAINS).await;
        let process = attach(&tracer, pid).await;
        // Nobody resumes them: all that is not stopped is an old thread on its way.
        for _ in 0..5 {
            assert_eq!(untraced(pid), []);
            soon("a round trip", tracer.attach(0))
                .await
                .expect_err("nobody");
        }
        drop(process);
        until("all free", || untraced(pid).len() == tasks(pid).len()).await;
    }
}

// Scenario 4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exec_does_not_hold_it_up() {
    let ward = Ward::start([KEEPER, SLEEPER, "execs", "100"]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    // How often an exec comes in between is not ours to say.
    let often = async {
        let mut attached = 0;
        while attached < 60 {
            match tracer.attach(pid).await {
                Ok(mut process) => {
                    attached += 1;
                    assert!(process.threads().count() > 0);
                    soon("detach", process.detach()).await.expect("detached");
                }
                Err(Error::NoSuchProcess(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    soon("attached often", often).await;
    until("all free", || untraced(pid).len() == tasks(pid).len()).await;
}

// Scenario 4: with exit stops the exec waits for each of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exec_among_exit_stops_goes_on() {
    let ward = Ward::start([KEEPER, SLEEPER, "execs", "20"]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    for _ in 0..30 {
        let attach = tracer.attach(pid).exit_stops(true);
        match soon("attach", attach).await {
            Ok(mut process) => {
                for _ in 0..30 {
                    soon("an event", process.next()).await.expect("it lives");
                }
            }
            Err(Error::NoSuchProcess(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    until("all free", || untraced(pid).len() == tasks(pid).len()).await;
}

// Scenario 4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_of_all_amid_execs_ends() {
    let ward = Ward::start([KEEPER, SLEEPER, "execs", "50"]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    let mut process = attach(&tracer, pid).await;
    let mut stopped = 0;
    while stopped < 50 {
        for _ in 0..20 {
            soon("an event", process.next()).await.expect("it lives");
        }
        soon("a stop", process.stop_all()).await.expect("stopped");
        stopped += 1;
        assert_eq!(untraced(pid), []);
        process.resume_all().await.expect("resumed");
    }
    soon("detach", process.detach()).await.expect("detached");
}

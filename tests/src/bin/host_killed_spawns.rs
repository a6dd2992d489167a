//! A host somebody in which kills every process at its birth: before it has called exec, before
//! it is traced, before it has said that it is there.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};

use tracehound::{Command, Error, Signal, Stdio, Tid};
use tracehound_sys::{proc, signal_process};
use tracehound_tests::{new_tracer, place, sibling, soon};

/// The children of all threads of this process.
fn children() -> Vec<Tid> {
    let tids = proc::tasks(Tid::current_process()).expect("/proc");
    let lists = tids
        .into_iter()
        .filter_map(|tid| std::fs::read_to_string(format!("/proc/self/task/{tid}/children")).ok());
    let text: String = lists.collect();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok().map(Tid::from_raw))
        .collect()
}

/// Kills whoever is born, until the last spawn is over.
fn kill_at_birth(over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        for pid in children() {
            // An error: somebody has reaped it.
            let _ = signal_process(pid, Signal::SIGKILL);
        }
    }
}

async fn spawns() {
    let tracer = new_tracer();
    let mut killed = 0;
    for round in 0..400 {
        let mut command = Command::new(sibling("sleeper"));
        command.args(["exit", "0"]).stdout(Stdio::null());
        command.stop_before_exec(round % 4 == 3);
        if round % 40 == 0 {
            // However late they look.
            // SAFETY: pause takes nothing and touches nothing.
            unsafe {
                command.pre_exec(|| {
                    loop {
                        libc::pause();
                    }
                })
            };
        }
        match soon("a spawn", tracer.spawn(place(&mut command))).await {
            Ok((tracee, mut child)) => {
                drop(tracee);
                soon("its end", child.wait()).await.expect("a status");
            }
            Err(Error::Spawn(error)) => {
                assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
                killed += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(killed >= 10, "who waits for it is killed before its exec");
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    assert_eq!(children(), []);
}

fn main() {
    let over = AtomicBool::new(false);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    std::thread::scope(|scope| {
        scope.spawn(|| kill_at_birth(&over));
        // A panic would leave the other thread, and this one waiting for it.
        let spawned = std::panic::catch_unwind(|| runtime.block_on(spawns()));
        over.store(true, Ordering::Relaxed);
        spawned.unwrap_or_else(|payload| std::panic::resume_unwind(payload));
    });
}

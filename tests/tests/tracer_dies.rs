//! A tracer's process dies: what it traced runs on, or dies too, as was asked for.

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tracehound::{Signal, Tid};
use tracehound_sys::signal_process;
use tracehound_tests::{is_traced, line, soon, state, until};

/// Starts a tracer in a process of its own; gives that and its tracee.
async fn start(mode: &str, program: &[&str]) -> (Child, Tid) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dying_tracer"));
    command.arg(mode).args(program).kill_on_drop(true);
    command.stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped());
    let mut tracer = command.spawn().expect("spawn");
    let mut out = BufReader::new(tracer.stdout.take().expect("piped")).lines();
    let pid: i32 = line(&mut out).await.parse().expect("a pid");
    let pid = Tid::from_raw(pid);
    assert!(is_traced(pid));
    (tracer, pid)
}

async fn die(mut tracer: Child) {
    drop(tracer.stdin.take());
    let status = soon("the tracer's death", tracer.wait()).await;
    let signal = std::os::unix::process::ExitStatusExt::signal(&status.expect("status"));
    assert_eq!(signal, Some(libc::SIGKILL));
}

const PAUSE: [&str; 2] = [env!("CARGO_BIN_EXE_puppet"), "pause"];

/// Whether it is dead, if not reaped: that is for init to do.
fn is_dead(pid: Tid) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}

async fn kill(pid: Tid) {
    signal_process(pid, Signal::SIGKILL).expect("it lives");
    until("it is dead", || is_dead(pid)).await;
}

// Scenario 24
#[tokio::test]
async fn tracees_run_on() {
    let (tracer, pid) = start("run-on", &PAUSE).await;
    until("it pauses", || state(pid) == Some('S')).await;
    die(tracer).await;
    until("it is let go", || !is_traced(pid)).await;
    until("it pauses still", || state(pid) == Some('S')).await;
    kill(pid).await;
}

// Scenario 24: one that was held begins to run.
#[tokio::test]
async fn held_tracees_run_on() {
    let (tracer, pid) = start("held", &PAUSE).await;
    assert_eq!(state(pid), Some('t'));
    die(tracer).await;
    until("it pauses", || state(pid) == Some('S')).await;
    assert!(!is_traced(pid));
    kill(pid).await;
}

// Scenario 24
#[tokio::test]
async fn tracees_are_killed() {
    let (tracer, pid) = start("exit-kill", &PAUSE).await;
    die(tracer).await;
    until("it is dead", || is_dead(pid)).await;
}

// Scenario 24: the last word counts.
#[tokio::test]
async fn changed_later() {
    let (tracer, pid) = start("exit-kill-later", &PAUSE).await;
    die(tracer).await;
    until("it is dead", || is_dead(pid)).await;
    let (tracer, pid) = start("run-on-later", &PAUSE).await;
    die(tracer).await;
    until("it is let go", || !is_traced(pid)).await;
    until("it pauses", || state(pid) == Some('S')).await;
    kill(pid).await;
}

// Scenario 24: stopped ones stay stopped, as job control says.
#[tokio::test]
async fn stopped_tracees_stay_stopped() {
    let stop = libc::SIGSTOP.to_string();
    let (tracer, pid) = start("stopped", &[PAUSE[0], "raise", &stop]).await;
    die(tracer).await;
    until("it is let go", || !is_traced(pid)).await;
    until("it is stopped", || state(pid) == Some('T')).await;
    signal_process(pid, Signal::SIGCONT).expect("it lives");
    until("it goes on, and ends", || is_dead(pid)).await;
}

// Scenario 48: what is to be killed is killed by the drop, not a moment later.
#[tokio::test]
async fn a_dropped_child_is_killed_before_anything_else() {
    for _ in 0..20 {
        let (tracer, pid) = start("drop", &PAUSE).await;
        die(tracer).await;
        until("it is dead", || is_dead(pid)).await;
    }
}

//! Questions on waiting.

use libc::{__WALL, __WCLONE, WCONTINUED, WEXITED, WNOWAIT, WSTOPPED};
use tracehound::{Errno, Signal};
use tracehound_sys::ptrace::{self, ResumeKind};
use tracehound_sys::wait::{StopKind, StopStatus, WaitStatus};
use tracehound_sys::{proc, signal_process};
use tracehound_tests::{state, until};

use crate::{SLEEPER, interrupted, poll, report, seized};

fn is_trap(status: WaitStatus) -> bool {
    matches!(status, WaitStatus::Stopped(stop) if stop.kind() == StopKind::Trap)
}

/// Whether this is the death by that signal.
fn is_killed(status: WaitStatus, signal: Signal) -> bool {
    use std::os::unix::process::ExitStatusExt;
    matches!(status, WaitStatus::Dead(status) if status.signal() == Some(signal.as_raw()))
}

// Does a tracer need __WALL? Not since Linux 4.7: every wait sees a tracee, be it a process or
// a thread. Its stops come with any flag.
#[tokio::test]
async fn every_wait_returns_the_stops_of_a_tracee() {
    let ward = seized(&[SLEEPER, "threads", "2"]).await;
    let tasks = proc::tasks(ward.pid()).expect("it lives");
    let [leader, thread] = tasks.try_into().expect("two threads");
    ptrace::seize(thread, ptrace::Options::empty()).expect("permitted");
    for tid in [leader, thread] {
        interrupted(tid).await;
        for flags in [
            WEXITED,
            WSTOPPED,
            WCONTINUED,
            WSTOPPED | __WCLONE,
            WSTOPPED | __WALL,
        ] {
            let status = poll(tid, flags | WNOWAIT).expect("a child");
            assert!(status.is_some_and(is_trap), "{flags:#x}: {status:?}");
        }
    }
}

// Does waitid need WEXITED? For deaths it does: without it there seems to be no child. Without
// any of the three it refuses.
#[tokio::test]
async fn a_death_is_reported_with_wexited_only() {
    let ward = seized(&[SLEEPER]).await;
    signal_process(ward.pid(), Signal::SIGKILL).expect("it lives");
    until("it is dead", || state(ward.pid()) == Some('Z')).await;
    assert_eq!(poll(ward.pid(), __WALL), Err(Errno::EINVAL));
    let stops = WSTOPPED | WCONTINUED | __WALL;
    assert_eq!(poll(ward.pid(), stops), Err(Errno::ECHILD));
    let status = poll(ward.pid(), WEXITED).expect("a child");
    assert!(status.is_some_and(|status| is_killed(status, Signal::SIGKILL)));
}

// What does WNOWAIT do? The report stays; and the tracee takes requests before it was taken.
#[tokio::test]
async fn a_look_leaves_the_report_where_it_is() {
    let ward = seized(&[SLEEPER]).await;
    let tid = ward.pid();
    interrupted(tid).await;
    ptrace::getregs(tid).expect("it is stopped");
    for _ in 0..3 {
        let status = poll(tid, WSTOPPED | WNOWAIT).expect("a child");
        assert!(status.is_some_and(is_trap));
    }
    ptrace::getregs(tid).expect("it is stopped");
    assert!(poll(tid, WSTOPPED).expect("a child").is_some_and(is_trap));
    // Taken: it is told once, and the tracee is as stopped as before.
    assert_eq!(poll(tid, WSTOPPED), Ok(None));
    ptrace::getregs(tid).expect("it is stopped");
}

// How do notifications queue? They do not: a death takes the place of a stop that nobody took.
#[tokio::test]
async fn a_death_takes_the_place_of_a_stop() {
    let ward = seized(&[SLEEPER]).await;
    let tid = ward.pid();
    interrupted(tid).await;
    signal_process(tid, Signal::SIGKILL).expect("it lives");
    until("it is dead", || state(tid) == Some('Z')).await;
    let status = poll(tid, WEXITED | WSTOPPED).expect("a child");
    assert!(status.is_some_and(|status| is_killed(status, Signal::SIGKILL)));
    // To its tracer: its real parent has not waited yet.
    assert_eq!(poll(tid, WEXITED | WSTOPPED), Err(Errno::ECHILD));
    assert_eq!(state(tid), Some('Z'));
}

// Are there two stops at once? No: the second signal is reported when the first was answered.
#[tokio::test]
async fn a_tracee_has_one_stop_at_a_time() {
    let ward = seized(&[SLEEPER]).await;
    let tid = ward.pid();
    interrupted(tid).await;
    for signal in [Signal::SIGUSR2, Signal::SIGUSR1] {
        signal_process(tid, signal).expect("it lives");
    }
    assert!(is_trap(report(tid, WSTOPPED).await));
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2] {
        assert_eq!(poll(tid, WSTOPPED), Ok(None));
        ptrace::resume(tid, ResumeKind::Cont, None).expect("it is stopped");
        let expected = StopStatus::from_raw(signal.as_raw());
        assert_eq!(report(tid, WSTOPPED).await, WaitStatus::Stopped(expected));
    }
}

// May a tracer wait with WCONTINUED? There is one such report for all who wait: whoever takes
// it, takes it from the real parent. tracehound never asks for it.
#[tokio::test]
async fn a_continue_is_told_once_to_whoever_asks() {
    let ward = seized(&[SLEEPER]).await;
    let tid = ward.pid();
    signal_process(tid, Signal::SIGSTOP).expect("it lives");
    report(tid, WSTOPPED).await;
    ptrace::resume(tid, ResumeKind::Cont, Some(Signal::SIGSTOP)).expect("stopped");
    let group = report(tid, WSTOPPED).await;
    assert!(
        matches!(group, WaitStatus::Stopped(stop) if stop.kind() == StopKind::Group(Signal::SIGSTOP)),
        "{group:?}"
    );
    ptrace::listen(tid).expect("a group-stop");
    signal_process(tid, Signal::SIGCONT).expect("it lives");
    assert!(is_trap(report(tid, WSTOPPED).await));
    assert_eq!(poll(tid, WCONTINUED), Ok(Some(WaitStatus::Continued)));
    assert_eq!(poll(tid, WCONTINUED), Ok(None));
}

//! Questions on exec.

use futures::StreamExt;
use futures::future::{join, join_all};
use libc::{WEXITED, WSTOPPED};
use tracehound::{Errno, Event, ResumeMode, Signal, Tid, Tracee, Tracer};
use tracehound_sys::ptrace::{self, Options, ResumeKind};
use tracehound_sys::wait::{StopKind, WaitStatus};
use tracehound_sys::{proc, signal_process, signal_thread};
use tracehound_tests::{
    Ward, in_each_place, is_traced, new_tracer, next, puppet, soon, start, state,
};
use tracehound_tests::{to_the_end, until};

use crate::{KEEPER, PUPPET, poll, report};

/// Follows a tracee to its mark, and says which it was.
async fn marked(mut tracee: Tracee) -> (Tracee, u64) {
    tracee.syscall().await.expect("held");
    loop {
        match soon("a mark", tracee.wait()).await {
            Some(Event::SyscallEnter(enter)) if enter.call.nr == libc::SYS_getppid as u64 => {
                return (tracee, enter.call.args[0]);
            }
            Some(event) if !event.is_terminal() => tracee.syscall().await.expect("held"),
            other => panic!("{other:?}"),
        }
    }
}

// Two threads call exec at the same time: which one has succeeded? The handle of the one that
// did goes on, and its event names the id that it had; the other one's stream ends.
async fn the_winner_of_two_execs_is_named(tracer: Tracer) {
    for _ in 0..10 {
        let (mut leader, _child) = start(&tracer, &mut puppet!("two-execs", PUPPET)).await;
        let mut racers = Vec::new();
        for _ in 0..2 {
            let birth = next!(leader, Event::Clone(birth) => birth);
            let mut thread = leader.take_child(&birth).expect("once");
            next!(thread, Event::Started(_));
            racers.push(thread);
        }
        leader.cont().await.expect("held");
        let racers = join_all(racers.into_iter().map(marked)).await;
        let tids = [racers[0].0.tid(), racers[1].0.tid()];
        // Both are at the door. Whoever asks on lets them go.
        let ends = racers.into_iter().map(|(mut tracee, code)| async move {
            tracee.set_resume_mode(ResumeMode::Cont);
            (to_the_end(&mut tracee).await, code as i32)
        });
        let (leaders, ends) = join(to_the_end(&mut leader), join_all(ends)).await;
        let mut winners = Vec::new();
        for ((events, code), tid) in ends.iter().zip(tids) {
            if let [Event::Exec(exec), .., Event::Exited(exited)] = events[..] {
                assert_eq!((exec.former_tid, exited.code), (tid, *code));
                winners.push(tid);
            }
        }
        let [winner] = winners[..] else {
            panic!("one wins: {ends:?}");
        };
        assert!(
            matches!(leaders[..], [Event::Replaced(replaced)] if replaced.by == Some(winner)),
            "{leaders:?}"
        );
    }
}

in_each_place!(the_winner_of_two_execs_is_named);

/// A program whose leader ends at SIGUSR2, and whose other thread calls exec at SIGUSR1.
async fn leaderless() -> (Ward, Tid) {
    let ward = Ward::start([
        KEEPER,
        "hold",
        PUPPET,
        "exec-without-leader",
        PUPPET,
        "pause",
    ])
    .await;
    let pid = ward.pid();
    let tasks = proc::tasks(pid).expect("it lives");
    let other = tasks
        .into_iter()
        .find(|&tid| tid != pid)
        .expect("two threads");
    (ward, other)
}

// On which tracee is the stop of an exec, and does every tracee end with a report? The stop is
// the caller's, which has the leader's id by then, and the event's message is the id that it
// had. Neither the leader nor that id is ever reported as dead.
#[tokio::test]
async fn the_stop_of_an_exec_is_the_callers_under_the_leaders_id() {
    let (ward, other) = leaderless().await;
    let pid = ward.pid();
    for tid in [pid, other] {
        ptrace::seize(tid, Options::TRACEEXEC).expect("permitted");
    }
    signal_thread(pid, other, Signal::SIGUSR1).expect("it lives");
    let status = report(pid, WEXITED | WSTOPPED).await;
    let exec = matches!(status, WaitStatus::Stopped(stop) if stop.kind() == StopKind::Exec);
    assert!(exec, "{status:?}");
    assert_eq!(ptrace::get_event_msg(pid), Ok(other.as_raw() as u64));
    assert_eq!(poll(other, WEXITED | WSTOPPED), Err(Errno::ECHILD));
    // The report of the leader's death would have come before.
    assert_eq!(poll(pid, WEXITED | WSTOPPED), Ok(None));
    ptrace::resume(pid, ResumeKind::Cont, None).expect("stopped");
    until("the new program", || state(pid) == Some('S')).await;
}

// Does an exec bring a SIGTRAP if its stop was not asked for? Not for who was seized.
#[tokio::test]
async fn no_trap_comes_with_an_exec() {
    let (ward, other) = leaderless().await;
    let pid = ward.pid();
    for tid in [pid, other] {
        ptrace::seize(tid, Options::empty()).expect("permitted");
    }
    let before = std::fs::read(format!("/proc/{pid}/cmdline")).expect("it lives");
    signal_thread(pid, other, Signal::SIGUSR1).expect("it lives");
    let is_new = || std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|now| now != before);
    until("the new program", || state(pid) == Some('S') && is_new()).await;
    assert!(is_traced(pid));
    assert_eq!(poll(pid, WEXITED | WSTOPPED), Ok(None));
}

// A traced leader ends first, and an untraced thread calls exec: what does the leader's tracer
// hear? That the leader is about to exit, if it asked for it, and never anything else: the
// leader vanishes, and its wait fails. The new program is not traced.
#[tokio::test]
async fn the_death_of_a_leader_is_never_reported_if_another_thread_execs() {
    let (ward, other) = leaderless().await;
    let pid = ward.pid();
    ptrace::seize(pid, Options::TRACEEXIT).expect("permitted");
    // It waits for this, and ends.
    signal_process(pid, Signal::SIGUSR2).expect("it lives");
    let status = report(pid, WSTOPPED).await;
    let exiting = matches!(status, WaitStatus::Stopped(stop) if stop.kind() == StopKind::Exit);
    assert!(exiting, "{status:?}");
    ptrace::resume(pid, ResumeKind::Cont, None).expect("stopped");
    until("the leader is a zombie", || state(pid) == Some('Z')).await;
    // Its death waits for the last thread.
    assert_eq!(poll(pid, WEXITED | WSTOPPED), Ok(None));
    signal_thread(pid, other, Signal::SIGUSR1).expect("it lives");
    until("the new program", || state(pid) == Some('S')).await;
    assert!(!is_traced(pid));
    assert_eq!(poll(pid, WEXITED | WSTOPPED), Err(Errno::ECHILD));
}

// And if that thread is traced, too? Then the leader is replaced, and the thread goes on as it.
#[tokio::test]
async fn the_exec_of_a_traced_thread_replaces_a_dead_leader() {
    let (ward, other) = leaderless().await;
    let pid = ward.pid();
    let tracer = new_tracer();
    let mut process = soon("attach", tracer.attach(pid)).await.expect("permitted");
    signal_process(pid, Signal::SIGUSR2).expect("it lives");
    until("the leader is a zombie", || state(pid) == Some('Z')).await;
    signal_thread(pid, other, Signal::SIGUSR1).expect("it lives");
    // Of two threads: the stream of a process may give either first.
    let (mut exec, mut replaced) = (false, false);
    while !(exec && replaced) {
        let (_, event) = soon("both", process.next()).await.expect("no end");
        exec |= matches!(event, Event::Exec(exec) if exec.former_tid == other);
        replaced |= matches!(event, Event::Replaced(by) if by.by == Some(other));
    }
    assert!(is_traced(pid));
}

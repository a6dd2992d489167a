//! Questions on job control.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use libc::WSTOPPED;
use tracehound::{Child, Errno, Event, Signal, Tid, Tracee, Tracer};
use tracehound_sys::ptrace::{self, Options, ResumeKind};
use tracehound_sys::wait::{StopKind, WaitStatus};
use tracehound_sys::{proc, signal_process};
use tracehound_tests::{
    Ward, in_each_place, is_traced, line, lines, new_tracer, next, puppet, soon, start,
};
use tracehound_tests::{state, until, wait};

use crate::{KEEPER, SLEEPER, interrupted, report, seized};

const STOP: Signal = Signal::SIGSTOP;
const CONT: Signal = Signal::SIGCONT;

fn send(pid: Tid, signal: Signal) {
    signal_process(pid, signal).expect("it lives");
}

/// Kills it, and waits for its end.
async fn finish(mut tracee: Tracee, mut child: Child) {
    tracee.control().kill().expect("it lives");
    while soon("the end", tracee.next()).await.is_some() {}
    soon("its status", child.wait()).await.expect("a status");
}

/// A tracee that pauses.
async fn paused(tracer: &Tracer) -> (Tracee, Child) {
    let (mut tracee, mut child) = start(tracer, &mut puppet!("say-and-pause")).await;
    tracee.cont().await.expect("held");
    assert_eq!(line(&mut lines(&mut child)).await, "ready");
    until("it sleeps", || state(tracee.tid()) == Some('S')).await;
    (tracee, child)
}

// Is a tracee in a group-stop stopped by job control, or by its tracer? By its tracer: its
// state is t; SIGCONT does not take it out of the tracer's hands, so that no request fails; and
// that it ended is told when the tracer asks on.
async fn a_group_stop_is_a_stop_of_the_tracer(tracer: Tracer) {
    let (mut tracee, child) = paused(&tracer).await;
    let tid = tracee.tid();
    send(tid, STOP);
    wait!(tracee, Event::Signal(stop) if stop.signal == STOP);
    next!(tracee, Event::GroupStop(stop) if stop.signal == STOP);
    assert_eq!(state(tid), Some('t'));
    // Seized, it has a siginfo: the number of the event above that of the signal.
    let info = tracee.getsiginfo().await.expect("held");
    let code = STOP.as_raw() | libc::PTRACE_EVENT_STOP << 8;
    assert_eq!((info.signal(), info.code()), (STOP, code));
    send(tid, CONT);
    for _ in 0..100 {
        tracee.getregs().await.expect("still held");
        assert_eq!(state(tid), Some('t'));
    }
    next!(tracee, Event::Continued);
    next!(tracee, Event::Signal(stop) if stop.signal == CONT);
    tracee.cont().await.expect("held");
    until("it sleeps", || state(tid) == Some('S')).await;
    finish(tracee, child).await;
}

// Is SIGCONT the first signal that a continued process sees? No: those of a lower number that
// had waited come before it.
async fn sigcont_is_not_the_first_signal(tracer: Tracer) {
    let (mut tracee, child) = paused(&tracer).await;
    send(tracee.tid(), STOP);
    wait!(tracee, Event::Signal(_));
    next!(tracee, Event::GroupStop(_));
    send(tracee.tid(), Signal::SIGUSR1);
    send(tracee.tid(), CONT);
    next!(tracee, Event::Continued);
    tracee.cont().await.expect("held");
    wait!(tracee, Event::Signal(stop) if stop.signal == Signal::SIGUSR1);
    tracee.cont().await.expect("held");
    wait!(tracee, Event::Signal(stop) if stop.signal == CONT);
    finish(tracee, child).await;
}

// Is ^Z the same as SIGSTOP? It is SIGTSTP, which may be caught, and which does nothing where
// no shell is there to continue: in an orphaned process group. Both are reported as signals
// first.
async fn a_terminal_stop_does_not_stop_orphans(tracer: Tracer) {
    let mut command = puppet!("say-and-pause");
    // SAFETY: setsid is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            // Its group's only member has no parent in its session.
            nix::unistd::setsid()?;
            Ok(())
        });
    }
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    tracee.cont().await.expect("held");
    assert_eq!(line(&mut lines(&mut child)).await, "ready");
    for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
        send(tracee.tid(), signal);
        wait!(tracee, Event::Signal(stop) if stop.signal == signal);
        tracee.cont_with(signal).await.expect("held");
        until("it sleeps", || state(tracee.tid()) == Some('S')).await;
    }
    send(tracee.tid(), STOP);
    wait!(tracee, Event::Signal(stop) if stop.signal == STOP);
    next!(tracee, Event::GroupStop(stop) if stop.signal == STOP);
    finish(tracee, child).await;
}

in_each_place!(
    a_terminal_stop_does_not_stop_orphans,
    a_group_stop_is_a_stop_of_the_tracer,
    sigcont_is_not_the_first_signal,
);

// May a thread be resumed while its process is stopped, and what becomes of the stop? It runs
// beneath the stop, which stays: the others do not run, the real parent is told nothing, and
// detached it stops again.
#[tokio::test]
async fn a_thread_runs_beneath_the_stop_of_its_process() {
    let mut ward = Ward::start([KEEPER, SLEEPER, "threads", "2"]).await;
    let pid = ward.pid();
    until("two threads", || {
        proc::tasks(pid).is_ok_and(|tasks| tasks.len() == 2)
    })
    .await;
    send(pid, STOP);
    ward.expect("stopped 19").await;
    let tracer = new_tracer();
    let mut process = soon("attach", tracer.attach(pid)).await.expect("permitted");
    for _ in 0..2 {
        let (_, event) = soon("a stop", process.next()).await.expect("no end");
        assert!(matches!(event, Event::GroupStop(_)), "{event:?}");
    }
    let leader = process.thread(pid).expect("the leader");
    leader.cont().await.expect("held");
    until("it runs", || state(pid) == Some('S')).await;
    let tasks = proc::tasks(pid).expect("it lives");
    let other = tasks.into_iter().find(|&tid| tid != pid).expect("two");
    assert_eq!(state(other), Some('t'));
    soon("detach", process.detach()).await.expect("detached");
    drop(process);
    for tid in [pid, other] {
        until("stopped and free", || {
            state(tid) == Some('T') && !is_traced(tid)
        })
        .await;
    }
    send(pid, CONT);
    // Nothing else in between.
    ward.expect("continued").await;
}

// Do an attach and a SIGSTOP at the same time lose one of them? Attaching sends none, so that
// there is none to be confused with: each stop and each continue reaches the real parent.
#[tokio::test]
async fn no_stop_is_lost_amid_attaches_and_detaches() {
    let mut ward = Ward::start([KEEPER, SLEEPER]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let attaches = async {
        let mut count = 0;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let attached = soon("attach", tracer.attach(pid)).await;
            let mut process = attached.expect("permitted");
            let some = process.by_ref().take(count % 3);
            let brief = some.take_until(tokio::time::sleep(Duration::from_millis(1)));
            drop(brief.collect::<Vec<_>>().await);
            // A signal that was handed out is delivered by asking on; a detach would drop it.
            while process.next().now_or_never().is_some() {}
            soon("detach", process.detach()).await.expect("it lives");
            count += 1;
        }
        count
    };
    let signals = async {
        for _ in 0..100 {
            send(pid, STOP);
            ward.expect("stopped 19").await;
            send(pid, CONT);
            ward.expect("continued").await;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (count, ()) = futures::future::join(attaches, signals).await;
    assert!(count > 0);
    until("free", || !is_traced(pid)).await;
    until("it runs", || state(pid) == Some('S')).await;
}

// Does PTRACE_SEIZE stop its target, and can it be used to interrupt, as was proposed? It does
// not, and a second one is refused; PTRACE_INTERRUPT is the request for that.
#[tokio::test]
async fn a_seize_does_not_stop() {
    let ward = seized(&[SLEEPER]).await;
    let tid = ward.pid();
    assert_eq!(state(tid), Some('S'));
    assert_eq!(ptrace::seize(tid, Options::empty()), Err(Errno::EPERM));
    assert_eq!(state(tid), Some('S'));
    interrupted(tid).await;
}

/// A process that this thread has seized, stopped by SIGSTOP; the report of that is still to
/// be taken.
async fn stopped() -> Ward {
    let ward = seized(&[SLEEPER]).await;
    send(ward.pid(), STOP);
    report(ward.pid(), WSTOPPED).await;
    ptrace::resume(ward.pid(), ResumeKind::Cont, Some(STOP)).expect("stopped");
    until("it stops", || state(ward.pid()) == Some('t')).await;
    ward
}

fn kind(status: WaitStatus) -> Option<StopKind> {
    match status {
        WaitStatus::Stopped(stop) => Some(stop.kind()),
        _ => None,
    }
}

// Is a stop lost whose end comes quickly? Not to the tracer: the tracee waits with it. (A real
// parent that is slow sees the last change only.)
#[tokio::test]
async fn a_short_stop_is_not_lost() {
    let ward = stopped().await;
    send(ward.pid(), CONT);
    let status = report(ward.pid(), WSTOPPED).await;
    assert_eq!(kind(status), Some(StopKind::Group(STOP)));
    ptrace::listen(ward.pid()).expect("in that stop");
    let status = report(ward.pid(), WSTOPPED).await;
    assert_eq!(kind(status), Some(StopKind::Trap));
}

// Is the end of a stop told as often as it ends, or does one who is late learn the latest state?
// The latter: whatever happened meanwhile, the siginfo of the last report says what holds.
#[tokio::test]
async fn the_last_report_says_whether_the_stop_holds() {
    let ward = stopped().await;
    let tid = ward.pid();
    report(tid, WSTOPPED).await;
    ptrace::listen(tid).expect("a group-stop");
    // While it listens: the second stop's signal waits behind the end of the first.
    for _ in 0..3 {
        send(tid, CONT);
        send(tid, STOP);
    }
    send(tid, CONT);
    assert_eq!(kind(report(tid, WSTOPPED).await), Some(StopKind::Trap));
    let info = ptrace::getsiginfo(tid).expect("stopped");
    assert_eq!(info.signal(), Signal::SIGTRAP);
}

// Does the tracer become the parent? Only for waiting: getppid, /proc and the reports of job
// control and death stay with the real one.
#[tokio::test]
async fn a_tracee_keeps_its_parent() {
    let mut ward = Ward::start([KEEPER, SLEEPER]).await;
    let pid = ward.pid();
    let parent = proc::status(pid).expect("it lives").parent;
    let tracer = new_tracer();
    let process = soon("attach", tracer.attach(pid)).await.expect("permitted");
    assert!(is_traced(pid));
    assert_eq!(proc::status(pid).expect("it lives").parent, parent);
    let watch = tokio::spawn(process.collect::<Vec<_>>());
    send(pid, STOP);
    ward.expect("stopped 19").await;
    send(pid, CONT);
    ward.expect("continued").await;
    send(pid, Signal::SIGKILL);
    ward.expect("killed 9").await;
    soon("the end", watch).await.expect("no panic");
}

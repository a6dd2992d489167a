//! Stopping every thread of a process, stepping one, and going on.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use futures::StreamExt;
use tracehound::{Command, Event, Process, Regs, Signal, Tid, Tracer};
use tracehound_sys::{proc, signal_process, signal_thread};
use tracehound_tests::{
    Ward, all_in, builder, is_untraced, new_tracer, soon, start, state, tasks, until,
};

const KEEPER: &str = env!("CARGO_BIN_EXE_keeper");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

/// The ticks that a thread has spent computing.
fn computed(pid: Tid, tid: Tid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat"));
    let stat = stat.unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().nth(11);
    ticks.and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

async fn with_threads(count: usize) -> Ward {
    let ward = Ward::start([KEEPER, SLEEPER, "threads", &count.to_string()]).await;
    let pid = ward.pid();
    until("its threads", || tasks(pid).len() == count).await;
    let computes = |tid| computed(pid, tid) > 1;
    until("one computes", || tasks(pid).into_iter().any(computes)).await;
    ward
}

async fn attach(tracer: &Tracer, pid: Tid) -> Process {
    soon("attach", tracer.attach(pid)).await.expect("attached")
}

async fn stop_all(process: &mut Process) {
    soon("a stop", process.stop_all()).await.expect("stopped");
}

async fn all_regs(process: &Process) -> BTreeMap<Tid, Regs> {
    let mut all = BTreeMap::new();
    for thread in process.threads() {
        all.insert(thread.tid(), thread.getregs().await.expect("held"));
    }
    all
}

/// Steps the first thread that computes, while all others stay put.
async fn step_one(process: &mut Process, steps: usize) {
    let before = all_regs(process).await;
    // One that sleeps would step through its call for as long as it sleeps.
    let computes = |tid: &Tid| before[tid].syscall_number() == u64::MAX;
    let chosen = before.keys().copied().find(computes);
    let chosen = chosen.unwrap_or_else(|| panic!("one computes: {before:?}"));
    let mut places = Vec::new();
    for _ in 0..steps {
        let thread = process.thread(chosen).expect("it lives");
        thread.step().await.expect("held");
        let event = soon("a step", thread.wait()).await;
        assert!(matches!(event, Some(Event::Step)), "{event:?}");
        let regs = thread.getregs().await.expect("held");
        places.push(regs.instruction_pointer());
    }
    places.dedup();
    assert!(places.len() > 1, "it does not move: {places:?}");
    for (tid, regs) in all_regs(process).await {
        assert!(tid == chosen || regs == before[&tid], "{tid} has moved");
    }
}

// Scenario 8, 46
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_steps_while_the_others_stay_put() {
    let ward = with_threads(13).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    for _ in 0..3 {
        let mut process = attach(&tracer, pid).await;
        stop_all(&mut process).await;
        assert!(all_in(pid, &['t']));
        assert_eq!(process.threads().count(), 13);
        step_one(&mut process, 20).await;
        process.resume_all().await.expect("resumed");
        until("they run", || all_in(pid, &['R', 'S', 'D'])).await;
        soon("detach", process.detach()).await.expect("detached");
        until("all free", || is_untraced(pid)).await;
    }
}

// Scenario 8, 37: a group that stopped itself stays as job control says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_group_is_looked_at_and_stays_stopped() {
    let mut ward = with_threads(9).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    signal_process(pid, Signal::SIGSTOP).expect("there");
    ward.expect("stopped 19").await;
    for _ in 0..3 {
        let mut process = attach(&tracer, pid).await;
        stop_all(&mut process).await;
        step_one(&mut process, 10).await;
        soon("detach", process.detach()).await.expect("detached");
        until("all stopped", || is_untraced(pid) && all_in(pid, &['T'])).await;
    }
    signal_process(pid, Signal::SIGCONT).expect("there");
    ward.expect("continued").await;
    until("they run", || all_in(pid, &['R', 'S', 'D'])).await;
}

// Scenario 8, 32: going on in a group-stop is to listen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_group_goes_on_listening() {
    let mut ward = with_threads(5).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    let mut process = attach(&tracer, pid).await;
    signal_process(pid, Signal::SIGSTOP).expect("there");
    let mut stops = 0;
    while stops < 5 {
        let (_, event) = soon("an event", process.next()).await.expect("it lives");
        stops += usize::from(matches!(event, Event::GroupStop(_)));
    }
    ward.expect("stopped 19").await;
    // The last one is held, the others listen.
    for _ in 0..20 {
        stop_all(&mut process).await;
        assert!(all_in(pid, &['t']));
        process.resume_all().await.expect("resumed");
    }
    signal_process(pid, Signal::SIGCONT).expect("there");
    ward.expect("continued").await;
    let mut signal = None;
    while signal.is_none() {
        let (_, event) = soon("an event", process.next()).await.expect("it lives");
        signal = matches!(event, Event::Signal(_)).then_some(event);
    }
    soon("detach", process.detach()).await.expect("detached");
    until("they run", || all_in(pid, &['R', 'S', 'D'])).await;
}

// Scenario 46
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_threads() {
    let ward = Ward::start([KEEPER, SLEEPER, "idle-threads", "1000"]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    let mut process = attach(&tracer, pid).await;
    for _ in 0..2 {
        stop_all(&mut process).await;
        assert_eq!(all_regs(&process).await.len(), 1000);
        assert!(all_in(pid, &['t']));
        process.resume_all().await.expect("resumed");
    }
    soon("detach", process.detach()).await.expect("detached");
    until("all free", || is_untraced(pid)).await;
}

// Scenario 3, 46: whoever is being born is stopped, too, and belongs to the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_that_are_being_born_are_stopped() {
    let ward = Ward::start([KEEPER, SLEEPER, "chains", "8"]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    let mut process = attach(&tracer, pid).await;
    for _ in 0..100 {
        for _ in 0..7 {
            soon("an event", process.next()).await.expect("it lives");
        }
        stop_all(&mut process).await;
        let held: Vec<Tid> = process.threads().map(|thread| thread.tid()).collect();
        // A dead one may not have been waited for.
        for tid in tasks(pid) {
            assert!(matches!(state(tid), Some('t' | 'Z' | 'X') | None), "{tid}");
            assert!(held.contains(&tid), "{tid} is not known");
        }
        process.resume_all().await.expect("resumed");
    }
}

// Scenario 26: what happened before the stop is told after it, and nothing is told twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_or_made() {
    let mut ward = Ward::start([KEEPER, SLEEPER, "signals"]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    let mut process = attach(&tracer, pid).await;
    for count in 1..=100 {
        // Before, during or after the stop.
        signal_process(pid, Signal::SIGUSR1).expect("there");
        stop_all(&mut process).await;
        assert!(all_in(pid, &['t']));
        process.resume_all().await.expect("resumed");
        // It waits for the signal: taken so, it makes no stop.
        ward.expect(&format!("signal {count}")).await;
    }
    for _ in 0..100 {
        signal_thread(pid, pid, Signal::SIGWINCH).expect("there");
        stop_all(&mut process).await;
        process.resume_all().await.expect("resumed");
        let (_, event) = soon("the signal", process.next()).await.expect("it lives");
        assert!(
            matches!(&event, Event::Signal(s) if s.signal == Signal::SIGWINCH),
            "{event:?}"
        );
    }
    soon("detach", process.detach()).await.expect("detached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_for_events_resumes_nobody() {
    let ward = with_threads(5).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    let mut process = attach(&tracer, pid).await;
    // One of them is held by an event as well.
    let control = process.threads().next().expect("a thread").control();
    control.interrupt().await.expect("running");
    let (tid, event) = soon("the stop", process.next()).await.expect("it lives");
    assert!(matches!(event, Event::Interrupted), "{event:?}");
    stop_all(&mut process).await;
    let mut task = Context::from_waker(Waker::noop());
    for _ in 0..20 {
        assert!(process.poll_next_unpin(&mut task).is_pending());
        let thread = process.thread(tid).expect("it lives");
        assert!(thread.poll_next_unpin(&mut task).is_pending());
        soon("a round trip", tracer.attach(0))
            .await
            .expect_err("nobody");
        assert!(all_in(pid, &['t']));
    }
    process.resume_all().await.expect("resumed");
    until("they run", || all_in(pid, &['R', 'S', 'D'])).await;
}

// Scenario 48
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_is_dropped_freezes_nobody() {
    let ward = with_threads(5).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    for round in 0..40 {
        let mut process = attach(&tracer, pid).await;
        let mut task = Context::from_waker(Waker::noop());
        {
            let mut stop = pin!(process.stop_all());
            for _ in 0..round % 4 {
                if let Poll::Ready(result) = stop.as_mut().poll(&mut task) {
                    result.expect("stopped");
                    break;
                }
                soon("a round trip", tracer.attach(0))
                    .await
                    .expect_err("nobody");
            }
        }
        if round % 2 == 0 {
            process.resume_all().await.expect("resumed");
            until("they run", || all_in(pid, &['R', 'S', 'D'])).await;
            // No stop of it is left that would be told.
            stop_all(&mut process).await;
            assert!(process.poll_next_unpin(&mut task).is_pending());
        }
        drop(process);
        until("all free", || {
            is_untraced(pid) && all_in(pid, &['R', 'S', 'D'])
        })
        .await;
    }
}

// Scenario 5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_thread_alone() {
    let ward = with_threads(9).await;
    let pid = ward.pid();
    // The rest has to come to the tracer thread that has the one.
    let tracer = builder().threads(4).build().expect("a tracer");
    let others = |chosen: Tid| tasks(pid).into_iter().filter(move |&tid| tid != chosen);
    for chosen in tasks(pid) {
        let mut thread = soon("attach", tracer.attach_thread(chosen))
            .await
            .expect("attached");
        assert_eq!((thread.tid(), thread.tgid()), (chosen, pid));
        thread.control().interrupt().await.expect("running");
        let event = soon("the stop", thread.next()).await;
        assert!(matches!(event, Some(Event::Interrupted)), "{event:?}");
        thread.getregs().await.expect("held");
        for other in others(chosen) {
            let status = proc::status(other).expect("it lives");
            assert_eq!(status.tracer.as_raw(), 0, "{other}");
            assert!(matches!(status.state, 'R' | 'S' | 'D'), "{other}");
        }
        // In the same tracer the rest may be attached as well.
        let rest = attach(&tracer, pid).await;
        assert_eq!(rest.threads().count(), 8);
        drop(rest);
        soon("detach", thread.detach()).await.expect("detached");
        until("all free", || is_untraced(pid)).await;
    }
    // Another tracer of this process must not have some of them.
    let first = tasks(pid)[3];
    let _thread = soon("attach", tracer.attach_thread(first))
        .await
        .expect("attached");
    let other = new_tracer();
    soon("attach", other.attach_thread(pid))
        .await
        .expect_err("refused");
    soon("attach", other.attach(pid))
        .await
        .expect_err("refused");
}

// Scenario 5: a tracer of several threads finds the one that has the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_of_one_process_go_to_one_tracer_thread() {
    let ward = with_threads(9).await;
    let pid = ward.pid();
    let tracer = builder().threads(4).build().expect("a tracer");
    let mut threads = Vec::new();
    for tid in tasks(pid) {
        threads.push(
            soon("attach", tracer.attach_thread(tid))
                .await
                .expect("attached"),
        );
    }
    let tracers: std::collections::HashSet<Tid> = tasks(pid)
        .into_iter()
        .map(|tid| proc::status(tid).expect("it lives").tracer)
        .collect();
    assert_eq!(tracers.len(), 1, "{tracers:?}");
}

/// Polls a future, and again when the tracer thread has done what that asked for; drops it.
async fn poll_twice_and_drop(tracer: &Tracer, future: impl Future) {
    let mut future = pin!(future);
    assert!(futures::poll!(future.as_mut()).is_pending());
    let nobody = soon("an answer", tracer.attach(0)).await;
    nobody.expect_err("there is no such process");
    assert!(futures::poll!(future.as_mut()).is_pending());
}

// Scenario 48: whoever gives up waiting for a stop, or for a detach, is still told what happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_or_a_detach_that_is_dropped_does_not_deafen_the_stream() {
    for detaches in [false, true] {
        let ward = Ward::start([KEEPER, SLEEPER, "vfork"]).await;
        let pid = ward.pid();
        // It cannot stop there.
        until("in vfork", || state(pid) == Some('D')).await;
        let tracer = new_tracer();
        let mut process = attach(&tracer, pid).await;
        assert!(futures::poll!(process.next()).is_pending());
        match detaches {
            false => poll_twice_and_drop(&tracer, process.stop_all()).await,
            true => poll_twice_and_drop(&tracer, process.detach()).await,
        }
        signal_process(pid, Signal::SIGKILL).expect("there");
        let end = soon("its end", process.next()).await;
        assert!(matches!(end, Some((_, Event::Killed(_)))), "{end:?}");
        assert!(soon("nothing", process.next()).await.is_none());
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

// Whoever waits for a stop beside something else is polled for that, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_takes_long_wakes_its_task_for_the_end_alone() {
    let ward = Ward::start([KEEPER, SLEEPER, "vfork"]).await;
    let pid = ward.pid();
    until("in vfork", || state(pid) == Some('D')).await;
    let tracer = new_tracer();
    let mut process = attach(&tracer, pid).await;
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut stop = pin!(process.stop_all());
    let mut poll = || stop.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    // The tracer thread has come to it when it answers this.
    let nobody = soon("an answer", tracer.attach(0)).await;
    nobody.expect_err("there is no such process");
    assert!(poll().is_pending());
    wakes.0.store(0, Ordering::SeqCst);
    for _ in 0..3 {
        assert!(poll().is_pending());
    }
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    signal_process(pid, Signal::SIGKILL).expect("there");
    until("woken", || wakes.0.load(Ordering::SeqCst) > 0).await;
    let _ = soon("its end", stop).await;
}

/// A process with a signal that was handed out after a resume_all to which the tracer thread
/// has not come yet. It comes to it when something is sent.
async fn late_resume(tracer: &Tracer, pid: Tid) -> (Process, mpsc::Sender<()>) {
    let (guide, _child) = start(tracer, &mut Command::new("true")).await;
    let mut process = attach(tracer, pid).await;
    signal_process(pid, Signal::SIGCHLD).expect("there");
    until("it has stopped", || all_in(pid, &['t'])).await;
    stop_all(&mut process).await;
    let (entered, is_in) = tokio::sync::oneshot::channel();
    let (leave, is_out) = mpsc::channel();
    drop(guide.spawn_pinned(move |guide| async move {
        entered.send(()).expect("somebody listens");
        is_out.recv().expect("somebody ends this");
        drop(guide);
    }));
    soon("the task", is_in).await.expect("it runs");
    process.resume_all().await.expect("resumed");
    let event = soon("the signal", process.next()).await;
    assert!(matches!(event, Some((_, Event::Signal(_)))), "{event:?}");
    (process, leave)
}

// Scenario 46: whatever is handed out after a resume_all is held, however late the tracer
// thread comes to that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_after_a_late_resume_is_held() {
    let ward = Ward::start([KEEPER, SLEEPER, "pause"]).await;
    let tracer = builder().threads(1).build().expect("a tracer");
    let (mut process, leave) = late_resume(&tracer, ward.pid()).await;
    leave.send(()).expect("it waits");
    let thread = process.thread(ward.pid()).expect("it lives");
    thread.getregs().await.expect("held");
}

// Scenario 46: and whoever asks for the next one before gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_before_a_late_resume_is_asked_for() {
    let ward = Ward::start([KEEPER, SLEEPER, "pause"]).await;
    let tracer = builder().threads(1).build().expect("a tracer");
    let (mut process, leave) = late_resume(&tracer, ward.pid()).await;
    assert!(futures::poll!(process.next()).is_pending());
    leave.send(()).expect("it waits");
    tokio::select! {
        () = until("it runs", || all_in(ward.pid(), &['R', 'S', 'D'])) => {}
        event = process.next() => panic!("{event:?}"),
    }
    signal_process(ward.pid(), Signal::SIGCHLD).expect("there");
    let event = soon("the signal", process.next()).await;
    assert!(matches!(event, Some((_, Event::Signal(_)))), "{event:?}");
}

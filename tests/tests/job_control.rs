//! Group-stops: each thread tells of each once; what can and cannot end one.

use std::time::Duration;

use tracehound::{Child, Command, Event, ResumeMode, Signal, Stdio, Tracee, Tracer};
use tracehound_sys::{signal_process, signal_thread};
use tracehound_tests::{
    Family, Ward, end, in_each_place, is_traced, line, lines, next, next_event, puppet, soon,
    start, state, until, wait,
};

in_each_place! {
    each_thread_reports_once, by_each_stop_signal, cont_ends_it, cont_while_it_is_held,
    cont_and_stop_again, term_is_held, kill_is_not, an_interrupt_while_listening,
    an_interrupt_beside_a_stop, resumed_out_of_it, stepped_out_of_it, detached_while_listening,
    attached_while_stopped, an_orphaned_group, a_stop_signal_is_dropped, a_continue_signal_is_dropped,
    a_continue_of_a_running_one, a_suppressed_stop,
}

const CREW: &str = env!("CARGO_BIN_EXE_crew");
const STOP: Signal = Signal::SIGSTOP;
const CONT: Signal = Signal::SIGCONT;

fn crew(args: &[&str]) -> Command {
    let mut command = Command::new(CREW);
    command.args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// A process that pauses, running.
async fn paused(tracer: &Tracer) -> (Tracee, Child) {
    // A group of its own is not orphaned, wherever this test runs: ^Z means something to it.
    let mut command = puppet!("say-and-pause");
    let (mut tracee, mut child) = start(tracer, command.process_group(0)).await;
    tracee.cont().await.expect("cont");
    assert_eq!(line(&mut lines(&mut child)).await, "ready");
    (tracee, child)
}

/// One that has been stopped by this signal: held in its group-stop.
async fn stopped_by(tracer: &Tracer, signal: Signal) -> (Tracee, Child) {
    let (mut tracee, child) = paused(tracer).await;
    signal_process(tracee.tid(), signal).expect("it lives");
    wait!(tracee, Event::Signal(stop) if stop.signal == signal);
    next!(tracee, Event::GroupStop(stop) if stop.signal == signal);
    (tracee, child)
}

async fn listening(tracer: &Tracer) -> (Tracee, Child) {
    let (mut tracee, child) = stopped_by(tracer, STOP).await;
    tracee.listen().await.expect("a group-stop");
    // To its tracer thread and back: it has been done.
    assert!(tracer.attach_thread(tracee.tid()).await.is_err());
    (tracee, child)
}

async fn kill(mut tracee: Tracee) {
    tracee.control().kill().expect("it lives");
    assert!(matches!(end(&mut tracee).await, Event::Killed(_)));
}

/// Nothing is reported, as far as can be told: other tracees' reports come and go meanwhile.
async fn is_silent(tracer: &Tracer, tracee: &mut Tracee) {
    let (mut other, _child) = start(tracer, &mut puppet!("exit", 0)).await;
    end(&mut other).await;
    let wait = tokio::time::timeout(Duration::from_millis(5), tracee.wait());
    assert!(wait.await.is_err());
}

const THREADS: usize = 4;

// Scenario 31
async fn each_thread_reports_once(tracer: Tracer) {
    let (leader, mut child) = start(&tracer, &mut crew(&["threads", "4"])).await;
    let pid = child.id();
    let mut out = lines(&mut child);
    let mut family = Family::of(leader);
    let mut births = 0;
    while births < THREADS {
        let (_, event) = family.next().await.expect("an event");
        births += usize::from(matches!(event, Event::Clone(_)));
    }
    let disturb = async {
        assert_eq!(line(&mut out).await, "ready");
        for _ in 0..10 {
            signal_process(pid, STOP).expect("it lives");
            let tids = tracehound_sys::proc::tasks(pid).expect("it lives");
            assert_eq!(tids.len(), 1 + THREADS);
            // `t`: reported, and held; or listened to, which shows the same.
            let all = || {
                tids.iter()
                    .all(|tid| matches!(state(*tid), Some('t' | 'T')))
            };
            until("all have stopped", all).await;
            // The tracer gets to listen to all of them.
            tokio::time::sleep(Duration::from_millis(5)).await;
            signal_process(pid, CONT).expect("it lives");
            let none = || tids.iter().all(|tid| state(*tid) == Some('S'));
            until("none is stopped", none).await;
        }
        signal_process(pid, Signal::SIGKILL).expect("it lives");
    };
    let (histories, ()) = futures::join!(family.to_the_end(), disturb);
    let count = |events: &[Event], what: fn(&Event) -> bool| {
        events.iter().filter(|event| what(event)).count()
    };
    let is_stop = |e: &Event| matches!(e, Event::GroupStop(stop) if stop.signal == STOP);
    for history in &histories {
        assert_eq!(count(&history.events, is_stop), 10, "{history:?}");
        let continued = count(&history.events, |e| matches!(e, Event::Continued));
        assert_eq!(continued, 10, "{history:?}");
    }
    // The signals themselves have come to one thread each.
    let all: Vec<_> = histories.into_iter().flat_map(|h| h.events).collect();
    let delivered = |signal| move |e: &&Event| matches!(e, Event::Signal(s) if s.signal == signal);
    assert_eq!(all.iter().filter(delivered(STOP)).count(), 10);
    assert_eq!(all.iter().filter(delivered(CONT)).count(), 10);
}

// Scenario 31: told apart from the delivery of the signal, which has a siginfo.
async fn by_each_stop_signal(tracer: Tracer) {
    for signal in [STOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
        let (mut tracee, _child) = paused(&tracer).await;
        signal_process(tracee.tid(), signal).expect("it lives");
        wait!(tracee, Event::Signal(stop) if stop.signal == signal);
        let info = tracee.getsiginfo().await.expect("a signal");
        assert_eq!(info.signal(), signal);
        next!(tracee, Event::GroupStop(stop) if stop.signal == signal);
        is_silent(&tracer, &mut tracee).await;
        kill(tracee).await;
    }
}

// Scenario 35: the end of the stop is told, then the signal that ended it.
async fn cont_ends_it(tracer: Tracer) {
    let (mut tracee, _child) = listening(&tracer).await;
    is_silent(&tracer, &mut tracee).await;
    signal_process(tracee.tid(), CONT).expect("it lives");
    wait!(tracee, Event::Continued);
    tracee.getregs().await.expect("it is held");
    next!(tracee, Event::Signal(stop) if stop.signal == CONT);
    tracee.cont().await.expect("cont");
    until("it pauses again", || state(tracee.tid()) == Some('S')).await;
    kill(tracee).await;
}

// Scenario 35: one that comes before the stop is listened to is not lost.
async fn cont_while_it_is_held(tracer: Tracer) {
    let (mut tracee, _child) = stopped_by(&tracer, STOP).await;
    signal_process(tracee.tid(), CONT).expect("it lives");
    is_silent(&tracer, &mut tracee).await;
    next!(tracee, Event::Continued);
    next!(tracee, Event::Signal(stop) if stop.signal == CONT);
    kill(tracee).await;
}

// Scenario 35: stopped again before anybody looked.
async fn cont_and_stop_again(tracer: Tracer) {
    let (mut tracee, _child) = listening(&tracer).await;
    signal_process(tracee.tid(), CONT).expect("it lives");
    signal_process(tracee.tid(), STOP).expect("it lives");
    // The stop drops the pending SIGCONT, but not that the process was continued.
    let first = soon("a stop", tracee.wait()).await.expect("an event");
    assert!(matches!(first, Event::Continued), "{first:?}");
    next!(tracee, Event::Signal(stop) if stop.signal == STOP);
    next!(tracee, Event::GroupStop(stop) if stop.signal == STOP);
    kill(tracee).await;
}

// Scenario 35
async fn term_is_held(tracer: Tracer) {
    let (mut tracee, _child) = listening(&tracer).await;
    signal_process(tracee.tid(), Signal::SIGTERM).expect("it lives");
    is_silent(&tracer, &mut tracee).await;
    assert!(matches!(state(tracee.tid()), Some('t' | 'T')));
    signal_process(tracee.tid(), CONT).expect("it lives");
    wait!(tracee, Event::Continued);
    let mut signals = Vec::new();
    let end = loop {
        match next_event(&mut tracee).await {
            Event::Signal(stop) => signals.push(stop.signal),
            other => break other,
        }
    };
    assert!(signals.contains(&Signal::SIGTERM), "{signals:?}");
    assert!(matches!(end, Event::Killed(killed) if killed.signal == Signal::SIGTERM));
}

// Scenarios 18 and 35
async fn kill_is_not(tracer: Tracer) {
    let (mut tracee, _child) = listening(&tracer).await;
    signal_process(tracee.tid(), Signal::SIGKILL).expect("it lives");
    wait!(tracee, Event::Killed(_));
}

// Scenario 35: it stops for that, and the group-stop is not told of a second time.
async fn an_interrupt_while_listening(tracer: Tracer) {
    let (mut tracee, _child) = listening(&tracer).await;
    for _ in 0..3 {
        tracee.control().interrupt().await.expect("it listens");
        wait!(tracee, Event::Interrupted);
        tracee.getregs().await.expect("it is held");
        // It is still in the group-stop, and listened to again.
        assert!(futures::poll!(futures::StreamExt::next(&mut tracee)).is_pending());
        is_silent(&tracer, &mut tracee).await;
        assert!(matches!(state(tracee.tid()), Some('t' | 'T')));
    }
    signal_process(tracee.tid(), CONT).expect("it lives");
    wait!(tracee, Event::Continued);
    kill(tracee).await;
}

// Scenarios 31 and 34: both are answered, in some order, and there is no third stop.
async fn an_interrupt_beside_a_stop(tracer: Tracer) {
    for round in 0..50 {
        let (mut tracee, _child) = paused(&tracer).await;
        let tid = tracee.tid();
        let control = tracee.control();
        if round % 2 == 0 {
            signal_process(tid, STOP).expect("it lives");
            control.interrupt().await.expect("it lives");
        } else {
            control.interrupt().await.expect("it lives");
            signal_process(tid, STOP).expect("it lives");
        }
        let (mut interrupted, mut signals, mut stops) = (0, 0, 0);
        let mut event = soon("a stop", tracee.wait()).await.expect("an event");
        loop {
            match event {
                Event::Interrupted => interrupted += 1,
                Event::Signal(_) => signals += 1,
                Event::GroupStop(_) => stops += 1,
                other => panic!("{other:?}"),
            }
            if stops == 1 {
                break;
            }
            event = next_event(&mut tracee).await;
        }
        assert_eq!((signals, stops), (1, 1));
        assert!(interrupted <= 1);
        assert!(futures::poll!(futures::StreamExt::next(&mut tracee)).is_pending());
        is_silent(&tracer, &mut tracee).await;
        kill(tracee).await;
    }
}

// Scenario 31: `cont` makes the thread run although the process is stopped.
async fn resumed_out_of_it(tracer: Tracer) {
    let (mut tracee, _child) = stopped_by(&tracer, STOP).await;
    tracee.cont().await.expect("it is held");
    until("it pauses", || state(tracee.tid()) == Some('S')).await;
    kill(tracee).await;
}

// Scenarios 31 and 44
async fn stepped_out_of_it(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("raise", libc::SIGSTOP)).await;
    next!(tracee, Event::Signal(_));
    next!(tracee, Event::GroupStop(_));
    for _ in 0..10 {
        tracee.step().await.expect("step");
        wait!(tracee, Event::Step);
    }
    tracee.set_resume_mode(ResumeMode::Syscall);
    next!(tracee, Event::SyscallExit(_) | Event::SyscallEnter(_));
    kill(tracee).await;
}

// Scenarios 35 and 37
async fn detached_while_listening(tracer: Tracer) {
    for dropped in [false, true] {
        let (mut tracee, mut child) = listening(&tracer).await;
        let pid = child.id();
        if !dropped {
            soon("detach", tracee.detach()).await.expect("detached");
        }
        drop(tracee);
        until("untraced", || !is_traced(pid)).await;
        until("stopped", || state(pid) == Some('T')).await;
        signal_process(pid, CONT).expect("it lives");
        until("it pauses", || state(pid) == Some('S')).await;
        soon("its end", child.kill()).await.expect("killed");
    }
}

// Scenarios 6 and 35: attached to while it is stopped.
async fn attached_while_stopped(tracer: Tracer) {
    for mode in [ResumeMode::Cont, ResumeMode::Syscall] {
        let puppet = env!("CARGO_BIN_EXE_puppet");
        let mut ward = Ward::start([env!("CARGO_BIN_EXE_keeper"), puppet, "say-and-pause"]).await;
        signal_process(ward.pid(), STOP).expect("it lives");
        ward.expect("stopped 19").await;
        let attached = soon("attach", tracer.attach(ward.pid()).resume_mode(mode)).await;
        let [mut tracee] = attached
            .expect("attached")
            .into_threads()
            .try_into()
            .expect("one");
        tracee.control().interrupt().await.expect("it lives");
        wait!(tracee, Event::GroupStop(stop) if stop.signal == STOP);
        assert!(futures::poll!(futures::StreamExt::next(&mut tracee)).is_pending());
        is_silent(&tracer, &mut tracee).await;
        signal_process(ward.pid(), CONT).expect("it lives");
        wait!(tracee, Event::Continued);
        soon("detach", tracee.detach()).await.expect("detached");
        ward.expect("continued").await;
        until("it pauses", || state(ward.pid()) == Some('S')).await;
    }
}

// Scenario 36: a terminal stop signal is reported, and does nothing; SIGSTOP does.
async fn an_orphaned_group(tracer: Tracer) {
    for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
        let number = signal.as_raw().to_string();
        let mut command = crew(&["raise-orphaned", &number]);
        let (mut tracee, _child) = start(&tracer, &mut command).await;
        next!(tracee, Event::Signal(stop) if stop.signal == signal);
        let end = end(&mut tracee).await;
        assert!(
            matches!(end, Event::Exited(exited) if exited.code == 3),
            "{end:?}"
        );
    }
    let number = STOP.as_raw().to_string();
    let (mut tracee, _child) = start(&tracer, &mut crew(&["raise-orphaned", &number])).await;
    next!(tracee, Event::Signal(stop) if stop.signal == STOP);
    next!(tracee, Event::GroupStop(stop) if stop.signal == STOP);
    kill(tracee).await;
}

/// Held in the delivery of SIGUSR1, with these signals sent since; gives which are reported.
async fn sent_in_a_row(tracer: &Tracer, signals: &[Signal]) -> Vec<Signal> {
    let (mut tracee, _child) = paused(tracer).await;
    let tid = tracee.tid();
    signal_thread(tid, tid, Signal::SIGUSR1).expect("it lives");
    wait!(tracee, Event::Signal(stop) if stop.signal == Signal::SIGUSR1);
    for signal in signals {
        signal_process(tid, *signal).expect("it lives");
    }
    // Of those that wait it has the highest number, and comes last.
    let last = Signal::from_raw(libc::SIGRTMAX());
    signal_process(tid, last).expect("it lives");
    // Each is suppressed, so that none takes effect.
    let mut reported = Vec::new();
    loop {
        tracee.cont().await.expect("it is held");
        match soon("a signal", tracee.wait()).await.expect("an event") {
            Event::Signal(stop) if stop.signal == last => break,
            Event::Signal(stop) => reported.push(stop.signal),
            // That the process was continued is told of one that was not stopped, too.
            Event::Continued => {}
            other => panic!("{other:?}"),
        }
    }
    kill(tracee).await;
    reported
}

// Scenario 36: a pending stop signal is dropped by SIGCONT.
async fn a_stop_signal_is_dropped(tracer: Tracer) {
    for stop in [STOP, Signal::SIGTSTP, Signal::SIGTTIN] {
        assert_eq!(sent_in_a_row(&tracer, &[stop]).await, [stop]);
        assert_eq!(sent_in_a_row(&tracer, &[stop, CONT]).await, [CONT]);
    }
}

// Scenario 36: and the other way round.
async fn a_continue_signal_is_dropped(tracer: Tracer) {
    assert_eq!(sent_in_a_row(&tracer, &[CONT]).await, [CONT]);
    assert_eq!(sent_in_a_row(&tracer, &[CONT, STOP]).await, [STOP]);
}

// Scenario 36: what SIGCONT tells of a process that runs.
async fn a_continue_of_a_running_one(tracer: Tracer) {
    let (mut tracee, _child) = paused(&tracer).await;
    signal_process(tracee.tid(), CONT).expect("it lives");
    let mut event = soon("a stop", tracee.wait()).await.expect("an event");
    if matches!(event, Event::Continued) {
        event = next_event(&mut tracee).await;
    }
    assert!(
        matches!(event, Event::Signal(stop) if stop.signal == CONT),
        "{event:?}"
    );
    kill(tracee).await;
}

// Scenarios 26 and 31: a stop signal that is not delivered stops nobody.
async fn a_suppressed_stop(tracer: Tracer) {
    let (mut tracee, _child) = paused(&tracer).await;
    signal_process(tracee.tid(), STOP).expect("it lives");
    wait!(tracee, Event::Signal(stop) if stop.signal == STOP);
    tracee.cont().await.expect("it is held");
    is_silent(&tracer, &mut tracee).await;
    until("it pauses", || state(tracee.tid()) == Some('S')).await;
    kill(tracee).await;
}

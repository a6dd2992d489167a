//! Interrupting, killing and reading a tracee from elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use tracehound::{Child, Command, Error, Event, ResumeMode, Signal, Stdio, Tracee, Tracer};
use tracehound_sys::signal_process;
use tracehound_tests::{builder, line, lines, new_tracer, next, soon, start, state, until, wait};

fn sleeper(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sleeper"));
    command.args(args).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

/// Times to sleep for, in milliseconds: the next one is for a machine that had no time in the one
/// before.
const NAPS: [&str; 4] = ["100", "1000", "8000", "40000"];

/// A running program that has said that it is ready.
async fn running(tracer: &Tracer, args: &[&str]) -> (Tracee, Child) {
    let (mut tracee, mut child) = start(tracer, &mut sleeper(args)).await;
    let mut lines = lines(&mut child);
    tracee.cont().await.expect("held");
    assert_eq!(line(&mut lines).await, "ready");
    (tracee, child)
}

// Scenario 34
#[tokio::test]
async fn a_running_tracee_stops_and_runs_on() {
    let tracer = new_tracer();
    for what in ["spin", "pause"] {
        let (mut tracee, _child) = running(&tracer, &[what]).await;
        let control = tracee.control();
        for _ in 0..50 {
            // Two before the stop are one.
            control.interrupt().await.expect("it lives");
            control.interrupt().await.expect("it lives");
            wait!(tracee, Event::Interrupted);
            assert!(tracee.getregs().await.is_ok());
            tracee.cont().await.expect("held");
        }
        control.kill().expect("it lives");
        let event = soon("the end", tracee.wait()).await;
        assert!(matches!(event, Some(Event::Killed(_))), "{event:?}");
    }
}

// Scenario 34, 41
#[tokio::test]
async fn a_blocked_call_goes_on_after_an_interrupt() {
    for length in NAPS {
        if is_a_nap_interrupted(length).await {
            return;
        }
        eprintln!("{length} ms were over before anybody looked");
    }
    panic!("no nap was long enough");
}

/// Whether a nap of this length, in milliseconds, was met before it was over. It is slept to its
/// end in any case.
async fn is_a_nap_interrupted(length: &str) -> bool {
    let tracer = new_tracer();
    let (mut tracee, mut child) = start(&tracer, &mut sleeper(&["nap", length])).await;
    let mut lines = lines(&mut child);
    let control = tracee.control();
    let watch = tokio::spawn(async move {
        let mut interrupted = 0;
        while let Some(event) = tracee.next().await {
            interrupted += usize::from(matches!(event, Event::Interrupted));
        }
        interrupted
    });
    assert_eq!(line(&mut lines).await, "ready");
    let tid = control.tid();
    until("asleep, or dead", || {
        matches!(state(tid), None | Some('S' | 'Z'))
    })
    .await;
    // An error: it has ended.
    let asked = control.interrupt().await.is_ok();
    assert_eq!(line(&mut lines).await, "slept 0");
    let interrupted = soon("the end", watch).await.expect("no panic");
    assert!(interrupted <= usize::from(asked));
    interrupted == 1
}

// Scenario 34: a stopped tracee does not stop twice.
#[tokio::test]
async fn a_stopped_tracee_does_not_stop_twice() {
    let tracer = new_tracer();
    let mut command = sleeper(&["calls", "100"]);
    command
        .resume_mode(ResumeMode::Syscall)
        .stdout(Stdio::null());
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    let control = tracee.control();
    let mut entered = false;
    while let Some(event) = soon("an event", tracee.next()).await {
        match event {
            Event::SyscallEnter(_) => entered = true,
            Event::SyscallExit(exit) => {
                assert_eq!(std::mem::take(&mut entered), exit.call.is_some())
            }
            event if event.is_terminal() => return,
            event => panic!("{event:?}"),
        }
        control.interrupt().await.expect("it is stopped");
    }
}

// It is on its way while the tracee is taken from one stop and resumed.
#[tokio::test]
async fn one_that_is_dropped_may_stop_it_later() {
    let tracer = builder().threads(1).build().expect("a tracer");
    let (mut tracee, _child) = running(&tracer, &["spin"]).await;
    let control = tracee.control();
    for _ in 0..20 {
        let stops = tracer.metrics().stops.total();
        control.interrupt().await.expect("it lives");
        // The tracer thread has seen the stop, and then does nothing else.
        until("a stop", || tracer.metrics().stops.total() > stops).await;
        let (other, _other) = start(&tracer, &mut sleeper(&["pause"])).await;
        let (begun, begin) = tokio::sync::oneshot::channel();
        let (let_go, wait) = std::sync::mpsc::channel::<()>();
        let task = other.spawn_pinned(|_other| async move {
            let _ = begun.send(());
            let _ = wait.recv();
        });
        soon("the task", begin).await.expect("it runs");
        assert!(futures::poll!(std::pin::pin!(control.interrupt())).is_pending());
        wait!(tracee, Event::Interrupted);
        tracee.cont().await.expect("held");
        let_go.send(()).expect("it waits");
        wait!(tracee, Event::Interrupted);
        tracee.cont().await.expect("held");
        soon("the task", task).await.expect("no panic");
    }
}

// Scenario 34: nothing else is lost or doubled by interrupts at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupts_at_any_moment_disturb_nothing() {
    const CALLS: usize = 2000;
    let tracer = new_tracer();
    let mut command = sleeper(&["calls", &CALLS.to_string()]);
    command
        .resume_mode(ResumeMode::Syscall)
        .stdout(Stdio::null());
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    let control = tracee.control();
    let asked = Arc::new(AtomicUsize::new(0));
    let asking = Arc::clone(&asked);
    let interrupter = tokio::spawn(async move {
        while control.interrupt().await.is_ok() {
            asking.fetch_add(1, Ordering::SeqCst);
        }
    });
    let (mut calls, mut interrupted, mut entered) = (0, 0, false);
    while let Some(event) = soon("an event", tracee.next()).await {
        match event {
            Event::SyscallEnter(enter) => {
                assert!(!std::mem::replace(&mut entered, true), "{enter}");
                calls += usize::from(enter.call.nr == libc::SYS_getppid as u64);
                if calls % 100 == 0 {
                    // However seldom the other task has a turn, it goes on as long as this one.
                    let before = asked.load(Ordering::SeqCst);
                    until("an answer", || asked.load(Ordering::SeqCst) > before).await;
                }
            }
            Event::SyscallExit(exit) => {
                assert_eq!(std::mem::take(&mut entered), exit.call.is_some(), "{exit}");
            }
            Event::Interrupted => interrupted += 1,
            Event::Exited(exited) => assert_eq!(exited.code, 0),
            event => panic!("{event:?}"),
        }
    }
    soon("the interrupter", interrupter)
        .await
        .expect("no panic");
    assert_eq!(calls, CALLS);
    // Those that met a stop made none of their own.
    let asked = asked.load(Ordering::SeqCst);
    assert!(interrupted <= asked, "{interrupted} of {asked}");
    assert!(
        soon("the end", child.wait())
            .await
            .expect("status")
            .success()
    );
}

// Scenario 34, 42: the end of a step that an interrupt overtook is a step, not a signal.
#[tokio::test]
async fn an_interrupt_during_a_step_makes_no_signal() {
    let tracer = new_tracer();
    let (mut tracee, _child) = running(&tracer, &["spin"]).await;
    let control = tracee.control();
    let (mut steps, mut interrupts, mut late) = (0, 0, 0);
    for _ in 0..10_000 {
        // Whether the step is the quicker one is not ours to say.
        if interrupts == 500 {
            break;
        }
        control.interrupt().await.expect("it lives");
        match soon("a stop", tracee.wait()).await {
            Some(Event::Interrupted) => interrupts += 1,
            Some(Event::Step) => steps += 1,
            other => panic!("{other:?}"),
        }
        // Whatever is left of the step before comes now.
        tracee.cont().await.expect("held");
        control.interrupt().await.expect("it lives");
        match soon("a stop", tracee.wait()).await {
            Some(Event::Interrupted) => {}
            Some(Event::Step) => late += 1,
            other => panic!("{other:?}, after {steps} steps and {late} late ones"),
        }
        tracee.step().await.expect("held");
    }
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

/// States in which a tracee can be killed.
const STATES: [&str; 9] = [
    "first stop",
    "running",
    "blocked",
    "syscall stop",
    "step",
    "signal stop",
    "group stop",
    "listening",
    "interrupted",
];

async fn in_state(tracer: &Tracer, what: &str) -> (Tracee, Child) {
    match what {
        "first stop" => start(tracer, &mut sleeper(&[])).await,
        "running" => running(tracer, &["spin"]).await,
        "syscall stop" => {
            let (mut tracee, child) = start(tracer, &mut sleeper(&[])).await;
            tracee.syscall().await.expect("held");
            wait!(tracee, Event::SyscallExit(_));
            (tracee, child)
        }
        "step" => {
            let (mut tracee, child) = start(tracer, &mut sleeper(&[])).await;
            tracee.step().await.expect("held");
            wait!(tracee, Event::Step);
            (tracee, child)
        }
        _ => {
            let (mut tracee, child) = running(tracer, &["pause"]).await;
            let control = tracee.control();
            match what {
                "interrupted" => {
                    control.interrupt().await.expect("it lives");
                    wait!(tracee, Event::Interrupted);
                }
                "signal stop" => {
                    signal_process(tracee.tid(), Signal::SIGUSR1).expect("there");
                    wait!(tracee, Event::Signal(_));
                }
                "group stop" | "listening" => {
                    signal_process(tracee.tid(), Signal::SIGSTOP).expect("there");
                    wait!(tracee, Event::Signal(_));
                    next!(tracee, Event::GroupStop(_));
                    if what == "listening" {
                        tracee.listen().await.expect("a group-stop");
                    }
                }
                _ => {}
            }
            (tracee, child)
        }
    }
}

// Scenario 18, 23
#[tokio::test]
async fn a_kill_works_in_every_state() {
    let tracer = new_tracer();
    for what in STATES {
        for _ in 0..10 {
            let (mut tracee, mut child) = in_state(&tracer, what).await;
            let control = tracee.control();
            control.kill().expect(what);
            let event = soon(what, tracee.wait()).await.expect("an end");
            let Event::Killed(killed) = event else {
                panic!("{what}: {event:?}");
            };
            assert_eq!(killed.signal, Signal::SIGKILL);
            assert!(soon(what, tracee.wait()).await.is_none());
            let status = soon(what, child.wait()).await.expect("a status");
            assert_eq!(
                std::os::unix::process::ExitStatusExt::signal(&status),
                Some(9)
            );
            assert!(matches!(control.kill(), Err(Error::Gone(_))));
            assert!(matches!(control.interrupt().await, Err(Error::Gone(_))));
            assert!(matches!(tracee.getregs().await, Err(Error::Gone(_))));
        }
    }
}

// Scenario 18: inside the exit stop the status is decided.
#[tokio::test]
async fn a_kill_in_the_exit_stop_ends_it() {
    let tracer = new_tracer();
    let mut command = sleeper(&["exit", "3"]);
    command.exit_stops(true);
    for _ in 0..10 {
        let (mut tracee, mut child) = start(&tracer, &mut command).await;
        next!(tracee, Event::Exiting(_));
        tracee.control().kill().expect("it is not dead yet");
        let event = soon("the end", tracee.wait()).await.expect("an end");
        assert!(event.is_terminal(), "{event:?}");
        assert!(soon("nothing", tracee.wait()).await.is_none());
        soon("the status", child.wait()).await.expect("a status");
    }
}

// Scenario 18
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_kills_at_once_are_one_death() {
    let tracer = new_tracer();
    for round in 0..20 {
        let what = STATES[round % STATES.len()];
        let (mut tracee, mut child) = in_state(&tracer, what).await;
        let barrier = std::sync::Arc::new(std::sync::Barrier::new(16));
        let killers: Vec<_> = (0..16)
            .map(|_| {
                let (control, barrier) = (tracee.control(), barrier.clone());
                std::thread::spawn(move || {
                    barrier.wait();
                    control.kill()
                })
            })
            .collect();
        // Without a resume: only the kills end it.
        let event = soon(what, tracee.wait()).await.expect("an end");
        let Event::Killed(killed) = event else {
            panic!("{what}: {event:?}");
        };
        assert_eq!(killed.signal, Signal::SIGKILL);
        assert!(soon(what, tracee.wait()).await.is_none());
        let results: Vec<_> = killers
            .into_iter()
            .map(|k| k.join().expect("no panic"))
            .collect();
        assert!(results.iter().any(Result::is_ok));
        assert!(
            results
                .iter()
                .all(|r| matches!(r, Ok(()) | Err(Error::Gone(_)))),
            "{results:?}"
        );
        soon("the status", child.wait()).await.expect("a status");
    }
}

// Scenario 23
#[tokio::test]
async fn memory_is_read_and_written_while_it_runs() {
    let tracer = new_tracer();
    let (mut tracee, mut child) = start(&tracer, &mut sleeper(&["memory"])).await;
    let mut lines = lines(&mut child);
    tracee.cont().await.expect("held");
    let address: u64 = line(&mut lines).await.parse().expect("an address");
    let control = tracee.control();
    assert!(matches!(tracee.getregs().await, Err(Error::Running(_))));
    // On a thread that is not the tracer's.
    let reader = control.clone();
    let bytes = tokio::task::spawn_blocking(move || reader.read_bytes(address, 8)).await;
    assert_eq!(
        bytes.expect("no panic").expect("memory"),
        42_u64.to_ne_bytes()
    );
    let mut buffer = [0; 8];
    assert_eq!(
        control.read_memory(address, &mut buffer).expect("memory"),
        8
    );
    assert_eq!(buffer, 42_u64.to_ne_bytes());
    assert_eq!(
        control
            .write_memory(address, &7_u64.to_ne_bytes())
            .expect("memory"),
        8
    );
    let event = soon("the end", tracee.wait()).await;
    assert!(matches!(event, Some(Event::Exited(exited)) if exited.code == 0));
    assert!(matches!(
        control.read_bytes(address, 8),
        Err(Error::Gone(_))
    ));
}

#[tokio::test]
async fn after_a_detach_it_is_none_of_ours() {
    let tracer = new_tracer();
    let (mut tracee, child) = running(&tracer, &["pause"]).await;
    let control = tracee.control();
    soon("detach", tracee.detach()).await.expect("it lives");
    assert!(matches!(control.kill(), Err(Error::Detached(_))));
    assert!(matches!(control.interrupt().await, Err(Error::Detached(_))));
    assert!(matches!(
        control.read_bytes(4096, 1),
        Err(Error::Detached(_))
    ));
    until("it runs on", || state(child.id()) == Some('S')).await;
    child.start_kill();
}

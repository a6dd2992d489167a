//! The end of a tracer.

use std::task::Poll;

use futures::StreamExt;
use tracehound::{Child, Command, Error, Event, ResumeMode, Signal, Stdio, Tid, Tracee, Tracer};
use tracehound_sys::{proc, signal_process};
use tracehound_tests::{
    builder, is_traced, line, lines, new_tracer, next, own_threads, place, soon, start, state,
    until, wait,
};

fn sleeper(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sleeper"));
    command.args(args).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

async fn ready(tracee: &mut Tracee, child: &mut Child) {
    let mut lines = lines(child);
    tracee.cont().await.expect("held");
    assert_eq!(line(&mut lines).await, "ready");
}

/// The tracer thread of a held tracee.
fn tracer_thread(tracee: &Tracee) -> Tid {
    proc::status(tracee.tid()).expect("held").tracer
}

/// A tracee in every state that matters, with the state's letter afterwards.
async fn crowd(tracer: &Tracer) -> Vec<(Tracee, Child, &'static str)> {
    let mut crowd = Vec::new();
    let (tracee, child) = soon("spawn", tracer.spawn(place(&mut sleeper(&[]))))
        .await
        .expect("spawn");
    crowd.push((tracee, child, "undelivered"));
    let (tracee, child) = start(tracer, &mut sleeper(&[])).await;
    crowd.push((tracee, child, "first stop"));
    for what in ["spin", "pause"] {
        let (mut tracee, mut child) = start(tracer, &mut sleeper(&[what])).await;
        ready(&mut tracee, &mut child).await;
        crowd.push((tracee, child, what));
    }
    let (mut tracee, child) = start(tracer, &mut sleeper(&["spin"])).await;
    tracee.step().await.expect("held");
    wait!(tracee, Event::Step);
    crowd.push((tracee, child, "step"));
    let (mut tracee, child) = start(tracer, &mut sleeper(&["spin"])).await;
    tracee.syscall().await.expect("held");
    wait!(tracee, Event::SyscallExit(_));
    tracee.syscall().await.expect("held");
    wait!(tracee, Event::SyscallEnter(_));
    crowd.push((tracee, child, "syscall stop"));
    for what in ["group stop", "listening"] {
        let (mut tracee, mut child) = start(tracer, &mut sleeper(&[])).await;
        ready(&mut tracee, &mut child).await;
        signal_process(tracee.tid(), Signal::SIGSTOP).expect("there");
        wait!(tracee, Event::Signal(_));
        next!(tracee, Event::GroupStop(_));
        if what == "listening" {
            tracee.listen().await.expect("a group-stop");
        }
        crowd.push((tracee, child, what));
    }
    crowd
}

/// It runs, or is stopped as it was, and nobody traces it.
fn is_left_alone(pid: Tid, what: &str) -> bool {
    let letters = match what {
        "group stop" | "listening" => "T",
        _ => "RS",
    };
    !is_traced(pid) && state(pid).is_some_and(|state| letters.contains(state))
}

async fn check_crowd(crowd: Vec<(Tracee, Child, &'static str)>) {
    for (mut tracee, mut child, what) in crowd {
        let pid = child.id();
        until(what, || is_left_alone(pid, what)).await;
        let event = soon(what, tracee.wait()).await;
        assert!(matches!(event, Some(Event::Detached)), "{what}: {event:?}");
        assert!(soon(what, tracee.next()).await.is_none(), "{what}");
        for error in [
            tracee.getregs().await.map(drop),
            tracee.cont().await,
            tracee.detach().await,
            tracee.control().interrupt().await,
            tracee.control().kill(),
        ] {
            assert!(matches!(error, Err(Error::Shutdown)), "{what}: {error:?}");
        }
        // It is still awaited, and still ours to kill.
        soon(what, child.kill()).await.expect("a status");
    }
}

// Scenario 49
#[tokio::test]
async fn everything_runs_on_untraced() {
    let tracer = new_tracer();
    let crowd = crowd(&tracer).await;
    let thread = tracer_thread(&crowd[0].0);
    assert!(own_threads().contains(&thread));
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    assert!(!own_threads().contains(&thread), "the thread was joined");
    for (_, child, what) in &crowd {
        assert!(!is_traced(child.id()), "{what}");
    }
    check_crowd(crowd).await;
}

// Scenario 48, 49
#[tokio::test]
async fn the_last_handle_ends_the_tracer() {
    let tracer = new_tracer();
    let crowd = crowd(&tracer).await;
    let thread = tracer_thread(&crowd[0].0);
    drop(tracer);
    // A tracee is a handle, too.
    for (tracee, _, what) in &crowd {
        if matches!(*what, "first stop" | "step") {
            assert!(tracee.getregs().await.is_ok(), "{what}");
        }
    }
    let (tracees, children): (Vec<_>, Vec<_>) =
        crowd.into_iter().map(|(t, c, w)| (t, (c, w))).unzip();
    drop(tracees);
    for (child, what) in children {
        until(what, || is_left_alone(child.id(), what)).await;
        let pid = child.id();
        child.start_kill();
        drop(child);
        until(what, || state(pid).is_none()).await;
    }
    until("the end of the thread", || !own_threads().contains(&thread)).await;
}

/// How a tracee that is being stepped is let go.
#[derive(Clone, Copy)]
enum LetGo {
    Shutdown,
    Drop,
    Detach,
}

/// Steps a computing tracee, lets it go at any moment, and checks that it has not died of
/// a SIGTRAP that was on its way.
async fn step_and(how: LetGo) {
    for _ in 0..20 {
        let tracer = new_tracer();
        let mut command = sleeper(&["spin"]);
        command.resume_mode(ResumeMode::Step);
        let (mut tracee, mut child) = start(&tracer, &mut command).await;
        for _ in 0..100 {
            next!(tracee, Event::Step);
        }
        // The last step is under way, or done, or told.
        let _ = futures::poll!(tracee.next());
        match how {
            LetGo::Shutdown => soon("shutdown", tracer.shutdown()).await.expect("shutdown"),
            LetGo::Detach => soon("detach", tracee.detach()).await.expect("it lives"),
            LetGo::Drop => drop(tracee),
        }
        let pid = child.id();
        until("untraced", || !is_traced(pid)).await;
        let time = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
            stat.split(' ').next()?.parse::<u64>().ok()
        };
        let before = time().unwrap_or(0);
        tokio::select! {
            () = until("it computes", || time().is_some_and(|now| now > before)) => {}
            status = child.wait() => panic!("it died: {status:?}"),
        }
        child.start_kill();
    }
}

// Scenario 56: an orderly detach never kills a stepping tracee.
#[tokio::test]
async fn stepping_tracees_run_on_after_a_shutdown() {
    step_and(LetGo::Shutdown).await;
}

// Scenario 56
#[tokio::test]
async fn stepping_tracees_run_on_after_a_detach() {
    step_and(LetGo::Detach).await;
}

// Scenario 56
#[tokio::test]
async fn stepping_tracees_run_on_after_a_drop() {
    step_and(LetGo::Drop).await;
}

#[tokio::test]
async fn a_tracer_that_was_shut_down_says_so() {
    let tracer = new_tracer();
    let clone = tracer.clone();
    let (first, second) = tokio::join!(tracer.shutdown(), clone.shutdown());
    first.and(second).expect("shutdown");
    soon("once more", tracer.shutdown())
        .await
        .expect("shutdown");
    let spawned = soon("spawn", tracer.spawn(Command::new("true"))).await;
    assert!(matches!(spawned, Err(Error::Shutdown)), "{spawned:?}");
    let attached = soon("attach", tracer.attach(1)).await;
    assert!(matches!(attached, Err(Error::Shutdown)), "{attached:?}");
    let traced = soon("trace", tracer.trace(Command::new("true"), |_| async {})).await;
    assert!(matches!(traced, Err(Error::Shutdown)), "{traced:?}");
}

// Scenario 49: whatever is under way ends, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_ends() {
    for _ in 0..20 {
        let tracer = new_tracer();
        let spawns = tokio::spawn({
            let tracer = tracer.clone();
            async move {
                let mut pids = Vec::new();
                loop {
                    match tracer.spawn(&mut sleeper(&["exit", "0"])).await {
                        Ok((_, child)) => pids.push(child.id()),
                        Err(Error::Shutdown) => return pids,
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
        });
        let trace = tokio::spawn({
            let mut command = sleeper(&["births", "1000000"]);
            place(command.stdout(Stdio::null()).kill_on_drop(false));
            let (begun, begin) = tokio::sync::oneshot::channel();
            let begun = std::sync::Mutex::new(Some(begun));
            let traced = tracer.trace(command, move |mut tracee| {
                let begun = begun.lock().expect("no panic").take();
                async move {
                    if let Some(begun) = begun {
                        let _ = begun.send(tracee.control().tgid());
                    }
                    while tracee.next().await.is_some() {}
                }
            });
            async move {
                let traced = tokio::spawn(traced);
                (begin.await, traced)
            }
        });
        let (root, traced) = soon("a tree", trace).await.expect("no panic");
        soon("shutdown", tracer.shutdown()).await.expect("shutdown");
        let result = soon("the tree", traced).await.expect("no panic");
        assert!(matches!(result, Err(Error::Shutdown)), "{result:?}");
        signal_process(root.expect("begun"), Signal::SIGKILL).expect("it ran on");
        for pid in soon("spawns", spawns).await.expect("no panic") {
            until("no child is left", || state(pid).is_none()).await;
        }
    }
}

#[tokio::test]
async fn several_tracers_end_on_their_own() {
    let mut tracers = Vec::new();
    for _ in 0..5 {
        let tracer = builder().threads(2).build().expect("a tracer");
        let (mut tracee, mut child) = start(&tracer, &mut sleeper(&[])).await;
        ready(&mut tracee, &mut child).await;
        tracers.push((tracer, tracee, child));
    }
    while let Some((tracer, mut tracee, mut child)) = tracers.pop() {
        soon("shutdown", tracer.shutdown()).await.expect("shutdown");
        let event = soon("the end", tracee.next()).await;
        assert!(matches!(event, Some(Event::Detached)), "{event:?}");
        soon("its end", child.kill()).await.expect("a status");
        for (_, tracee, _) in &mut tracers {
            let control = tracee.control();
            soon("interrupt", control.interrupt())
                .await
                .expect("not shut down");
            wait!(*tracee, Event::Interrupted);
            tracee.cont().await.expect("held");
        }
    }
}

// Scenario 52: what cannot stop is let go.
#[tokio::test]
async fn a_vfork_parent_does_not_hold_up_the_end() {
    let tracer = new_tracer();
    let (mut tracee, mut child) = start(&tracer, &mut sleeper(&["vfork"])).await;
    let birth = next!(tracee, Event::Vfork(birth) => birth);
    let untraced = tracee.take_child(&birth).expect("not taken");
    drop(untraced);
    tracee.cont().await.expect("held");
    until("asleep in vfork", || state(child.id()) == Some('D')).await;
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    let event = soon("the end", tracee.wait()).await;
    assert!(matches!(event, Some(Event::Detached)), "{event:?}");
    assert!(!is_traced(child.id()) && !is_traced(birth.child));
    // It gets on when its child ends.
    signal_process(birth.child, Signal::SIGKILL).expect("it lives");
    let status = soon("its end", child.wait()).await.expect("a status");
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_pinned_task_may_shut_its_own_tracer_down() {
    let tracer = new_tracer();
    let (tracee, mut child) = start(&tracer, &mut sleeper(&["exit", "4"])).await;
    let inner = tracer.clone();
    let task = tracee.spawn_pinned(move |tracee| async move {
        inner.shutdown().await.expect("shutdown");
        drop(tracee);
    });
    // It ends at one of its awaits at the latest.
    drop(soon("the task", task).await);
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    let status = soon("its end", child.wait()).await.expect("a status");
    assert_eq!(status.code(), Some(4));
}

// Scenario 49: a running tracee is stopped to be let go. Nobody is told of that stop, however
// hard he looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stop_of_a_detach_is_no_event() {
    for _ in 0..20 {
        let tracer = new_tracer();
        let (mut lives, mut children) = (Vec::new(), Vec::new());
        for _ in 0..12 {
            let (mut tracee, mut child) = start(&tracer, &mut sleeper(&[])).await;
            ready(&mut tracee, &mut child).await;
            children.push(child);
            lives.push(tokio::spawn(async move {
                let event = loop {
                    if let Poll::Ready(event) = futures::poll!(tracee.next()) {
                        break event;
                    }
                    tokio::task::yield_now().await;
                };
                assert!(matches!(event, Some(Event::Detached)), "{event:?}");
            }));
        }
        soon("shutdown", tracer.shutdown()).await.expect("shutdown");
        for life in lives {
            soon("its end", life).await.expect("detached, and no more");
        }
    }
}

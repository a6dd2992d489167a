//! Asking for the next event resumes; waiting does not; no event is lost, whatever is
//! dropped in between.

use futures::{FutureExt, StreamExt, poll};
use tracehound::{Error, Event, ResumeMode, Signal, Stdio, Tracer};
use tracehound_tests::{
    end, in_each_place, next, puppet, soon, start, state, to_the_end, until, wait,
};

in_each_place! {
    next_resumes, wait_does_not_resume, a_dropped_next_loses_nothing, a_dropped_wait_loses_nothing,
    combinators, taken_apart, moved_between_tasks, in_a_select, collected, a_mode_is_sticky,
    the_first_event_comes_by_either,
}

// Contract 2: at the first poll.
async fn next_resumes(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("pause")).await;
    let unpolled = tracee.next();
    drop(unpolled);
    tracee.getregs().await.expect("it is held");
    assert!(poll!(tracee.next()).is_pending());
    assert!(matches!(tracee.getregs().await, Err(Error::Running(_))));
    until("it pauses", || state(tracee.tid()) == Some('S')).await;
    tracee.control().kill().expect("kill");
    assert!(matches!(end(&mut tracee).await, Event::Killed(_)));
}

// Contract 2
async fn wait_does_not_resume(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("raise", libc::SIGUSR1)).await;
    for _ in 0..3 {
        assert!(poll!(Box::pin(tracee.wait())).is_pending());
        tracee.getregs().await.expect("it is held");
        assert_eq!(state(tracee.tid()), Some('t'));
    }
    tracee.cont().await.expect("cont");
    wait!(tracee, Event::Signal(_));
    assert!(poll!(Box::pin(tracee.wait())).is_pending());
    tracee.getregs().await.expect("it is held");
    assert!(matches!(end(&mut tracee).await, Event::Killed(_)));
}

// Contract 7
async fn a_dropped_next_loses_nothing(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("raise", libc::SIGUSR1)).await;
    assert!(poll!(tracee.next()).is_pending());
    until("it stops", || state(tracee.tid()) == Some('t')).await;
    // Whichever way it is asked for now, and not resumed by it.
    next!(tracee, Event::Signal(_));
    tracee.getregs().await.expect("it is held");
    assert!(matches!(end(&mut tracee).await, Event::Killed(_)));
}

// Contract 7
async fn a_dropped_wait_loses_nothing(tracer: Tracer) {
    let mut command = puppet!("marks");
    let (mut tracee, _child) = start(&tracer, command.resume_mode(ResumeMode::Syscall)).await;
    next!(tracee, Event::SyscallExit(_));
    let mut inside = None;
    for _ in 0..200 {
        tracee.syscall().await.expect("syscall");
        let event = loop {
            // Polled once, and dropped.
            match tracee.wait().now_or_never() {
                Some(event) => break event.expect("an event"),
                None => tokio::task::yield_now().await,
            }
        };
        match event {
            Event::SyscallEnter(enter) => assert_eq!(inside.replace(enter.call), None),
            Event::SyscallExit(exit) => {
                assert!(exit.call.is_some());
                assert_eq!(exit.call, inside.take());
            }
            other => panic!("{other:?}"),
        }
    }
    tracee.control().kill().expect("kill");
    end(&mut tracee).await;
}

// Contract 2: a stream like any other.
async fn combinators(tracer: Tracer) {
    let mut command = puppet!("mark", 5);
    let (tracee, mut child) = start(&tracer, command.resume_mode(ResumeMode::Syscall)).await;
    let marks = tracee
        .map(|event| matches!(event, Event::SyscallEnter(e) if e.call.name() == Some("getppid")))
        .fold(0, async |marks, is_mark| marks + usize::from(is_mark));
    assert_eq!(soon("all events", marks).await, 5);
    assert!(child.wait().await.expect("status").success());
}

// Contract 2: what a combinator leaves is there for the next one.
async fn taken_apart(tracer: Tracer) {
    let mut command = puppet!("mark", 5);
    let (mut tracee, _child) = start(&tracer, command.resume_mode(ResumeMode::Syscall)).await;
    let is_mark =
        |event: &Event| matches!(event, Event::SyscallEnter(e) if e.call.name() == Some("getppid"));
    let before = tracee
        .by_ref()
        .take_while(|event| std::future::ready(!is_mark(event)));
    let before: Vec<_> = soon("the mark", before.collect()).await;
    assert!(!before.iter().any(is_mark));
    // The one that ended it was taken too, and is held.
    tracee.getregs().await.expect("it is held");
    next!(tracee, Event::SyscallExit(exit) if exit.call.is_some_and(|c| c.name() == Some("getppid")));
    let two: Vec<_> = soon("two", tracee.by_ref().take(2).collect()).await;
    assert!(
        matches!(two[..], [Event::SyscallEnter(_), Event::SyscallExit(_)]),
        "{two:?}"
    );
    tracee.getregs().await.expect("it is held");
    let rest = to_the_end(&mut tracee).await;
    assert_eq!(rest.iter().filter(|event| is_mark(event)).count(), 3);
}

// Send: between any two events.
async fn moved_between_tasks(tracer: Tracer) {
    let mut command = puppet!("mark", 5);
    let (mut tracee, _child) = start(&tracer, command.resume_mode(ResumeMode::Syscall)).await;
    let mut marks = 0;
    loop {
        let hop = tokio::spawn(async move {
            let event = soon("an event", tracee.next()).await;
            (tracee, event)
        });
        let (back, event) = hop.await.expect("a task");
        tracee = back;
        match event {
            Some(Event::SyscallEnter(e)) if e.call.name() == Some("getppid") => marks += 1,
            Some(_) => {}
            None => break,
        }
    }
    assert_eq!(marks, 5);
}

// `wait` in a `select!` with something that is always ready first.
async fn in_a_select(tracer: Tracer) {
    let mut command = puppet!("cat");
    command.stdin(Stdio::piped()).stderr(Stdio::null());
    let (mut tracee, mut child) = start(&tracer, command.resume_mode(ResumeMode::Syscall)).await;
    tracee.syscall().await.expect("syscall");
    let (mut reads, mut others) = (0, 0);
    loop {
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {
                others += 1;
                // It reads, and nothing comes to it: each of these has dropped a wait.
                if reads == 1 && others == 50 {
                    drop(child.stdin.take());
                }
            }
            event = tracee.wait() => match event {
                Some(Event::SyscallEnter(e)) => {
                    if e.call.name() == Some("read") && e.call.args[0] == 0 {
                        (reads, others) = (reads + 1, 0);
                    }
                    tracee.syscall().await.expect("syscall");
                }
                Some(event) if event.is_terminal() => break,
                Some(_) => tracee.syscall().await.expect("syscall"),
                None => panic!("no end"),
            },
        }
    }
    assert_eq!(reads, 1);
    assert!(child.stdin.is_none());
}

async fn collected(tracer: Tracer) {
    let spawned = tracer.spawn(puppet!("raise", libc::SIGUSR1)).await;
    let (tracee, mut child) = spawned.expect("spawn");
    let events: Vec<Event> = soon("all events", tracee.collect()).await;
    let [Event::Started(_), Event::Signal(_), Event::Killed(killed)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(killed.signal, Signal::SIGUSR1);
    assert_eq!(child.wait().await.expect("status").code(), None);
}

// Contract 2: an explicit resume does not change it.
async fn a_mode_is_sticky(tracer: Tracer) {
    let mut command = puppet!("marks");
    let (mut tracee, _child) = start(&tracer, command.resume_mode(ResumeMode::Syscall)).await;
    assert_eq!(tracee.resume_mode(), ResumeMode::Syscall);
    tracee.step().await.expect("step");
    wait!(tracee, Event::Step);
    tracee.cont().await.expect("cont");
    tracee.control().interrupt().await.expect("interrupt");
    wait!(tracee, Event::Interrupted);
    assert_eq!(tracee.resume_mode(), ResumeMode::Syscall);
    next!(tracee, Event::SyscallEnter(_) | Event::SyscallExit(_));
    tracee.control().kill().expect("kill");
    end(&mut tracee).await;
}

// Contract 4: `Started` is there without a resume, and takes requests before it is taken.
async fn the_first_event_comes_by_either(tracer: Tracer) {
    for by_wait in [false, true] {
        let spawned = tracer.spawn(puppet!("exit", 0)).await;
        let (mut tracee, _child) = spawned.expect("spawn");
        tracee.getregs().await.expect("it is held");
        if by_wait {
            wait!(tracee, Event::Started(_));
        } else {
            next!(tracee, Event::Started(_));
        }
        assert_eq!(state(tracee.tid()), Some('t'));
        assert!(matches!(end(&mut tracee).await, Event::Exited(_)));
    }
}

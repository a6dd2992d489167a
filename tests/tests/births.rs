//! What a tracee forks, vforks or clones becomes a tracee: the parent's event carries it,
//! and it has not run.

use futures::StreamExt;
use tracehound::event::Birth;
use tracehound::{Command, Event, Follow, ResumeMode, Signal, Tracee, Tracer};
use tracehound_tests::{
    end, in_each_place, is_traced, line, lines, new_tracer, next, puppet, soon, start, state,
    to_the_end, until,
};

in_each_place! {
    fork, vfork, vfork_and_exec, clone, clone3, posix_spawn, a_child_has_not_run, a_thread,
    modes_are_inherited, a_handle_is_given_once, killed_at_birth, killed_with_its_parent,
    short_threads, following_nothing, following_threads, following_everything,
    untraced_by_its_own_wish, an_untaken_child_runs_on, a_dropped_child_runs_on,
    a_child_that_was_never_looked_at, a_child_outlives_its_parent,
    a_child_is_taken_from_a_dead_parent, a_child_not_taken_from_a_dead_parent_runs_on,
    a_child_of_one_that_is_killed_and_dropped_runs_on,
}

/// Runs a tracee up to a birth and takes the child.
async fn birth(tracee: &mut Tracee) -> (Event, Birth, Tracee) {
    let event = soon("a birth", tracee.next()).await.expect("an event");
    let birth = *event
        .birth()
        .unwrap_or_else(|| panic!("no birth: {event:?}"));
    assert_eq!(birth.parent, tracee.tid());
    let child = tracee.take_child(&birth).expect("its handle");
    assert_eq!(child.tid(), birth.child);
    (event, birth, child)
}

/// The child of every puppet of births ends with 7, and the parent as its child.
async fn seven(tracee: &mut Tracee) {
    let end = end(tracee).await;
    assert!(
        matches!(end, Event::Exited(exited) if exited.code == 7),
        "{end:?}"
    );
}

async fn started(child: &mut Tracee) {
    next!(*child, Event::Started(started) if started.exec.is_none());
}

// Scenario 10
async fn fork(tracer: Tracer) {
    let (mut parent, _process) = start(&tracer, &mut puppet!("fork")).await;
    let (event, _, mut child) = birth(&mut parent).await;
    assert!(matches!(event, Event::Fork(_)));
    assert_eq!(child.tgid(), child.tid());
    started(&mut child).await;
    seven(&mut child).await;
    next!(parent, Event::Signal(stop) if stop.signal == Signal::SIGCHLD);
    seven(&mut parent).await;
}

// Scenario 10: the parent stays blocked until the child has ended.
async fn vfork(tracer: Tracer) {
    let (mut parent, _process) = start(&tracer, &mut puppet!("vfork")).await;
    let (event, birth, mut child) = birth(&mut parent).await;
    assert!(matches!(event, Event::Vfork(_)));
    started(&mut child).await;
    parent.cont().await.expect("cont");
    until("the parent waits", || state(birth.parent) == Some('D')).await;
    seven(&mut child).await;
    let done = wait_past_child_signal(&mut parent).await;
    assert!(
        matches!(done, Event::VforkDone(done) if done == birth),
        "{done:?}"
    );
    seven(&mut parent).await;
}

/// The next event that is no SIGCHLD: it may come before or after VforkDone.
async fn wait_past_child_signal(parent: &mut Tracee) -> Event {
    loop {
        match soon("an event", parent.next()).await.expect("an event") {
            Event::Signal(stop) if stop.signal == Signal::SIGCHLD => {}
            other => return other,
        }
    }
}

// Scenario 10: VforkDone comes with the exec already; both go on.
async fn vfork_and_exec(tracer: Tracer) {
    let mut command = puppet!("vfork-exec", env!("CARGO_BIN_EXE_puppet"), "exit", 7);
    let (mut parent, _process) = start(&tracer, &mut command).await;
    let (event, birth, mut child) = birth(&mut parent).await;
    assert!(matches!(event, Event::Vfork(_)));
    started(&mut child).await;
    next!(child, Event::Exec(exec) if exec.former_tid == birth.child);
    let done = soon("the parent", parent.next()).await;
    assert!(matches!(done, Some(Event::VforkDone(done)) if done == birth));
    seven(&mut child).await;
    seven(&mut parent).await;
}

// Scenario 10: a clone without an exit signal.
async fn clone(tracer: Tracer) {
    let (mut parent, _process) = start(&tracer, &mut puppet!("clone")).await;
    let (event, _, mut child) = birth(&mut parent).await;
    assert!(matches!(event, Event::Clone(_)));
    assert_eq!(child.tgid(), child.tid());
    started(&mut child).await;
    seven(&mut child).await;
    seven(&mut parent).await;
}

// Scenario 10: clone3 with SIGCHLD is a fork.
async fn clone3(tracer: Tracer) {
    let (mut parent, _process) = start(&tracer, &mut puppet!("clone3")).await;
    let (event, _, mut child) = birth(&mut parent).await;
    assert!(matches!(event, Event::Fork(_)));
    started(&mut child).await;
    seven(&mut child).await;
    seven(&mut parent).await;
}

// Scenario 10
async fn posix_spawn(tracer: Tracer) {
    let mut command = puppet!("posix-spawn", env!("CARGO_BIN_EXE_puppet"), "exit", 7);
    let (mut parent, _process) = start(&tracer, &mut command).await;
    let (event, birth, mut child) = birth(&mut parent).await;
    assert!(matches!(event, Event::Vfork(_)));
    started(&mut child).await;
    next!(child, Event::Exec(_));
    let done = soon("the parent", parent.next()).await;
    assert!(matches!(done, Some(Event::VforkDone(done)) if done == birth));
    seven(&mut child).await;
    seven(&mut parent).await;
}

// Scenario 10: whichever stop the kernel reports first, the child has not run at its
// first event, which comes without being resumed.
async fn a_child_has_not_run(tracer: Tracer) {
    for _ in 0..20 {
        let mut command = puppet!("fork");
        command.resume_mode(ResumeMode::Syscall);
        let (mut parent, _process) = start(&tracer, &mut command).await;
        let fork = loop {
            let event = soon("the fork", parent.next()).await;
            if let Event::Fork(birth) = event.expect("an event") {
                break birth;
            }
        };
        let mut child = parent.take_child(&fork).expect("the child");
        let first = soon("its first event", child.wait()).await;
        assert!(matches!(first, Some(Event::Started(_))), "{first:?}");
        assert_eq!(state(child.tid()), Some('t'));
        let ours = parent.getregs().await.expect("regs");
        let its = child.getregs().await.expect("regs");
        assert_eq!(its.instruction_pointer(), ours.instruction_pointer());
        // It is behind the call that made it: the next that it does is to enter one.
        next!(child, Event::SyscallEnter(_));
        next!(child, Event::SyscallExit(exit) if exit.call.is_some());
        seven(&mut child).await;
        seven(&mut parent).await;
    }
}

// Scenario 10
async fn a_thread(tracer: Tracer) {
    let (mut parent, _process) = start(&tracer, &mut puppet!("thread-and-fork")).await;
    let (event, _, mut thread) = birth(&mut parent).await;
    assert!(matches!(event, Event::Clone(_)));
    assert_eq!(thread.tgid(), parent.tid());
    assert_ne!(thread.tid(), parent.tid());
    started(&mut thread).await;
    let end_of_thread = async {
        let end = end(&mut thread).await;
        // Its own code, or the process's where that had begun to end before the thread's
        // end was taken.
        assert!(
            matches!(end, Event::Exited(exited) if [0, 7].contains(&exited.code)),
            "{end:?}"
        );
    };
    let fork = async {
        let (event, _, mut child) = birth(&mut parent).await;
        assert!(matches!(event, Event::Fork(_)));
        futures::join!(seven(&mut child), seven(&mut parent));
    };
    futures::join!(end_of_thread, fork);
}

// Contract 2: the resume mode is sticky, and inherited by tracees born from it.
async fn modes_are_inherited(tracer: Tracer) {
    let (mut parent, _process) = start(&tracer, &mut puppet!("fork")).await;
    parent.set_resume_mode(ResumeMode::Syscall);
    let mut child = loop {
        if let Some(birth) = soon("a birth", parent.next())
            .await
            .expect("an event")
            .birth()
        {
            break parent.take_child(birth).expect("the child");
        }
    };
    assert_eq!(child.resume_mode(), ResumeMode::Syscall);
    let events = to_the_end(&mut child).await;
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::SyscallEnter(_)))
    );
    seven(&mut parent).await;
}

// Contract 4
async fn a_handle_is_given_once(tracer: Tracer) {
    let (mut parent, _process) = start(&tracer, &mut puppet!("fork")).await;
    let (_, birth, mut child) = birth(&mut parent).await;
    assert!(parent.take_child(&birth).is_none());
    started(&mut child).await;
    seven(&mut child).await;
    next!(parent, Event::Signal(_));
    assert!(parent.take_child(&birth).is_none());
    seven(&mut parent).await;
}

// Scenario 11
async fn killed_at_birth(tracer: Tracer) {
    for look_first in [false, true] {
        let (mut parent, _process) = start(&tracer, &mut puppet!("fork")).await;
        let (_, _, mut child) = birth(&mut parent).await;
        if look_first {
            started(&mut child).await;
        }
        child.control().kill().expect("kill");
        let events = to_the_end(&mut child).await;
        let killed =
            matches!(events.last(), Some(Event::Killed(end)) if end.signal == Signal::SIGKILL);
        assert!(killed, "{events:?}");
        let end = end(&mut parent).await;
        assert!(
            matches!(end, Event::Exited(exited) if exited.code == 128 + 9),
            "{end:?}"
        );
    }
}

// Scenarios 10 and 11: the parent dies in the event of the birth.
async fn killed_with_its_parent(tracer: Tracer) {
    let (mut parent, _process) = start(&tracer, &mut puppet!("fork")).await;
    let (_, birth, mut child) = birth(&mut parent).await;
    parent.control().kill().expect("kill");
    assert!(matches!(end(&mut parent).await, Event::Killed(_)));
    // The handle is good, and so is the child.
    started(&mut child).await;
    assert_eq!(child.tid(), birth.child);
    seven(&mut child).await;
}

// Scenario 11: 500 threads that each live a millisecond.
async fn short_threads(tracer: Tracer) {
    let (mut leader, _process) = start(&tracer, &mut puppet!("threads", 500)).await;
    let mut threads = futures::stream::FuturesUnordered::new();
    let mut count = 0;
    let end = loop {
        let event = tokio::select! {
            event = leader.next() => event.expect("an event"),
            Some(()) = threads.next() => continue,
        };
        if let Some(birth) = event.birth() {
            let mut thread = leader.take_child(birth).expect("the thread");
            count += 1;
            threads.push(async move {
                let events = to_the_end(&mut thread).await;
                assert!(
                    matches!(events[..], [Event::Started(_), Event::Exited(_)]),
                    "{events:?}"
                );
            });
        } else if event.is_terminal() {
            break event;
        }
    };
    assert!(
        matches!(end, Event::Exited(exited) if exited.code == 0),
        "{end:?}"
    );
    soon("the threads", async {
        while threads.next().await.is_some() {}
    })
    .await;
    assert_eq!(count, 500);
}

async fn births_of(tracer: &Tracer, follow: Follow) -> Vec<Event> {
    let mut command = puppet!("thread-and-fork");
    let (mut leader, _process) = start(tracer, command.follow(follow)).await;
    let events = to_the_end(&mut leader).await;
    let end = events.last();
    assert!(
        matches!(end, Some(Event::Exited(exited)) if exited.code == 7),
        "{end:?}"
    );
    events
        .into_iter()
        .filter(|event| event.birth().is_some())
        .collect()
}

// Scenario 12
async fn following_nothing(tracer: Tracer) {
    assert!(births_of(&tracer, Follow::Nothing).await.is_empty());
    for command in ["vfork", "clone", "clone3"] {
        let mut command = puppet!(command);
        let (mut parent, _process) = start(&tracer, command.follow(Follow::Nothing)).await;
        let events = to_the_end(&mut parent).await;
        assert!(
            events.iter().all(|event| event.birth().is_none()),
            "{events:?}"
        );
    }
}

// Scenario 12
async fn following_threads(tracer: Tracer) {
    let births = births_of(&tracer, Follow::Threads).await;
    assert!(matches!(births[..], [Event::Clone(_)]), "{births:?}");
}

// Scenario 12
async fn following_everything(tracer: Tracer) {
    let births = births_of(&tracer, Follow::Everything).await;
    assert!(
        matches!(births[..], [Event::Clone(_), Event::Fork(_)]),
        "{births:?}"
    );
}

// Scenario 12
async fn untraced_by_its_own_wish(tracer: Tracer) {
    let (mut parent, _process) = start(&tracer, &mut puppet!("clone-untraced")).await;
    let events = to_the_end(&mut parent).await;
    let [Event::Signal(_), Event::Exited(exited)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(exited.code, 7);
}

// Scenario 12: it is let go when its parent is resumed.
async fn an_untaken_child_runs_on(tracer: Tracer) {
    let (mut parent, _process) = start(&tracer, &mut puppet!("fork")).await;
    next!(parent, Event::Fork(_));
    seven(&mut parent).await;
}

// Scenario 12
async fn a_dropped_child_runs_on(tracer: Tracer) {
    for look_first in [false, true] {
        let (mut parent, _process) = start(&tracer, &mut puppet!("fork-orphan")).await;
        let (_, birth, mut child) = birth(&mut parent).await;
        if look_first {
            started(&mut child).await;
        }
        drop(child);
        let sleeps = || state(birth.child) == Some('S') && !is_traced(birth.child);
        until("the child pauses, untraced", sleeps).await;
        end(&mut parent).await;
        tracehound_sys::signal_process(birth.child, Signal::SIGKILL).expect("it lives");
    }
}

// Scenario 47: it costs a stopped child, and its parent nothing.
async fn a_child_that_was_never_looked_at(tracer: Tracer) {
    let (mut parent, _process) = start(&tracer, &mut puppet!("fork-orphan")).await;
    let (_, birth, child) = birth(&mut parent).await;
    assert!(matches!(end(&mut parent).await, Event::Exited(exited) if exited.code == 0));
    until("the child has stopped", || state(birth.child) == Some('t')).await;
    child.control().kill().expect("kill");
    drop(child);
    until("the child is dead", || {
        matches!(state(birth.child), None | Some('Z'))
    })
    .await;
}

// Scenario 10: after the parent died.
async fn a_child_outlives_its_parent(tracer: Tracer) {
    let (mut parent, _process) = start(&tracer, &mut puppet!("fork-orphan")).await;
    let (_, birth, mut child) = birth(&mut parent).await;
    end(&mut parent).await;
    started(&mut child).await;
    child.cont().await.expect("cont");
    until("the child pauses", || state(birth.child) == Some('S')).await;
    child.control().kill().expect("kill");
    assert!(matches!(end(&mut child).await, Event::Killed(_)));
}

// Scenario 11: forks in a row, each followed to its end.
async fn many_forks(tracer: Tracer) {
    let (mut parent, _process) = start(&tracer, &mut puppet!("forks", FORKS)).await;
    let mut count = 0;
    while let Some(event) = soon("an event", parent.next()).await {
        match event {
            Event::Fork(birth) => {
                let mut child = parent.take_child(&birth).expect("the child");
                let events = to_the_end(&mut child).await;
                let [Event::Started(_), Event::Exited(end)] = &events[..] else {
                    panic!("{events:?}");
                };
                assert_eq!(end.code, 0);
                count += 1;
            }
            Event::Signal(stop) => assert_eq!(stop.signal, Signal::SIGCHLD),
            Event::Exited(end) => assert_eq!(end.code, 0),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(count, FORKS);
}

/// Unoptimized code need not prove it as often.
const FORKS: usize = if cfg!(debug_assertions) {
    2_000
} else {
    10_000
};

#[tokio::test]
async fn forks_in_a_row() {
    tracehound_tests::in_place(many_forks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forks_in_a_row_pinned() {
    tracehound_tests::pinned(many_forks).await;
}

// Scenario 11: the same by a tree's logic, where children are handed on by themselves.
#[tokio::test]
async fn forks_in_a_row_as_a_tree() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let tracer = new_tracer();
    let (started, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&started), Arc::clone(&ended));
    let tree = tracer.trace(puppet!("forks", FORKS), move |mut tracee| {
        let (started, ended) = counts.clone();
        async move {
            while let Some(event) = tracee.next().await {
                if matches!(event, Event::Started(_)) {
                    started.fetch_add(1, Ordering::Relaxed);
                } else if let Some(birth) = event.birth() {
                    assert!(tracee.take_child(birth).is_none());
                } else if event.is_terminal() {
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    assert!(soon("the tree", tree).await.expect("status").success());
    assert_eq!(started.load(Ordering::Relaxed), FORKS + 1);
    assert_eq!(ended.load(Ordering::Relaxed), FORKS + 1);
    tracer.shutdown().await.expect("shutdown");
}

// Scenarios 10 and 12: programs as they are, followed everywhere.
#[tokio::test]
async fn a_shell_pipeline() {
    let tracer = new_tracer();
    let mut command = Command::new("sh");
    command.args(["-c", "echo one two | tr ' ' '\\n' | (read x; cat)"]);
    command.stdout(tracehound::Stdio::piped());
    let (mut shell, mut child) = start(&tracer, &mut command).await;
    let mut lines = lines(&mut child);
    fn follow(mut tracee: Tracee) -> futures::future::BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut children = Vec::new();
            while let Some(event) = soon("an event", tracee.next()).await {
                let child = event.birth().and_then(|birth| tracee.take_child(birth));
                children.extend(child.map(|child| tokio::spawn(follow(child))));
            }
            for child in children {
                child.await.expect("a child");
            }
        })
    }
    next!(shell, Event::Fork(_) | Event::Vfork(_) | Event::Clone(_));
    follow(shell).await;
    assert_eq!(line(&mut lines).await, "two");
    assert!(child.wait().await.expect("status").success());
    tracer.shutdown().await.expect("shutdown");
}

/// A parent that was killed when its child's birth had been handed out.
async fn killed_after_a_birth(tracer: &Tracer) -> (Tracee, Birth) {
    let (mut parent, child) = start(tracer, &mut puppet!("fork")).await;
    let birth = next!(parent, Event::Fork(birth) => birth);
    child.start_kill();
    until("it is reaped", || state(parent.tid()).is_none()).await;
    // Whatever the tracer thread had to do about that has been done.
    let nobody = soon("an answer", tracer.attach(0)).await;
    nobody.expect_err("there is no such process");
    (parent, birth)
}

// Scenario 10, 18
async fn a_child_is_taken_from_a_dead_parent(tracer: Tracer) {
    let (mut parent, birth) = killed_after_a_birth(&tracer).await;
    let mut child = parent.take_child(&birth).expect("its handle");
    assert!(parent.take_child(&birth).is_none());
    started(&mut child).await;
    seven(&mut child).await;
    assert!(matches!(end(&mut parent).await, Event::Killed(_)));
}

// Scenario 12, 48
async fn a_child_not_taken_from_a_dead_parent_runs_on(tracer: Tracer) {
    for dropped in [false, true] {
        let (mut parent, birth) = killed_after_a_birth(&tracer).await;
        assert!(is_traced(birth.child));
        let control = parent.control();
        match dropped {
            true => drop(parent),
            false => assert!(matches!(end(&mut parent).await, Event::Killed(_))),
        }
        until("it is free", || !is_traced(birth.child)).await;
        drop(control);
    }
}

// Scenario 12, 48: the tracer thread is told of the drop before it hears of the death.
async fn a_child_of_one_that_is_killed_and_dropped_runs_on(tracer: Tracer) {
    let (mut parent, child) = start(&tracer, &mut puppet!("fork")).await;
    let birth = next!(parent, Event::Fork(birth) => birth);
    let control = parent.control();
    let both = parent.spawn_pinned(async move |parent| {
        child.start_kill();
        drop(parent);
    });
    soon("the task", both).await.expect("no panic");
    until("it is free", || !is_traced(birth.child)).await;
    drop(control);
}

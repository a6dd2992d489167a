//! Every tracee's stream ends with one terminal event that tells the truth, whatever the
//! tracee died of, and wherever it was.

use std::os::unix::process::ExitStatusExt;

use futures::StreamExt;
use tracehound::{Child, Error, Event, ResumeMode, Signal, Tracee, Tracer};
use tracehound_sys::signal_process;
use tracehound_tests::{end, in_each_place, lines, next, puppet, soon, start, to_the_end, wait};

in_each_place! {
    by_exit, by_a_signal, by_a_fault, by_exit_group_of_threads, by_a_signal_to_threads,
    with_a_core_dump, killed_in_each_stop, killed_in_each_stop_with_exit_stops,
    killed_just_before_a_resume, killed_and_not_resumed, killed_in_the_exit_stop,
    the_exit_stop, the_exit_stop_of_a_killed_one, killed_before_anyone_looked,
    killed_as_a_thread_is_born, a_thread_before_its_process,
}

/// The end as `Child::wait` tells it.
async fn status(child: &mut Child) -> std::process::ExitStatus {
    soon("the status", child.wait()).await.expect("status")
}

fn is_sigkill(event: &Event) -> bool {
    matches!(event, Event::Killed(end) if end.signal == Signal::SIGKILL && !end.core_dumped)
}

// Scenario 18
async fn by_exit(tracer: Tracer) {
    for code in [0, 1, 127, 128, 255] {
        let (mut tracee, mut child) = start(&tracer, &mut puppet!("exit", code)).await;
        let events = to_the_end(&mut tracee).await;
        assert!(
            matches!(events[..], [Event::Exited(exited)] if exited.code == code),
            "{events:?}"
        );
        assert_eq!(status(&mut child).await.code(), Some(code));
    }
}

// Scenario 18
async fn by_a_signal(tracer: Tracer) {
    for signal in [
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::from_raw(libc::SIGRTMAX()),
    ] {
        let (mut tracee, mut child) = start(&tracer, &mut puppet!("raise", signal.as_raw())).await;
        let events = to_the_end(&mut tracee).await;
        let [Event::Signal(stop), Event::Killed(killed)] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!((stop.signal, killed.signal), (signal, signal));
        assert_eq!(status(&mut child).await.signal(), Some(signal.as_raw()));
    }
}

// Scenario 18
async fn by_a_fault(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("fault")).await;
    let stop = next!(tracee, Event::Signal(stop) => stop);
    assert_eq!(stop.signal, Signal::SIGSEGV);
    assert_eq!(stop.info.address(), Some(0x123));
    assert!(!stop.info.is_from_user());
    // Rust's own handler looks at the fault, and lets it happen again.
    let events = to_the_end(&mut tracee).await;
    let last = events.last();
    assert!(
        matches!(last, Some(Event::Killed(end)) if end.signal == Signal::SIGSEGV),
        "{events:?}"
    );
}

/// Starts a puppet whose leader makes threads that pause; gives all of them, running, but
/// for the leader.
async fn with_threads(
    tracer: &Tracer,
    command: &str,
    count: usize,
) -> (Tracee, Vec<Tracee>, Child) {
    let mut command = puppet!(command, count);
    let (mut leader, child) = start(tracer, &mut command).await;
    let mut threads = Vec::new();
    for _ in 0..count {
        let birth = next!(leader, Event::Clone(birth) => birth);
        let mut thread = leader.take_child(&birth).expect("the thread");
        next!(thread, Event::Started(_));
        thread.cont().await.expect("cont");
        threads.push(thread);
    }
    (leader, threads, child)
}

// Scenario 18: each thread's end, with the status of all.
async fn by_exit_group_of_threads(tracer: Tracer) {
    let (mut leader, threads, mut child) = with_threads(&tracer, "exit-with-threads", 5).await;
    assert!(matches!(end(&mut leader).await, Event::Exited(exited) if exited.code == 5));
    for mut thread in threads {
        let events = to_the_end(&mut thread).await;
        assert!(
            matches!(events[..], [Event::Exited(exited)] if exited.code == 5),
            "{events:?}"
        );
    }
    assert_eq!(status(&mut child).await.code(), Some(5));
}

// Scenario 18
async fn by_a_signal_to_threads(tracer: Tracer) {
    let (mut leader, threads, mut child) = with_threads(&tracer, "waiting-threads", 5).await;
    let mut out = lines(&mut child);
    leader.cont().await.expect("cont");
    assert_eq!(tracehound_tests::line(&mut out).await, "ready");
    signal_process(leader.tid(), Signal::SIGTERM).expect("it lives");
    // Whichever thread gets it.
    let mut all = futures::stream::SelectAll::new();
    let tids: Vec<_> = threads
        .iter()
        .map(Tracee::tid)
        .chain([leader.tid()])
        .collect();
    all.extend(threads);
    all.push(leader);
    let (mut signals, mut ends) = (0, 0);
    while let Some(event) = soon("an event", all.next()).await {
        match event {
            Event::Signal(stop) if stop.signal == Signal::SIGTERM => signals += 1,
            Event::Killed(killed) if killed.signal == Signal::SIGTERM => ends += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((signals, ends), (1, tids.len()));
    assert_eq!(status(&mut child).await.signal(), Some(libc::SIGTERM));
}

// Scenario 18: the flag is as for a program that nobody traces.
async fn with_a_core_dump(tracer: Tracer) {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path().to_str().expect("text");
    let mut untraced = tokio::process::Command::new(env!("CARGO_BIN_EXE_puppet"));
    let untraced = untraced
        .args(["dump", directory])
        .status()
        .await
        .expect("status");
    assert_eq!(untraced.signal(), Some(libc::SIGABRT));
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("dump", directory)).await;
    let end = end(&mut tracee).await;
    let Event::Killed(killed) = end else {
        panic!("{end:?}");
    };
    assert_eq!(killed.signal, Signal::SIGABRT);
    let status = status(&mut child).await;
    assert_eq!(status.signal(), Some(libc::SIGABRT));
    assert_eq!(killed.core_dumped, status.core_dumped());
    // A program that takes cores takes no more than it likes: then one says nothing of another.
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern");
    let piped = pattern.is_ok_and(|pattern| pattern.starts_with('|'));
    assert!(piped || status == untraced, "{status}, not {untraced}");
}

/// Where a tracee can be when it is killed.
#[derive(Clone, Copy, Debug)]
enum Place {
    Started,
    BeforeExec,
    Exec,
    SyscallEnter,
    SyscallExit,
    Signal,
    Step,
    Interrupted,
    GroupStop,
    Listening,
    Asleep,
    Busy,
    Fork,
    Vfork,
    Clone,
    Born,
    VforkDone,
}

const PLACES: [Place; 17] = [
    Place::Started,
    Place::BeforeExec,
    Place::Exec,
    Place::SyscallEnter,
    Place::SyscallExit,
    Place::Signal,
    Place::Step,
    Place::Interrupted,
    Place::GroupStop,
    Place::Listening,
    Place::Asleep,
    Place::Busy,
    Place::Fork,
    Place::Vfork,
    Place::Clone,
    Place::Born,
    Place::VforkDone,
];

impl Place {
    fn is_held(self) -> bool {
        !matches!(self, Place::Listening | Place::Asleep | Place::Busy)
    }

    fn command(self) -> tracehound::Command {
        match self {
            Place::Started | Place::Step | Place::BeforeExec => puppet!("pause"),
            Place::Exec => puppet!("exec", env!("CARGO_BIN_EXE_puppet"), "pause"),
            Place::SyscallEnter | Place::SyscallExit => {
                let mut command = puppet!("marks");
                command.resume_mode(ResumeMode::Syscall);
                command
            }
            Place::Interrupted | Place::Busy => puppet!("marks"),
            Place::Signal => puppet!("raise", libc::SIGUSR1),
            Place::GroupStop | Place::Listening => puppet!("raise", libc::SIGSTOP),
            Place::Asleep => puppet!("say-and-pause"),
            Place::Fork | Place::Born => puppet!("fork"),
            Place::Vfork | Place::VforkDone => puppet!("vfork"),
            Place::Clone => puppet!("clone"),
        }
    }

    /// Brings a tracee there; gives also what must not be dropped.
    async fn bring(self, tracer: &Tracer, exit_stops: bool) -> (Tracee, Child, Vec<Tracee>) {
        let mut command = self.command();
        command.exit_stops(exit_stops);
        command.stop_before_exec(matches!(self, Place::BeforeExec));
        let (mut tracee, mut child) = start(tracer, &mut command).await;
        let mut others = Vec::new();
        match self {
            Place::Started | Place::BeforeExec => {}
            Place::Exec => next!(tracee, Event::Exec(_)),
            Place::SyscallEnter | Place::SyscallExit => self.to_a_call(&mut tracee).await,
            Place::Signal => next!(tracee, Event::Signal(_)),
            Place::Step => {
                tracee.step().await.expect("step");
                wait!(tracee, Event::Step);
            }
            Place::Interrupted => {
                tracee.cont().await.expect("cont");
                tracee.control().interrupt().await.expect("interrupt");
                wait!(tracee, Event::Interrupted);
            }
            Place::GroupStop | Place::Listening => {
                next!(tracee, Event::Signal(_));
                next!(tracee, Event::GroupStop(_));
                if matches!(self, Place::Listening) {
                    tracee.listen().await.expect("listen");
                }
            }
            Place::Asleep => {
                tracee.cont().await.expect("cont");
                tracehound_tests::line(&mut lines(&mut child)).await;
            }
            Place::Busy => tracee.cont().await.expect("cont"),
            Place::Fork => next!(tracee, Event::Fork(_)),
            Place::Vfork => next!(tracee, Event::Vfork(_)),
            Place::Clone => next!(tracee, Event::Clone(_)),
            Place::Born => {
                let birth = next!(tracee, Event::Fork(birth) => birth);
                let mut born = tracee.take_child(&birth).expect("the child");
                next!(born, Event::Started(_));
                others.push(std::mem::replace(&mut tracee, born));
            }
            Place::VforkDone => {
                next!(tracee, Event::Vfork(_));
                // The child, let go, ends; which is signalled before or after.
                while !matches!(
                    soon("the end", tracee.next()).await,
                    Some(Event::VforkDone(_))
                ) {}
            }
        }
        if !self.is_held() {
            // To its tracer thread and back: what was asked for before has been done.
            let again = tracer.attach_thread(tracee.tid()).await;
            assert!(again.is_err());
        }
        (tracee, child, others)
    }

    async fn to_a_call(self, tracee: &mut Tracee) {
        loop {
            match soon("a call", tracee.next()).await.expect("an event") {
                Event::SyscallEnter(enter) if enter.call.name() == Some("getppid") => break,
                _ => {}
            }
        }
        if matches!(self, Place::SyscallExit) {
            next!(*tracee, Event::SyscallExit(_));
        }
    }
}

/// Who kills.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Killer {
    Control,
    Stranger,
    Child,
}

const KILLERS: [Killer; 3] = [Killer::Control, Killer::Stranger, Killer::Child];

impl Killer {
    fn kill(self, tracee: &Tracee, child: &Child) {
        match self {
            Killer::Child if child.id() == tracee.tgid() => child.start_kill(),
            Killer::Control => tracee.control().kill().expect("kill"),
            _ => signal_process(tracee.tgid(), Signal::SIGKILL).expect("it lives"),
        }
    }
}

/// The end of a tracee that was killed: perhaps an exit stop first, then the truth.
fn check_killed(case: &dyn std::fmt::Debug, events: &[Event], exit_stops: bool) {
    let rest = match events {
        [Event::Exiting(exiting), rest @ ..] => {
            assert!(exit_stops, "{case:?}: {events:?}");
            assert_eq!(
                exiting.exit_status().signal(),
                Some(libc::SIGKILL),
                "{case:?}"
            );
            rest
        }
        all => all,
    };
    assert!(
        matches!(rest, [end] if is_sigkill(end)),
        "{case:?}: {events:?}"
    );
}

async fn kill_everywhere(tracer: &Tracer, exit_stops: bool) {
    for place in PLACES {
        for killer in KILLERS {
            let (mut tracee, mut child, others) = place.bring(tracer, exit_stops).await;
            killer.kill(&tracee, &child);
            let events = to_the_end(&mut tracee).await;
            check_killed(&(place, killer), &events, exit_stops);
            if others.is_empty() {
                assert_eq!(status(&mut child).await.signal(), Some(libc::SIGKILL));
            }
        }
    }
}

// Scenario 18
async fn killed_in_each_stop(tracer: Tracer) {
    kill_everywhere(&tracer, false).await;
}

// Scenario 18
async fn killed_in_each_stop_with_exit_stops(tracer: Tracer) {
    kill_everywhere(&tracer, true).await;
}

// Scenario 18: the resume finds the tracee held, or gone; never anything else.
async fn killed_just_before_a_resume(tracer: Tracer) {
    for exit_stops in [false, true] {
        for place in PLACES.into_iter().filter(|place| place.is_held()) {
            for killer in KILLERS {
                let (mut tracee, child, _others) = place.bring(&tracer, exit_stops).await;
                killer.kill(&tracee, &child);
                match tracee.cont().await {
                    Ok(()) | Err(tracehound::Error::Gone(_)) => {}
                    Err(other) => panic!("{place:?} {killer:?}: {other:?}"),
                }
                let events = to_the_end(&mut tracee).await;
                check_killed(&(place, killer), &events, exit_stops);
            }
        }
    }
}

// Scenario 18: the end comes to one who only waits. An exit stop has to be left.
async fn killed_and_not_resumed(tracer: Tracer) {
    for exit_stops in [false, true] {
        for place in PLACES {
            let (mut tracee, child, _others) = place.bring(&tracer, exit_stops).await;
            Killer::Stranger.kill(&tracee, &child);
            let mut events = Vec::new();
            let first = soon("its end", tracee.wait()).await.expect("an event");
            let terminal = first.is_terminal();
            events.push(first);
            if exit_stops {
                assert!(
                    matches!(events[..], [Event::Exiting(_)]),
                    "{place:?}: {events:?}"
                );
                tracee
                    .getregs()
                    .await
                    .expect("registers are readable there");
            }
            if !terminal {
                events.extend(to_the_end(&mut tracee).await);
            }
            check_killed(&place, &events, exit_stops);
            assert!(tracee.wait().await.is_none());
            assert!(tracee.next().await.is_none());
        }
    }
}

// Scenario 19: registers and memory are readable, the status is known.
async fn the_exit_stop(tracer: Tracer) {
    let mut command = puppet!("exit", 5);
    let (mut tracee, mut child) = start(&tracer, command.exit_stops(true)).await;
    let exiting = next!(tracee, Event::Exiting(exiting) => exiting);
    assert_eq!(exiting.exit_status().code(), Some(5));
    let regs = tracee.getregs().await.expect("regs");
    let stack = tracee
        .read_bytes(regs.stack_pointer(), 8)
        .expect("its stack");
    assert_eq!(stack.len(), 8);
    assert!(std::fs::exists(format!("/proc/{}/maps", tracee.tid())).expect("/proc"));
    assert_eq!(child.try_wait(), None);
    let events = to_the_end(&mut tracee).await;
    assert!(
        matches!(events[..], [Event::Exited(exited)] if exited.code == 5),
        "{events:?}"
    );
    assert_eq!(status(&mut child).await.code(), Some(5));
}

// Scenario 19
async fn the_exit_stop_of_a_killed_one(tracer: Tracer) {
    let mut command = puppet!("raise", libc::SIGTERM);
    let (mut tracee, _child) = start(&tracer, command.exit_stops(true)).await;
    let events = to_the_end(&mut tracee).await;
    let [
        Event::Signal(_),
        Event::Exiting(exiting),
        Event::Killed(killed),
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(exiting.exit_status().signal(), Some(libc::SIGTERM));
    assert_eq!(killed.signal, Signal::SIGTERM);
}

// Scenarios 18 and 19: it dies, and all who tell of it agree.
async fn killed_in_the_exit_stop(tracer: Tracer) {
    for killer in KILLERS {
        let mut command = puppet!("exit", 5);
        let (mut tracee, mut child) = start(&tracer, command.exit_stops(true)).await;
        next!(tracee, Event::Exiting(_));
        killer.kill(&tracee, &child);
        // Nobody resumes it: who kills by a handle need not.
        let mut events = Vec::new();
        if killer != Killer::Stranger {
            let refused = tracee.getregs().await;
            assert!(matches!(refused, Err(Error::Gone(_))), "{refused:?}");
            events.extend(soon("its end", tracee.wait()).await);
            assert!(tracee.wait().await.is_none());
        } else {
            events.extend(to_the_end(&mut tracee).await);
        }
        let end = match &events[..] {
            // Since Linux 6.1 the first status stays.
            [Event::Exited(exited)] if exited.code == 5 => Some(5),
            [end] if is_sigkill(end) => None,
            _ => panic!("{killer:?}: {events:?}"),
        };
        assert_eq!(status(&mut child).await.code(), end);
    }
}

// Scenario 11, and 18: before the first event was asked for.
async fn killed_before_anyone_looked(tracer: Tracer) {
    let spawned = tracer.spawn(puppet!("pause")).await;
    let (mut tracee, mut child) = spawned.expect("spawn");
    child.kill().await.expect("kill");
    let events = to_the_end(&mut tracee).await;
    // The stop that was not handed out is superseded.
    assert!(
        matches!(&events[..], [end] if is_sigkill(end)),
        "{events:?}"
    );
    assert_eq!(status(&mut child).await.signal(), Some(libc::SIGKILL));
}

// Scenario 18: both threads end, each with one event.
async fn killed_as_a_thread_is_born(tracer: Tracer) {
    for look_first in [false, true] {
        let (mut leader, mut child) = start(&tracer, &mut puppet!("waiting-threads", 1)).await;
        let birth = next!(leader, Event::Clone(birth) => birth);
        let mut thread = leader.take_child(&birth).expect("the thread");
        if look_first {
            next!(thread, Event::Started(_));
        }
        thread.control().kill().expect("kill");
        for tracee in [&mut leader, &mut thread] {
            let last = end(tracee).await;
            assert!(is_sigkill(&last), "{last:?}");
        }
        assert_eq!(status(&mut child).await.signal(), Some(libc::SIGKILL));
    }
}

// Scenarios 18 and 19: a thread's code is its own, unless its process began to end before
// the thread's end was taken; then the kernel gives the process's. The exit stop has its own.
async fn a_thread_before_its_process(tracer: Tracer) {
    let mut command = puppet!("exit-beside-a-thread-that-ends");
    let (mut leader, mut child) = start(&tracer, command.exit_stops(true)).await;
    let birth = next!(leader, Event::Clone(birth) => birth);
    let mut thread = leader.take_child(&birth).expect("the thread");
    next!(thread, Event::Started(_));
    let exiting = next!(thread, Event::Exiting(exiting) => exiting);
    assert_eq!(exiting.exit_status().code(), Some(3));
    let exiting = next!(leader, Event::Exiting(exiting) => exiting);
    assert_eq!(exiting.exit_status().code(), Some(5));
    for tracee in [&mut thread, &mut leader] {
        let events = to_the_end(tracee).await;
        assert!(
            matches!(events[..], [Event::Exited(exited)] if exited.code == 5),
            "{events:?}"
        );
    }
    assert_eq!(status(&mut child).await.code(), Some(5));
}

//! A tracee is let go from any state, and goes on as job control says, without loss.

use futures::StreamExt;
use tracehound::{Child, Command, Error, Event, ResumeMode, Signal, Stdio, Tracee, Tracer};
use tracehound_sys::signal_process;
use tracehound_tests::{
    in_each_place, is_traced, line, lines, next, puppet, soon, start, state, to_the_end, until,
    wait,
};

in_each_place! {
    from_each_state, dropped_in_each_state, with_the_signal, without_the_signal,
    while_signals_come, while_a_stop_comes, a_vfork_parent, a_vfork_parent_that_is_dropped,
    from_the_exit_stop, a_blocked_call_goes_on, twice, and_attached_again,
}

const CREW: &str = env!("CARGO_BIN_EXE_crew");
const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

fn crew(args: &[&str]) -> Command {
    let mut command = Command::new(CREW);
    command.args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Where a tracee can be when it is let go.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Before its first event was asked for.
    Unasked,
    Started,
    BeforeExec,
    Exec,
    SyscallEnter,
    SyscallExit,
    Signal,
    /// In a signal-delivery-stop that was not handed out.
    UnaskedSignal,
    Step,
    Stepping,
    Interrupted,
    Asked,
    GroupStop,
    Listening,
    InterruptedWhileListening,
    Asleep,
    Busy,
    Fork,
    Clone,
    VforkDone,
}

const PLACES: [Place; 20] = [
    Place::Unasked,
    Place::Started,
    Place::BeforeExec,
    Place::Exec,
    Place::SyscallEnter,
    Place::SyscallExit,
    Place::Signal,
    Place::UnaskedSignal,
    Place::Step,
    Place::Stepping,
    Place::Interrupted,
    Place::Asked,
    Place::GroupStop,
    Place::Listening,
    Place::InterruptedWhileListening,
    Place::Asleep,
    Place::Busy,
    Place::Fork,
    Place::Clone,
    Place::VforkDone,
];

impl Place {
    fn command(self) -> Command {
        match self {
            Place::Exec => puppet!("exec", PUPPET, "say-and-pause"),
            Place::SyscallEnter | Place::SyscallExit => {
                let mut command = puppet!("marks");
                command.resume_mode(ResumeMode::Syscall);
                command
            }
            Place::Interrupted | Place::Asked | Place::Busy | Place::Stepping => puppet!("marks"),
            Place::Signal | Place::UnaskedSignal => puppet!("catch", libc::SIGUSR1),
            Place::GroupStop | Place::Listening | Place::InterruptedWhileListening => {
                puppet!("raise", libc::SIGSTOP)
            }
            Place::Fork => puppet!("fork"),
            Place::Clone => puppet!("clone"),
            Place::VforkDone => puppet!("vfork"),
            _ => puppet!("say-and-pause"),
        }
    }

    async fn bring(self, tracer: &Tracer) -> (Tracee, Child) {
        let mut command = self.command();
        command.stop_before_exec(self == Place::BeforeExec);
        if self == Place::Unasked {
            return soon("spawn", tracer.spawn(command)).await.expect("spawn");
        }
        let (mut tracee, mut child) = start(tracer, &mut command).await;
        match self {
            Place::Exec => next!(tracee, Event::Exec(_)),
            Place::SyscallEnter | Place::SyscallExit => self.to_a_call(&mut tracee).await,
            Place::Signal | Place::UnaskedSignal => {
                tracee.cont().await.expect("cont");
                // Its reading end stays open, in the child's stead.
                let mut out = lines(&mut child);
                line(&mut out).await;
                signal_process(tracee.tid(), Signal::SIGUSR1).expect("it lives");
                if self == Place::Signal {
                    wait!(tracee, Event::Signal(_));
                } else {
                    until("the stop", || state(tracee.tid()) == Some('t')).await;
                }
                std::mem::forget(out);
            }
            Place::Step | Place::Stepping => {
                tracee.step().await.expect("step");
                wait!(tracee, Event::Step);
                if self == Place::Stepping {
                    tracee.step().await.expect("step");
                }
            }
            Place::Interrupted | Place::Asked => {
                tracee.cont().await.expect("cont");
                tracee.control().interrupt().await.expect("interrupt");
                if self == Place::Interrupted {
                    wait!(tracee, Event::Interrupted);
                }
            }
            Place::GroupStop | Place::Listening | Place::InterruptedWhileListening => {
                next!(tracee, Event::Signal(_));
                next!(tracee, Event::GroupStop(_));
                if self != Place::GroupStop {
                    tracee.listen().await.expect("listen");
                }
                if self == Place::InterruptedWhileListening {
                    tracee.control().interrupt().await.expect("interrupt");
                    wait!(tracee, Event::Interrupted);
                }
            }
            Place::Asleep => {
                tracee.cont().await.expect("cont");
                let mut out = lines(&mut child);
                line(&mut out).await;
                until("asleep", || state(tracee.tid()) == Some('S')).await;
            }
            Place::Busy => tracee.cont().await.expect("cont"),
            Place::Fork => next!(tracee, Event::Fork(_)),
            Place::Clone => next!(tracee, Event::Clone(_)),
            Place::VforkDone => {
                next!(tracee, Event::Vfork(_));
                while !matches!(soon("it", tracee.next()).await, Some(Event::VforkDone(_))) {}
            }
            _ => {}
        }
        (tracee, child)
    }

    async fn to_a_call(self, tracee: &mut Tracee) {
        loop {
            match soon("a call", tracee.next()).await.expect("an event") {
                Event::SyscallEnter(enter) if enter.call.name() == Some("getppid") => break,
                _ => {}
            }
        }
        if self == Place::SyscallExit {
            next!(*tracee, Event::SyscallExit(_));
        }
    }

    /// What the program does then, untraced: `Some(code)` if it ends by itself.
    async fn check(self, child: &mut Child) {
        let pid = child.id();
        match self {
            Place::GroupStop | Place::Listening | Place::InterruptedWhileListening => {
                until("it is stopped", || state(pid) == Some('T')).await;
                signal_process(pid, Signal::SIGCONT).expect("it lives");
                self.ends_with(child, 3).await;
            }
            Place::Fork | Place::Clone | Place::VforkDone => self.ends_with(child, 7).await,
            Place::UnaskedSignal => self.ends_with(child, 0).await,
            Place::Signal => {
                // Its signal was looked at, and suppressed.
                signal_process(pid, Signal::SIGUSR1).expect("it lives");
                self.ends_with(child, 0).await;
            }
            Place::SyscallEnter | Place::SyscallExit | Place::Busy | Place::Step => {
                self.is_alive(child).await;
            }
            _ => {
                until("it pauses", || state(pid) == Some('S')).await;
                self.is_alive(child).await;
            }
        }
    }

    async fn ends_with(self, child: &mut Child, code: i32) {
        let status = soon("its end", child.wait()).await.expect("status");
        assert_eq!(status.code(), Some(code), "{self:?}: {status}");
    }

    async fn is_alive(self, child: &mut Child) {
        assert_eq!(child.try_wait(), None, "{self:?}");
        soon("its end", child.kill()).await.expect("killed");
        let status = child.wait().await.expect("status");
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(libc::SIGKILL), "{self:?}: {status}");
    }
}

// Scenario 37
async fn from_each_state(tracer: Tracer) {
    for place in PLACES {
        let (mut tracee, mut child) = place.bring(&tracer).await;
        let pid = child.id();
        soon("detach", tracee.detach()).await.expect("detached");
        assert!(!is_traced(pid), "{place:?}");
        let events = to_the_end(&mut tracee).await;
        assert!(
            matches!(events[..], [Event::Detached]),
            "{place:?}: {events:?}"
        );
        place.check(&mut child).await;
    }
}

// Scenarios 37 and 48: a signal that the handle was dropped with is delivered.
async fn dropped_in_each_state(tracer: Tracer) {
    for place in PLACES {
        let (tracee, mut child) = place.bring(&tracer).await;
        let pid = child.id();
        drop(tracee);
        until("untraced", || !is_traced(pid)).await;
        if place == Place::Signal {
            place.ends_with(&mut child, 0).await;
        } else {
            place.check(&mut child).await;
        }
    }
}

// Scenario 37: that one, another one, one that kills.
async fn with_the_signal(tracer: Tracer) {
    for (given, signal, code) in [
        (Signal::SIGUSR1, None, Some(0)),
        (Signal::SIGTERM, Some(libc::SIGTERM), None),
        (Signal::SIGKILL, Some(libc::SIGKILL), None),
    ] {
        let (mut tracee, mut child) = Place::Signal.bring(&tracer).await;
        tracee.detach_with(given).await.expect("detached");
        let status = soon("its end", child.wait()).await.expect("status");
        let ended_by = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!((ended_by, status.code()), (signal, code));
    }
    // One that stops it.
    let (mut tracee, mut child) = Place::Signal.bring(&tracer).await;
    tracee.detach_with(Signal::SIGSTOP).await.expect("detached");
    until("it is stopped", || state(child.id()) == Some('T')).await;
    soon("its end", child.kill()).await.expect("killed");
}

// Scenario 37: a stop signal that was suppressed stops nobody afterwards.
async fn without_the_signal(tracer: Tracer) {
    let (mut tracee, mut child) = Place::Asleep.bring(&tracer).await;
    signal_process(tracee.tid(), Signal::SIGSTOP).expect("it lives");
    wait!(tracee, Event::Signal(_));
    tracee.detach().await.expect("detached");
    until("it pauses", || state(child.id()) == Some('S')).await;
    soon("its end", child.kill()).await.expect("killed");
}

/// Different for each round: a few turns of this task.
async fn some_turns(round: usize) {
    for _ in 0..round % 50 {
        tokio::task::yield_now().await;
    }
}

// Scenario 37: another stop wins the race, and what it would have delivered is delivered.
async fn while_signals_come(tracer: Tracer) {
    const SIGNALS: usize = 200;
    for round in 0..100 {
        let mut command = crew(&["raise-often", &SIGNALS.to_string()]);
        let (mut tracee, mut child) = start(&tracer, &mut command).await;
        let mut out = lines(&mut child);
        let watch = async {
            loop {
                let event = tracee.next().await;
                assert!(matches!(event, Some(Event::Signal(_))), "{event:?}");
            }
        };
        tokio::select! {
            biased;
            () = some_turns(round) => {}
            () = watch => {}
        }
        // A signal that was handed out is its holder's to deliver.
        match tracee.cont_with(Signal::SIGUSR1).await {
            Ok(()) | Err(Error::Running(_) | Error::NotASignalStop { .. }) => {}
            other => panic!("{other:?}"),
        }
        soon("detach", tracee.detach()).await.expect("detached");
        assert_eq!(line(&mut out).await, "ready");
        assert_eq!(line(&mut out).await, format!("caught {SIGNALS}"));
        // However many it had had: it waits for this.
        drop(child.stdin.take());
        let status = soon("its end", child.wait()).await.expect("status");
        assert!(status.success());
    }
}

// Scenario 37: whether the stop comes before or after, it is stopped.
async fn while_a_stop_comes(tracer: Tracer) {
    for round in 0..150 {
        let (mut tracee, mut child) = Place::Asleep.bring(&tracer).await;
        let pid = child.id();
        if round % 3 == 0 {
            // Somebody watches, or nobody.
            assert!(futures::poll!(tracee.next()).is_pending());
        }
        let stop = async {
            some_turns(round).await;
            signal_process(pid, Signal::SIGSTOP).expect("it lives");
        };
        let (detached, ()) = futures::join!(soon("detach", tracee.detach()), stop);
        detached.expect("detached");
        drop(tracee);
        until("it is stopped", || state(pid) == Some('T')).await;
        assert!(!is_traced(pid));
        signal_process(pid, Signal::SIGCONT).expect("it lives");
        until("it goes on", || state(pid) == Some('S')).await;
        soon("its end", child.kill()).await.expect("killed");
    }
}

/// A vfork parent that cannot stop now, its child, which is held.
async fn vforked(tracer: &Tracer) -> (Tracee, Tracee, Child) {
    let (mut parent, child) = start(tracer, &mut puppet!("vfork")).await;
    let birth = next!(parent, Event::Vfork(birth) => birth);
    let mut born = parent.take_child(&birth).expect("the child");
    next!(born, Event::Started(_));
    parent.cont().await.expect("cont");
    until("it waits", || state(parent.tid()) == Some('D')).await;
    (parent, born, child)
}

// Scenario 37: it is let go when it can stop; nobody else waits for that.
async fn a_vfork_parent(tracer: Tracer) {
    let (mut parent, mut born, mut child) = vforked(&tracer).await;
    let mut detach = Box::pin(parent.detach());
    assert!(futures::poll!(&mut detach).is_pending());
    // Others come and go.
    let (mut other, _other) = start(&tracer, &mut puppet!("exit", 0)).await;
    to_the_end(&mut other).await;
    assert!(futures::poll!(&mut detach).is_pending());
    let (events, detached) = futures::join!(to_the_end(&mut born), soon("detach", &mut detach));
    assert!(matches!(events[..], [Event::Exited(exited)] if exited.code == 7));
    detached.expect("detached");
    drop(detach);
    assert!(matches!(parent.next().await, Some(Event::Detached)));
    let status = soon("its end", child.wait()).await.expect("status");
    assert_eq!(status.code(), Some(7));
}

// Scenarios 37 and 48
async fn a_vfork_parent_that_is_dropped(tracer: Tracer) {
    let (parent, mut born, mut child) = vforked(&tracer).await;
    drop(parent);
    born.getregs().await.expect("it is held");
    soon("detach", born.detach()).await.expect("detached");
    until("untraced", || !is_traced(child.id())).await;
    let status = soon("its end", child.wait()).await.expect("status");
    assert_eq!(status.code(), Some(7));
}

// Scenarios 19 and 37: the status is awaited by somebody else.
async fn from_the_exit_stop(tracer: Tracer) {
    for dropped in [false, true] {
        let mut command = puppet!("exit", 5);
        let (mut tracee, mut child) = start(&tracer, command.exit_stops(true)).await;
        next!(tracee, Event::Exiting(_));
        if !dropped {
            soon("detach", tracee.detach()).await.expect("detached");
            assert!(matches!(tracee.next().await, Some(Event::Detached)));
        }
        drop(tracee);
        let status = soon("its end", child.wait()).await.expect("status");
        assert_eq!(status.code(), Some(5));
    }
}

// Scenarios 37 and 41: a running tracee is interrupted for it, and does not notice.
async fn a_blocked_call_goes_on(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut crew(&["nap", "200"])).await;
    let mut out = lines(&mut child);
    tracee.cont().await.expect("cont");
    assert_eq!(line(&mut out).await, "ready");
    until("it naps", || state(tracee.tid()) == Some('S')).await;
    soon("detach", tracee.detach()).await.expect("detached");
    let said = line(&mut out).await;
    assert!(said.starts_with("slept 0 "), "{said}");
    drop(child.stdin.take());
    assert!(
        soon("its end", child.wait())
            .await
            .expect("status")
            .success()
    );
}

async fn twice(tracer: Tracer) {
    let (mut tracee, mut child) = Place::Asleep.bring(&tracer).await;
    soon("detach", tracee.detach()).await.expect("detached");
    let again = soon("detach", tracee.detach()).await;
    assert!(matches!(again, Err(Error::Detached(_))), "{again:?}");
    let (mut tracee, mut other) = Place::Busy.bring(&tracer).await;
    // The first was begun, and is not awaited.
    assert!(futures::poll!(Box::pin(tracee.detach())).is_pending() || !is_traced(other.id()));
    match soon("detach", tracee.detach()).await {
        Ok(()) | Err(Error::Detached(_)) => {}
        other => panic!("{other:?}"),
    }
    for child in [&mut child, &mut other] {
        soon("its end", child.kill()).await.expect("killed");
    }
}

// Scenarios 9 and 37: it is as it was before.
async fn and_attached_again(tracer: Tracer) {
    let (mut tracee, mut child) = Place::Asleep.bring(&tracer).await;
    for round in 0..20 {
        soon("detach", tracee.detach()).await.expect("detached");
        assert!(matches!(tracee.next().await, Some(Event::Detached)));
        let attach = tracer.attach(child.id()).own_child(true);
        let process = soon("attach", attach).await.expect("attached");
        let mut threads = process.into_threads();
        tracee = threads.pop().expect("the leader");
        assert!(threads.is_empty());
        if round % 2 == 0 {
            tracee.control().interrupt().await.expect("it lives");
            wait!(tracee, Event::Interrupted);
        }
    }
    soon("detach", tracee.detach()).await.expect("detached");
    soon("its end", child.kill()).await.expect("killed");
}

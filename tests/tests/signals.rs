//! A signal can be looked at, delivered, suppressed, replaced and rewritten before the
//! tracee gets it.

use futures::StreamExt;
use tokio::io::{BufReader, Lines};
use tokio::process::ChildStdout;
use tracehound::event::SignalStop;
use tracehound::{Child, Error, Event, ResumeMode, SigInfo, Signal, Tid, Tracee, Tracer};
use tracehound_sys::{signal_process, signal_thread};
use tracehound_tests::{
    end, in_each_place, line, lines, next, puppet, soon, start, state, until, wait,
};

in_each_place! {
    siginfo_tells_who_sent_it, delivered_by_asking_on, delivered_by_name, suppressed, replaced,
    delivered_in_every_way, rewritten, queued_with_values, blocked_is_not_reported,
    only_there_a_signal_is_given, no_such_signal, refused_signals_change_nothing,
    sent_trap_is_a_signal, breakpoint_is_a_signal, breakpoint_under_step, sent_trap_under_step,
    detached_with_and_without, the_real_parent_is_told, pending_while_held,
}

const USR1: Signal = Signal::SIGUSR1;
const USR2: Signal = Signal::SIGUSR2;

type Out = Lines<BufReader<ChildStdout>>;

/// A puppet that catches USR1, USR2 and TERM, and ends at the last; it runs.
async fn catcher(tracer: &Tracer) -> (Tracee, Child, Out) {
    let mut command = puppet!("catch", libc::SIGUSR1, libc::SIGUSR2, libc::SIGTERM);
    let (mut tracee, mut child) = start(tracer, &mut command).await;
    let mut out = lines(&mut child);
    tracee.cont().await.expect("cont");
    assert_eq!(line(&mut out).await, "ready");
    (tracee, child, out)
}

/// Sends a signal and waits for the stop that it makes; the tracee runs.
async fn send(tracee: &mut Tracee, signal: Signal) -> SignalStop {
    signal_process(tracee.tid(), signal).expect("it lives");
    let stop = wait!(*tracee, Event::Signal(stop) => stop);
    assert_eq!(stop.signal, signal);
    stop
}

/// What the puppet says of a signal that kill(2) sent.
async fn caught(out: &mut Out, signal: Signal) {
    let said = format!("caught {} code 0 value 0", signal.as_raw());
    assert_eq!(line(out).await, said);
}

/// Ends the catcher.
async fn finish(tracee: &mut Tracee, out: &mut Out) {
    send(tracee, Signal::SIGTERM).await;
    let end = end(tracee).await;
    assert!(
        matches!(end, Event::Exited(exited) if exited.code == 0),
        "{end:?}"
    );
    caught(out, Signal::SIGTERM).await;
}

// Scenario 26
async fn siginfo_tells_who_sent_it(tracer: Tracer) {
    let (mut tracee, _child, mut out) = catcher(&tracer).await;
    let info = send(&mut tracee, USR1).await.info;
    assert_eq!(info.signal(), USR1);
    assert_eq!(info.code(), libc::SI_USER);
    assert!(info.is_from_user());
    assert_eq!(info.sender(), Some(Tid::current_process()));
    assert_eq!(info.uid(), Some(nix::unistd::getuid().as_raw()));
    assert_eq!(tracee.getsiginfo().await.expect("siginfo"), info);
    tracee.cont().await.expect("cont");
    signal_thread(tracee.tgid(), tracee.tid(), USR2).expect("it lives");
    let info = wait!(tracee, Event::Signal(stop) => stop.info);
    assert_eq!(info.code(), libc::SI_TKILL);
    tracee.cont().await.expect("cont");
    finish(&mut tracee, &mut out).await;
}

// Scenario 26, contract 2: asking for the next event delivers the signal.
async fn delivered_by_asking_on(tracer: Tracer) {
    let (mut tracee, _child, mut out) = catcher(&tracer).await;
    send(&mut tracee, USR1).await;
    {
        let mut next = tracee.next();
        assert!(futures::poll!(&mut next).is_pending());
        caught(&mut out, USR1).await;
    }
    finish(&mut tracee, &mut out).await;
}

// Scenario 26
async fn delivered_by_name(tracer: Tracer) {
    let (mut tracee, _child, mut out) = catcher(&tracer).await;
    send(&mut tracee, USR1).await;
    tracee.cont_with(USR1).await.expect("cont");
    caught(&mut out, USR1).await;
    finish(&mut tracee, &mut out).await;
}

// Scenario 26
async fn suppressed(tracer: Tracer) {
    let (mut tracee, _child, mut out) = catcher(&tracer).await;
    send(&mut tracee, USR1).await;
    tracee.cont().await.expect("cont");
    // Nothing is said before the end is.
    finish(&mut tracee, &mut out).await;
}

// Scenario 26
async fn replaced(tracer: Tracer) {
    let (mut tracee, _child, mut out) = catcher(&tracer).await;
    send(&mut tracee, USR1).await;
    tracee.cont_with(USR2).await.expect("cont");
    let said = line(&mut out).await;
    assert!(
        said.starts_with(&format!("caught {}", USR2.as_raw())),
        "{said}"
    );
    finish(&mut tracee, &mut out).await;
}

// Scenarios 26 and 42: with a syscall-stop or a step to follow, too.
async fn delivered_in_every_way(tracer: Tracer) {
    let (mut tracee, _child, mut out) = catcher(&tracer).await;
    send(&mut tracee, USR1).await;
    tracee.syscall_with(USR1).await.expect("syscall");
    // The handler returns by a call; so does its sigsuspend.
    wait!(tracee, Event::SyscallEnter(enter) if enter.call.name() == Some("rt_sigreturn"));
    tracee.cont().await.expect("cont");
    caught(&mut out, USR1).await;
    send(&mut tracee, USR2).await;
    tracee.step_with(USR2).await.expect("step");
    wait!(tracee, Event::Step);
    tracee.cont().await.expect("cont");
    caught(&mut out, USR2).await;
    finish(&mut tracee, &mut out).await;
}

// Scenario 26: the handler gets what the tracer wrote.
async fn rewritten(tracer: Tracer) {
    let (mut tracee, _child, mut out) = catcher(&tracer).await;
    let info = send(&mut tracee, USR1).await.info;
    let mut bytes = *info.as_bytes();
    bytes[8..12].copy_from_slice(&libc::SI_QUEUE.to_ne_bytes());
    bytes[24..32].copy_from_slice(&4711_u64.to_ne_bytes());
    let info = SigInfo::from_bytes(bytes);
    tracee.setsiginfo(&info).await.expect("setsiginfo");
    assert_eq!(tracee.getsiginfo().await.expect("siginfo"), info);
    tracee.cont_with(USR1).await.expect("cont");
    let said = format!(
        "caught {} code {} value 4711",
        USR1.as_raw(),
        libc::SI_QUEUE
    );
    assert_eq!(line(&mut out).await, said);
    finish(&mut tracee, &mut out).await;
}

// Scenario 26: real-time signals queue, in order, with their values.
async fn queued_with_values(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("queue")).await;
    let mut out = lines(&mut child);
    let signal = Signal::from_raw(libc::SIGRTMIN() + 1);
    for value in [11, 22, 33] {
        let stop = next!(tracee, Event::Signal(stop) => stop);
        assert_eq!((stop.signal, stop.info.value()), (signal, Some(value)));
        assert_eq!(stop.info.code(), libc::SI_QUEUE);
    }
    let end = end(&mut tracee).await;
    assert!(
        matches!(end, Event::Exited(exited) if exited.code == 0),
        "{end:?}"
    );
    for value in [11, 22, 33] {
        let code = libc::SI_QUEUE;
        let said = format!("caught {} code {code} value {value}", signal.as_raw());
        assert_eq!(line(&mut out).await, said);
    }
}

// Scenario 26: not before it is unblocked, and then before anything else.
async fn blocked_is_not_reported(tracer: Tracer) {
    let mut command = puppet!("block", libc::SIGUSR1);
    command.resume_mode(ResumeMode::Syscall);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    let mut seen = Vec::new();
    while let Some(event) = soon("an event", tracee.next()).await {
        match event {
            Event::SyscallEnter(enter) if enter.call.name() == Some("getppid") => {
                seen.push(enter.call.args[0] as i32);
            }
            Event::Signal(stop) => seen.push(-stop.signal.as_raw()),
            _ => {}
        }
    }
    assert_eq!(seen, [1, -libc::SIGUSR1, 2]);
}

/// Whether a signal is refused in every way of giving one.
async fn refuses(tracee: &mut Tracee, signal: Signal, is: impl Fn(&Error) -> bool) {
    let results = [
        tracee.cont_with(signal).await,
        tracee.syscall_with(signal).await,
        tracee.step_with(signal).await,
        tracee.sysemu_with(signal).await,
        tracee.detach_with(signal).await,
    ];
    for result in results {
        let error = result.expect_err("refused");
        assert!(is(&error), "{error:?}");
    }
    // Nothing has happened to it.
    tracee.getregs().await.expect("it is held");
}

// Scenario 27
async fn only_there_a_signal_is_given(tracer: Tracer) {
    let is = |tid: Tid| move |error: &Error| matches!(error, Error::NotASignalStop { tid: t, signal } if *t == tid && *signal == USR1);
    let mut command = puppet!("raise", libc::SIGSTOP);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    let tid = tracee.tid();
    refuses(&mut tracee, USR1, is(tid)).await;
    tracee.step().await.expect("step");
    wait!(tracee, Event::Step);
    refuses(&mut tracee, USR1, is(tid)).await;
    tracee.syscall().await.expect("syscall");
    wait!(tracee, Event::SyscallEnter(_));
    refuses(&mut tracee, USR1, is(tid)).await;
    tracee.syscall().await.expect("syscall");
    wait!(tracee, Event::SyscallExit(_));
    refuses(&mut tracee, USR1, is(tid)).await;
    next!(tracee, Event::Signal(_));
    next!(tracee, Event::GroupStop(_));
    refuses(&mut tracee, USR1, is(tid)).await;
    // Go on all the same: the puppet then ends with 3.
    tracee.cont().await.expect("cont");
    assert!(matches!(end(&mut tracee).await, Event::Exited(exited) if exited.code == 3));
}

// Scenario 27
async fn no_such_signal(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("raise", libc::SIGUSR1)).await;
    next!(tracee, Event::Signal(_));
    for raw in [0, -1, 65, i32::MIN, i32::MAX] {
        let signal = Signal::from_raw(raw);
        let is = move |error: &Error| matches!(error, Error::NoSuchSignal(s) if *s == signal);
        refuses(&mut tracee, signal, is).await;
    }
    tracee.cont().await.expect("cont");
    assert!(matches!(end(&mut tracee).await, Event::Exited(exited) if exited.code == 3));
}

// Scenario 27: the signal of the stop is still there afterwards.
async fn refused_signals_change_nothing(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("raise", libc::SIGUSR1)).await;
    next!(tracee, Event::Signal(_));
    tracee
        .cont_with(Signal::from_raw(99))
        .await
        .expect_err("refused");
    let end = end(&mut tracee).await;
    assert!(
        matches!(end, Event::Killed(killed) if killed.signal == USR1),
        "{end:?}"
    );
}

// Scenario 29
async fn sent_trap_is_a_signal(tracer: Tracer) {
    for mode in [ResumeMode::Cont, ResumeMode::Syscall] {
        let mut command = puppet!("raise", libc::SIGTRAP);
        let (mut tracee, _child) = start(&tracer, command.resume_mode(mode)).await;
        let stop = loop {
            match soon("the signal", tracee.next()).await.expect("an event") {
                Event::Signal(stop) => break stop,
                Event::SyscallEnter(_) | Event::SyscallExit(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(stop.signal, Signal::SIGTRAP);
        assert_eq!(stop.info.code(), libc::SI_TKILL);
        let end = end(&mut tracee).await;
        let killed = matches!(end, Event::Killed(killed) if killed.signal == Signal::SIGTRAP);
        assert!(killed, "{end:?}");
    }
}

#[cfg(target_arch = "x86_64")]
const SI_KERNEL: i32 = 0x80;

// Scenario 29: an int3 is the program's own.
#[cfg(target_arch = "x86_64")]
async fn breakpoint_is_a_signal(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("breakpoint")).await;
    let mut out = lines(&mut child);
    let stop = next!(tracee, Event::Signal(stop) => stop);
    assert_eq!(
        (stop.signal, stop.info.code()),
        (Signal::SIGTRAP, SI_KERNEL)
    );
    assert!(matches!(end(&mut tracee).await, Event::Exited(exited) if exited.code == 0));
    let said = line(&mut out).await;
    assert!(
        said.starts_with(&format!("caught {} code 128", libc::SIGTRAP)),
        "{said}"
    );
}

// Scenarios 29 and 42: steps up to it, then the signal, then steps in its handler.
#[cfg(target_arch = "x86_64")]
async fn breakpoint_under_step(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("breakpoint")).await;
    to_a_mark(&mut tracee).await;
    tracee.set_resume_mode(ResumeMode::Step);
    let stop = loop {
        match soon("a step", tracee.next()).await {
            Some(Event::Step) => {}
            Some(Event::Signal(stop)) => break stop,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        (stop.signal, stop.info.code()),
        (Signal::SIGTRAP, SI_KERNEL)
    );
    next!(tracee, Event::Step);
    tracee.set_resume_mode(ResumeMode::Cont);
    assert!(matches!(end(&mut tracee).await, Event::Exited(exited) if exited.code == 0));
}

#[cfg(not(target_arch = "x86_64"))]
async fn breakpoint_is_a_signal(_: Tracer) {}
#[cfg(not(target_arch = "x86_64"))]
async fn breakpoint_under_step(_: Tracer) {}

async fn to_a_mark(tracee: &mut Tracee) {
    loop {
        tracee.syscall().await.expect("syscall");
        match soon("a call", tracee.wait()).await {
            Some(Event::SyscallEnter(enter)) if enter.call.name() == Some("getppid") => return,
            Some(Event::SyscallEnter(_) | Event::SyscallExit(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

// Scenario 29: a SIGTRAP from outside is no step.
async fn sent_trap_under_step(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    to_a_mark(&mut tracee).await;
    signal_process(tracee.tid(), Signal::SIGTRAP).expect("it lives");
    let stop = loop {
        tracee.step().await.expect("step");
        match soon("a stop", tracee.wait()).await {
            Some(Event::Step) => {}
            Some(Event::Signal(stop)) => break stop,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        (stop.signal, stop.info.code()),
        (Signal::SIGTRAP, libc::SI_USER)
    );
    assert_eq!(stop.info.sender(), Some(Tid::current_process()));
    tracee.cont().await.expect("cont");
    assert!(matches!(end(&mut tracee).await, Event::Exited(exited) if exited.code == 0));
}

// Scenarios 26 and 37
async fn detached_with_and_without(tracer: Tracer) {
    let (mut tracee, mut child, mut out) = catcher(&tracer).await;
    send(&mut tracee, USR1).await;
    tracee.detach_with(USR2).await.expect("detach");
    let said = line(&mut out).await;
    assert!(
        said.starts_with(&format!("caught {}", USR2.as_raw())),
        "{said}"
    );
    signal_process(child.id(), Signal::SIGTERM).expect("it lives");
    caught(&mut out, Signal::SIGTERM).await;
    assert!(
        soon("the end", child.wait())
            .await
            .expect("status")
            .success()
    );

    let (mut tracee, mut child, mut out) = catcher(&tracer).await;
    send(&mut tracee, USR1).await;
    tracee.detach().await.expect("detach");
    signal_process(child.id(), Signal::SIGTERM).expect("it lives");
    caught(&mut out, Signal::SIGTERM).await;
    assert!(
        soon("the end", child.wait())
            .await
            .expect("status")
            .success()
    );

    // A dropped handle delivers: nobody has asked to suppress.
    let (mut tracee, mut child, mut out) = catcher(&tracer).await;
    send(&mut tracee, USR1).await;
    drop(tracee);
    caught(&mut out, USR1).await;
    signal_process(child.id(), Signal::SIGTERM).expect("it lives");
    assert!(
        soon("the end", child.wait())
            .await
            .expect("status")
            .success()
    );
}

// Scenario 26: a signal that comes while it is held waits, and is then reported.
async fn pending_while_held(tracer: Tracer) {
    let (mut tracee, _child, mut out) = catcher(&tracer).await;
    send(&mut tracee, USR1).await;
    signal_process(tracee.tid(), USR2).expect("it lives");
    next!(tracee, Event::Signal(stop) if stop.signal == USR2);
    tracee.cont_with(USR2).await.expect("cont");
    let mut both = [line(&mut out).await, line(&mut out).await];
    both.sort();
    assert!(
        both[0].starts_with("caught 10") && both[1].starts_with("caught 12"),
        "{both:?}"
    );
    finish(&mut tracee, &mut out).await;
}

// Scenario 22: it gets its SIGCHLD and its waitpid result, as if nobody traced.
async fn the_real_parent_is_told(tracer: Tracer) {
    let mut parent = tokio::process::Command::new(env!("CARGO_BIN_EXE_puppet"));
    parent.arg("parent").stdout(std::process::Stdio::piped());
    let mut parent = parent.kill_on_drop(true).spawn().expect("spawn");
    let out = BufReader::new(parent.stdout.take().expect("piped"));
    let mut out = tokio::io::AsyncBufReadExt::lines(out);
    let pid: i32 = line(&mut out).await.parse().expect("a pid");
    let pid = Tid::from_raw(pid);
    until("the child pauses", || state(pid) == Some('S')).await;
    let process = soon("attach", tracer.attach(pid)).await.expect("attached");
    let [mut tracee] = <[Tracee; 1]>::try_from(process.into_threads()).expect("one thread");
    signal_process(pid, Signal::SIGTERM).expect("it lives");
    wait!(tracee, Event::Signal(stop) if stop.signal == Signal::SIGTERM);
    let end = end(&mut tracee).await;
    let killed = matches!(end, Event::Killed(killed) if killed.signal == Signal::SIGTERM);
    assert!(killed, "{end:?}");
    let said = format!("waited true status {} signals 1", libc::SIGTERM);
    assert_eq!(line(&mut out).await, said);
    assert!(
        soon("its end", parent.wait())
            .await
            .expect("status")
            .success()
    );
}

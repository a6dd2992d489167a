//! Questions on signals.

use tracehound::{Event, SigInfo, Signal, Stdio, Sysno, Tid, Tracer};
use tracehound_sys::{signal_process, signal_thread};
use tracehound_tests::{
    Ward, end, in_each_place, line, lines, new_tracer, next, puppet, soon, start, state,
};
use tracehound_tests::{until, wait};

use crate::{KEEPER, SLEEPER};

// Are ignored signals reported, too? Yes, by default or by choice: all but SIGKILL.
async fn ignored_signals_are_reported(tracer: Tracer) {
    let mut command = puppet!("say-and-pause");
    // SAFETY: signal is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGUSR1, libc::SIG_IGN);
            Ok(())
        });
    }
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    tracee.cont().await.expect("cont");
    line(&mut lines(&mut child)).await;
    for ignored in [
        Signal::SIGUSR1,
        Signal::SIGURG,
        Signal::SIGWINCH,
        Signal::SIGCHLD,
    ] {
        signal_process(tracee.tid(), ignored).expect("it lives");
        wait!(tracee, Event::Signal(stop) if stop.signal == ignored);
        tracee
            .cont_with(ignored)
            .await
            .expect("a signal-delivery-stop");
    }
    tracee.control().kill().expect("it lives");
    end(&mut tracee).await;
}

/// A catcher that is held with SIGUSR1, and a siginfo of that with a value.
async fn caught(tracer: &Tracer) -> (tracehound::Tracee, tracehound::Child, SigInfo) {
    let numbers = [libc::SIGUSR1, libc::SIGUSR2];
    let (mut tracee, child) = start(tracer, &mut puppet!("catch", numbers[0], numbers[1])).await;
    tracee.syscall().await.expect("syscall");
    while !matches!(soon("its mark", tracee.wait()).await, Some(Event::SyscallEnter(enter))
        if enter.call.nr == libc::SYS_getppid as u64)
    {
        tracee.syscall().await.expect("syscall");
    }
    signal_process(tracee.tid(), Signal::SIGUSR1).expect("it lives");
    tracee.cont().await.expect("cont");
    let info = wait!(tracee, Event::Signal(stop) => stop.info);
    let mut bytes = *info.as_bytes();
    bytes[8..12].copy_from_slice(&libc::SI_QUEUE.to_ne_bytes());
    bytes[24..32].copy_from_slice(&4711_u64.to_ne_bytes());
    (tracee, child, SigInfo::from_bytes(bytes))
}

// What if the signal given and the one in the siginfo differ, is that undefined? The one
// given wins, and its siginfo says that the tracer has sent it.
async fn the_signal_given_wins_over_its_siginfo(tracer: Tracer) {
    let (mut tracee, mut child, info) = caught(&tracer).await;
    let mut out = lines(&mut child);
    tracee.setsiginfo(&info).await.expect("setsiginfo");
    tracee.cont_with(Signal::SIGUSR2).await.expect("held");
    assert_eq!(line(&mut out).await, "ready");
    let said = format!("caught {} code {} value 0", libc::SIGUSR2, libc::SI_USER);
    assert_eq!(line(&mut out).await, said);
    end(&mut tracee).await;
}

// Does writing a siginfo fail where there is no signal? It succeeds, and nothing comes of it.
async fn a_siginfo_written_in_another_stop_has_no_effect(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    // Not in its execve.
    tracee.syscall().await.expect("syscall");
    wait!(tracee, Event::SyscallExit(_));
    tracee.syscall().await.expect("syscall");
    wait!(tracee, Event::SyscallEnter(_));
    let mut bytes = *tracee
        .getsiginfo()
        .await
        .expect("that of the stop")
        .as_bytes();
    // It would kill.
    bytes[..4].copy_from_slice(&libc::SIGUSR1.to_ne_bytes());
    let info = SigInfo::from_bytes(bytes);
    tracee.setsiginfo(&info).await.expect("no error");
    tracee.cont().await.expect("held");
    let end = end(&mut tracee).await;
    assert!(
        matches!(end, Event::Exited(exited) if exited.code == 0),
        "{end:?}"
    );
}

in_each_place!(
    ignored_signals_are_reported,
    the_signal_given_wins_over_its_siginfo,
    a_siginfo_written_in_another_stop_has_no_effect,
);

#[derive(Clone, Copy, PartialEq, Debug)]
enum How {
    Untraced,
    Suppressed,
    Interrupted,
}

/// Stops a program in this way that sleeps in a system call, and resumes it; gives its tracer.
async fn disturb(ward: &mut Ward, how: How) -> Option<(Tracer, tracehound::Process)> {
    let pid = ward.pid();
    if how == How::Untraced {
        signal_process(pid, Signal::SIGSTOP).expect("it lives");
        ward.expect("stopped 19").await;
        signal_process(pid, Signal::SIGCONT).expect("it lives");
        return None;
    }
    let tracer = new_tracer();
    let mut process = soon("attach", tracer.attach(pid)).await.expect("permitted");
    let tracee = process.thread(pid).expect("the leader");
    if how == How::Suppressed {
        signal_thread(pid, pid, Signal::SIGUSR1).expect("it lives");
        wait!(tracee, Event::Signal(_));
    } else {
        tracee.control().interrupt().await.expect("it runs");
        wait!(tracee, Event::Interrupted);
    }
    tracee.cont().await.expect("held");
    Some((tracer, process))
}

/// Whether it sleeps in one of these system calls, or in the rest of one.
fn sleeps_in(pid: Tid, calls: &[&str]) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = text.split(' ').next().and_then(|nr| nr.parse().ok());
    let call = number.and_then(Sysno::new);
    let is_one = |call: Sysno| call.name() == "restart_syscall" || calls.contains(&call.name());
    state(pid) == Some('S') && call.is_some_and(is_one)
}

// Scenario 28, 41. Does a suppressed signal, or an interrupt, end a system call? It is as with
// SIGSTOP and SIGCONT without a tracer: what can be restarted goes on, nanosleep included;
// those few calls fail with EINTR which every stop ends.
#[tokio::test]
async fn a_disturbed_call_ends_as_by_a_stop_without_a_tracer() {
    // C libraries and architectures differ in which they have.
    let naps = &["nanosleep", "clock_nanosleep"];
    let waits = &["epoll_wait", "epoll_pwait"];
    for how in [How::Untraced, How::Suppressed, How::Interrupted] {
        let mut ward = Ward::start([KEEPER, SLEEPER, "nap", "3600000"]).await;
        let pid = ward.pid();
        until("it sleeps", || sleeps_in(pid, naps)).await;
        let tracing = disturb(&mut ward, how).await;
        until("it sleeps on", || sleeps_in(pid, naps)).await;
        drop(tracing);

        let mut ward = Ward::start([KEEPER, SLEEPER, "epoll", "3600000"]).await;
        until("it sleeps", || sleeps_in(ward.pid(), waits)).await;
        let tracing = disturb(&mut ward, how).await;
        let said = match ward.line().await.as_str() {
            "continued" => ward.line().await,
            said => said.to_string(),
        };
        assert_eq!(said, "epoll failed: Interrupted system call (os error 4)");
        drop(tracing);
    }
}

// Can an exit be told from a killing signal's delivery? Such a signal stops one thread, and
// only when that is resumed with it all end.
#[tokio::test]
async fn a_killing_signal_stops_one_thread_first() {
    let tracer = new_tracer();
    let mut command = puppet!("waiting-threads", 3);
    let (mut tracee, mut child) = start(&tracer, command.stdout(Stdio::piped())).await;
    let mut threads = Vec::new();
    for _ in 0..3 {
        let birth = next!(tracee, Event::Clone(birth) => birth);
        let mut thread = tracee.take_child(&birth).expect("once");
        next!(thread, Event::Started(_));
        thread.cont().await.expect("held");
        threads.push(thread);
    }
    tracee.cont().await.expect("held");
    assert_eq!(line(&mut lines(&mut child)).await, "ready");
    signal_process(tracee.tid(), Signal::SIGTERM).expect("it lives");
    wait!(tracee, Event::Signal(stop) if stop.signal == Signal::SIGTERM);
    for thread in &threads {
        assert!(matches!(state(thread.tid()), Some('R' | 'S')));
    }
    for thread in std::iter::once(&mut tracee).chain(&mut threads) {
        // Asked on, the first delivers the signal.
        let end = end(thread).await;
        assert!(matches!(end, Event::Killed(killed) if killed.signal == Signal::SIGTERM));
    }
}

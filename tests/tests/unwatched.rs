//! What becomes of tracees with a filter that nobody watches: without a tracer their calls
//! would fail. Either they are killed, or their calls are made.

use std::future::Future;

use tokio::io::{AsyncWriteExt, Lines};
use tokio::process::ChildStdout;
use tracehound::{
    Child, Command, Error, Event, Follow, ResumeMode, Signal, Stdio, Sysno, Tid, Tracee, Tracer,
    Unwatched,
};
use tracehound_sys::signal_process;
use tracehound_tests::{
    end, in_each_place, is_traced, line, lines, next, next_event, puppet, run_host, soon, start,
    state, to_the_end, until, wait,
};

in_each_place! {
    dropped_and_killed, dropped_and_passed, dropped_in_a_signal_stop, dropped_in_a_group_stop,
    dropped_with_breakpoints, detach_is_refused, detached, detached_with_a_signal,
    untaken_children_are_killed, untaken_threads_are_killed, untaken_children_run_on,
    not_followed, only_threads_followed, execs_and_births_afterwards,
    an_exec_without_the_leader,
}

type Output = Lines<tokio::io::BufReader<ChildStdout>>;

/// A program that makes a call of the filter for each line that it gets.
fn caller(who: &str) -> Command {
    let mut command = puppet!("call-on-demand", who);
    command
        .stdin(Stdio::piped())
        .trace_syscalls([Sysno::getpgid]);
    command
}

/// Has it make some calls, which must not fail.
async fn calls_are_made(child: &mut Child, out: &mut Output) {
    for _ in 0..10 {
        let stdin = child.stdin.as_mut().expect("piped");
        stdin.write_all(b"\n").await.expect("it reads");
        assert_eq!(line(out).await, "made");
    }
}

/// Lets it come to its end, which must be a good one.
async fn ends_well(child: &mut Child) {
    let status = soon("its end", child.wait()).await.expect("status");
    assert!(status.success(), "{status}");
}

/// Waits until it reads its input.
async fn ready(out: &mut Output) {
    assert_eq!(line(out).await, "ready");
}

async fn is_killed(child: &mut Child) {
    // The end of its input would end it, too.
    let _stdin = child.stdin.take();
    let status = soon("its end", child.wait()).await.expect("status");
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(signal, Some(libc::SIGKILL), "{status}");
}

/// A tracee in its first stop, running, or in a stop of its filter.
async fn tracee_in(tracer: &Tracer, mut command: Command, place: &str) -> (Tracee, Child, Output) {
    let (mut tracee, mut child) = start(tracer, &mut command).await;
    let mut out = lines(&mut child);
    if place != "first stop" {
        tracee.cont().await.expect("it is held");
        ready(&mut out).await;
    }
    if place == "filter" {
        let stdin = child.stdin.as_mut().expect("piped");
        stdin.write_all(b"\n").await.expect("it reads");
        wait!(tracee, Event::Seccomp(_));
    }
    (tracee, child, out)
}

const PLACES: [&str; 3] = ["first stop", "running", "filter"];

async fn dropped_and_killed(tracer: Tracer) {
    for place in PLACES {
        for exit_stops in [false, true] {
            let mut command = caller("self");
            command.exit_stops(exit_stops);
            let (tracee, mut child, _out) = tracee_in(&tracer, command, place).await;
            drop(tracee);
            is_killed(&mut child).await;
        }
    }
}

async fn dropped_and_passed(tracer: Tracer) {
    for place in PLACES {
        for mode in [ResumeMode::Cont, ResumeMode::Syscall] {
            let mut command = caller("self");
            command
                .unwatched(Unwatched::Pass)
                .resume_mode(mode)
                .exit_stops(true);
            let (tracee, mut child, mut out) = tracee_in(&tracer, command, place).await;
            drop(tracee);
            match place {
                "first stop" => ready(&mut out).await,
                "filter" => assert_eq!(line(&mut out).await, "made"),
                _ => {}
            }
            calls_are_made(&mut child, &mut out).await;
            ends_well(&mut child).await;
        }
    }
}

// The signal that it was held in takes effect.
async fn dropped_in_a_signal_stop(tracer: Tracer) {
    let mut command = caller("self");
    command.unwatched(Unwatched::Pass);
    let (mut tracee, mut child, _out) = tracee_in(&tracer, command, "running").await;
    signal_process(child.id(), Signal::SIGTERM).expect("it lives");
    wait!(tracee, Event::Signal(_));
    drop(tracee);
    let status = soon("its end", child.wait()).await.expect("status");
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(signal, Some(libc::SIGTERM));
}

// Scenario 37: what is stopped stays stopped; SIGCONT continues it.
async fn dropped_in_a_group_stop(tracer: Tracer) {
    for listening in [false, true] {
        let mut command = caller("self");
        command.unwatched(Unwatched::Pass);
        let (mut tracee, mut child, mut out) = tracee_in(&tracer, command, "running").await;
        let pid = child.id();
        signal_process(pid, Signal::SIGSTOP).expect("it lives");
        wait!(tracee, Event::Signal(_));
        next!(tracee, Event::GroupStop(_));
        if listening {
            tracee.listen().await.expect("a group-stop");
        }
        drop(tracee);
        signal_process(pid, Signal::SIGCONT).expect("it lives");
        calls_are_made(&mut child, &mut out).await;
        // And once more, unseen.
        signal_process(pid, Signal::SIGSTOP).expect("it lives");
        until("it is stopped", || matches!(state(pid), Some('t' | 'T'))).await;
        signal_process(pid, Signal::SIGCONT).expect("it lives");
        calls_are_made(&mut child, &mut out).await;
        ends_well(&mut child).await;
    }
}

async fn dropped_with_breakpoints(tracer: Tracer) {
    use tracehound::requests::HardwareBreakpoint;
    let mut command = caller("self");
    command.unwatched(Unwatched::Pass);
    let (mut tracee, mut child, mut out) = tracee_in(&tracer, command, "filter").await;
    let regs = tracee.getregs().await.expect("it is held");
    let address = regs.instruction_pointer();
    let breakpoint = HardwareBreakpoint::execute(address);
    let set = tracee.set_hardware_breakpoint(&breakpoint).await;
    if tracehound_tests::if_there_is(set).is_some() {
        tracee.step().await.expect("it is held");
    }
    drop(tracee);
    assert_eq!(line(&mut out).await, "made");
    calls_are_made(&mut child, &mut out).await;
    ends_well(&mut child).await;
}

async fn detach_is_refused(tracer: Tracer) {
    for place in PLACES {
        let (mut tracee, mut child, mut out) = tracee_in(&tracer, caller("self"), place).await;
        let error = tracee.detach().await.expect_err("it has a filter");
        assert!(
            matches!(error, Error::Filtered(tid) if tid == tracee.tid()),
            "{error}"
        );
        // As it was.
        match place {
            "first stop" => {
                tracee.cont().await.expect("it is held");
                ready(&mut out).await;
            }
            "filter" => {
                tracee.cont().await.expect("it is held");
                assert_eq!(line(&mut out).await, "made");
            }
            _ => {}
        }
        drop(child.stdin.take());
        wait!(tracee, Event::Exited(exited) if exited.code == 0);
        ends_well(&mut child).await;
    }
}

async fn detached(tracer: Tracer) {
    for place in PLACES {
        let mut command = caller("self");
        command.unwatched(Unwatched::Pass);
        let (mut tracee, mut child, mut out) = tracee_in(&tracer, command, place).await;
        soon("detach", tracee.detach()).await.expect("detach");
        let error = tracee.cont().await.expect_err("it is detached");
        assert!(matches!(error, Error::Detached(_)), "{error}");
        let events = to_the_end(&mut tracee).await;
        assert!(matches!(events[..], [Event::Detached]), "{events:?}");
        match place {
            "first stop" => ready(&mut out).await,
            "filter" => assert_eq!(line(&mut out).await, "made"),
            _ => {}
        }
        assert!(is_traced(child.id()));
        calls_are_made(&mut child, &mut out).await;
        ends_well(&mut child).await;
    }
}

async fn detached_with_a_signal(tracer: Tracer) {
    for given in [None, Some(Signal::SIGUSR1)] {
        let mut command = caller("self");
        command.unwatched(Unwatched::Pass);
        let (mut tracee, mut child, mut out) = tracee_in(&tracer, command, "running").await;
        signal_process(child.id(), Signal::SIGTERM).expect("it lives");
        wait!(tracee, Event::Signal(_));
        match given {
            Some(signal) => soon("detach", tracee.detach_with(signal)).await,
            None => soon("detach", tracee.detach()).await,
        }
        .expect("detach");
        if let Some(given) = given {
            let status = soon("its end", child.wait()).await.expect("status");
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            assert_eq!(signal, Some(given.as_raw()));
        } else {
            calls_are_made(&mut child, &mut out).await;
            ends_well(&mut child).await;
        }
    }
}

// Contract 4: the parent, which is watched, sees its child's end.
async fn untaken_children_are_killed(tracer: Tracer) {
    for how in ["fork", "vfork", "clone", "clone3"] {
        let mut command = puppet!(how);
        command.trace_syscalls([Sysno::getppid]);
        let (mut tracee, _child) = start(&tracer, &mut command).await;
        let end = end(&mut tracee).await;
        assert!(
            matches!(end, Event::Exited(e) if e.code == 128 + 9),
            "{how}: {end:?}"
        );
    }
}

// A thread is not killed without its process.
async fn untaken_threads_are_killed(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut caller("thread")).await;
    next!(tracee, Event::Clone(_));
    let end = end(&mut tracee).await;
    assert!(
        matches!(end, Event::Killed(k) if k.signal == Signal::SIGKILL),
        "{end:?}"
    );
    is_killed(&mut child).await;
}

/// Follows a tracee until something else is ready; its children are not taken.
async fn while_watched<T>(tracee: &mut Tracee, event: impl Future<Output = T>) -> T {
    let mut event = std::pin::pin!(event);
    loop {
        tokio::select! {
            output = &mut event => return output,
            event = next_event(tracee) => assert!(!event.is_terminal(), "{event:?}"),
        }
    }
}

async fn untaken_children_run_on(tracer: Tracer) {
    for who in ["child", "grandchild", "thread"] {
        let mut command = caller(who);
        command.unwatched(Unwatched::Pass);
        let (mut tracee, mut child) = start(&tracer, &mut command).await;
        let mut out = lines(&mut child);
        while_watched(&mut tracee, async {
            ready(&mut out).await;
            calls_are_made(&mut child, &mut out).await;
            drop(child.stdin.take());
        })
        .await;
        let end = end(&mut tracee).await;
        assert!(
            matches!(end, Event::Exited(e) if e.code == 0),
            "{who}: {end:?}"
        );
    }
}

// Whatever becomes of the unwatched: these were never to be watched.
async fn not_followed(tracer: Tracer) {
    for who in ["child", "grandchild", "thread"] {
        for mode in [ResumeMode::Cont, ResumeMode::Syscall] {
            let mut command = caller(who);
            command.follow(Follow::Nothing).resume_mode(mode);
            let (mut tracee, mut child) = start(&tracer, &mut command).await;
            let mut out = lines(&mut child);
            let watch = async {
                let mut entered = None;
                for event in to_the_end(&mut tracee).await {
                    match event {
                        Event::SyscallEnter(enter) => entered = Some(enter.call),
                        // The event of the birth has not come between.
                        Event::SyscallExit(exit) => assert_eq!(exit.call, entered.take()),
                        Event::Signal(_) => {}
                        Event::Exited(exited) => assert_eq!(exited.code, 0),
                        other => panic!("{other:?}"),
                    }
                }
            };
            let drive = async {
                ready(&mut out).await;
                calls_are_made(&mut child, &mut out).await;
                drop(child.stdin.take());
            };
            futures::join!(watch, drive);
        }
    }
}

async fn only_threads_followed(tracer: Tracer) {
    let mut command = caller("thread");
    command.follow(Follow::Threads);
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    let mut out = lines(&mut child);
    let birth = next!(tracee, Event::Clone(birth) => birth);
    let mut thread = tracee.take_child(&birth).expect("a thread");
    tracee.cont().await.expect("it is held");
    next!(thread, Event::Started(_));
    thread.cont().await.expect("it is held");
    ready(&mut out).await;
    child
        .stdin
        .as_mut()
        .expect("piped")
        .write_all(b"\n")
        .await
        .expect("it reads");
    wait!(thread, Event::Seccomp(_));
    thread.cont().await.expect("it is held");
    assert_eq!(line(&mut out).await, "made");
    drop(child.stdin.take());
    wait!(thread, Event::Exited(_));
    wait!(tracee, Event::Exited(exited) if exited.code == 0);
    for how in ["fork", "vfork", "clone", "clone3"] {
        let mut command = puppet!(how);
        command
            .trace_syscalls([Sysno::getppid])
            .follow(Follow::Threads);
        let (mut tracee, _child) = start(&tracer, &mut command).await;
        let events = to_the_end(&mut tracee).await;
        let [.., Event::Exited(exited)] = &events[..] else {
            panic!("{how}: {events:?}");
        };
        assert_eq!(exited.code, 7, "{how}: {events:?}");
        let is_birth = |event: &Event| event.birth().is_some();
        assert!(!events.iter().any(is_birth), "{how}: {events:?}");
    }
}

// A tracee that was let go does all that a program can do.
async fn execs_and_births_afterwards(tracer: Tracer) {
    let program = env!("CARGO_BIN_EXE_puppet");
    let exit = [program, "exit", "5"];
    let ways: [(&[&str], i32); 11] = [
        (&["fork"], 7),
        (&["vfork"], 7),
        (&["clone"], 7),
        (&["clone3"], 7),
        (&["posix-spawn", exit[0], exit[1], exit[2]], 5),
        (&["forks", "50"], 0),
        (&["threads", "50"], 0),
        (&["exec", exit[0], exit[1], exit[2]], 5),
        (&["exec-with-threads", exit[0], exit[1], exit[2]], 5),
        (&["exec-from-thread", exit[0], exit[1], exit[2]], 5),
        (&["raise-between"], 0),
    ];
    for (args, code) in ways {
        let mut command = Command::new(program);
        command
            .args(args)
            .stdout(Stdio::null())
            .unwatched(Unwatched::Pass);
        command.trace_syscalls([Sysno::getppid, Sysno::execve, Sysno::wait4]);
        let (tracee, mut child) = start(&tracer, &mut command).await;
        drop(tracee);
        let status = soon("its end", child.wait()).await.expect("status");
        assert_eq!(status.code(), Some(code), "{args:?}: {status}");
    }
}

// Scenario 20: a leader that is dead already takes no part in it.
async fn an_exec_without_the_leader(tracer: Tracer) {
    let program = env!("CARGO_BIN_EXE_puppet");
    for leader_dies_first in [false, true] {
        let mut command = puppet!("exec-without-leader", program, "exit", 5);
        command
            .trace_syscalls([Sysno::execve])
            .unwatched(Unwatched::Pass);
        let (mut tracee, mut child) = start(&tracer, &mut command).await;
        let mut out = lines(&mut child);
        let pid = child.id();
        while_watched(&mut tracee, ready(&mut out)).await;
        let leader_dies = async || {
            signal_process(pid, Signal::SIGUSR2).expect("it lives");
            until("the leader is dead", || state(pid) == Some('Z')).await;
        };
        if leader_dies_first {
            leader_dies().await;
        }
        drop(tracee);
        if !leader_dies_first {
            leader_dies().await;
        }
        signal_process(pid, Signal::SIGUSR1).expect("it lives");
        let status = soon("its end", child.wait()).await.expect("status");
        assert_eq!(status.code(), Some(5), "{leader_dies_first}: {status}");
    }
}

const HOST: &str = env!("CARGO_BIN_EXE_host_filters");

// Scenario 49: a shutdown ends what may not be left alone, and its streams say so.
#[tokio::test]
async fn a_shutdown_kills() {
    run_host(HOST, ["kill"]).await;
}

// Scenario 49: or it leaves the thread behind, for as long as it is needed.
#[tokio::test]
async fn calls_are_made_after_a_shutdown() {
    run_host(HOST, ["pass"]).await;
}

// Scenario 49
#[tokio::test]
async fn calls_are_made_after_the_last_handle_was_dropped() {
    run_host(HOST, ["drop"]).await;
}

// Scenario 55
#[tokio::test]
async fn calls_are_made_after_the_end_of_the_runtime() {
    run_host(HOST, ["runtime"]).await;
}

// Scenario 24: the tracer's process dies, and all with the filter, whoever watched it.
#[tokio::test]
async fn they_die_with_the_tracer() {
    for way in ["watched", "passed", "shut-down", "exit"] {
        let mut host = tokio::process::Command::new(HOST);
        host.args(["die", way]).stdin(std::process::Stdio::piped());
        let mut host = host
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("spawn");
        let stdout = host.stdout.take().expect("piped");
        let mut out = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stdout));
        let mut pids = Vec::new();
        for _ in 0..2 {
            let pid: i32 = line(&mut out).await.parse().expect("a pid");
            pids.push(Tid::from_raw(pid));
        }
        assert!(pids.iter().all(|pid| is_traced(*pid)), "{way}");
        if way == "exit" {
            drop(host.stdin.take());
        } else {
            host.start_kill().expect("it lives");
        }
        soon("its end", host.wait()).await.expect("status");
        for pid in pids {
            let is_dead = || matches!(state(pid), None | Some('Z' | 'X'));
            until("it is dead", is_dead).await;
        }
    }
}

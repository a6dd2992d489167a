//! What becomes of tracees that are let go: detached, or killed.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::task::Poll;

use futures::{FutureExt, StreamExt};
use tracehound::{Child, Command, Error, Event, Follow, LetGo, ResumeMode, Signal, Stdio, Sysno};
use tracehound::{Tid, Tracee, Tracer, Unwatched};
use tracehound_sys::{proc, signal_process};
use tracehound_tests::{
    Ward, builder, end, is_traced, line, lines, new_tracer, next, own_threads, place, soon, start,
    state, until, wait,
};

const KEEPER: &str = env!("CARGO_BIN_EXE_keeper");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

fn sleeper(args: &[&str]) -> Command {
    let mut command = Command::new(SLEEPER);
    command.args(args).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

fn killer() -> Tracer {
    builder()
        .let_go(LetGo::Kill)
        .build()
        .expect("a tracer that kills")
}

const STATES: [&str; 17] = [
    "undelivered",
    "first stop",
    "running",
    "sleeping",
    "interrupting",
    "interrupted",
    "step",
    "syscall stop",
    "signal",
    "group stop",
    "listening",
    "exit stop",
    "fork",
    "clone",
    "vfork parent",
    "filtered",
    "passing filter",
];

async fn run_to(tracee: &mut Tracee, found: impl Fn(&Event) -> bool) {
    loop {
        let event = soon("a stop", tracee.next()).await.expect("it lives");
        if found(&event) {
            return;
        }
        let birth = event.birth();
        if let Some(mut child) = birth.and_then(|birth| tracee.take_child(birth)) {
            soon("detach", child.detach()).await.expect("it is new");
        }
    }
}

async fn ready(tracee: &mut Tracee, child: &mut Child) {
    let mut lines = lines(child);
    tracee.cont().await.expect("held");
    assert_eq!(line(&mut lines).await, "ready");
}

/// A tracee in this state.
async fn in_state(tracer: &Tracer, what: &str) -> (Tracee, Child) {
    let mut command = match what {
        "running" | "interrupting" => sleeper(&["spin"]),
        "exit stop" => sleeper(&["exit", "3"]),
        "fork" | "clone" => sleeper(&["births", "5"]),
        "vfork parent" => sleeper(&["vfork"]),
        _ => sleeper(&[]),
    };
    command.exit_stops(what == "exit stop");
    if what.contains("filter") {
        command.trace_syscalls([Sysno::getppid]);
    }
    if what == "passing filter" {
        command.unwatched(Unwatched::Pass);
    }
    if what == "undelivered" {
        let spawned = soon("spawn", tracer.spawn(place(&mut command))).await;
        return spawned.expect("spawn");
    }
    let (mut tracee, mut child) = start(tracer, &mut command).await;
    let control = tracee.control();
    match what {
        "first stop" => {}
        "step" => {
            tracee.step().await.expect("held");
            wait!(tracee, Event::Step);
        }
        "syscall stop" => {
            tracee.syscall().await.expect("held");
            wait!(tracee, Event::SyscallExit(_));
        }
        "exit stop" => run_to(&mut tracee, |e| matches!(e, Event::Exiting(_))).await,
        "fork" => run_to(&mut tracee, |e| matches!(e, Event::Fork(_))).await,
        "clone" => run_to(&mut tracee, |e| matches!(e, Event::Clone(_))).await,
        "vfork parent" => {
            let birth = next!(tracee, Event::Vfork(birth) => birth);
            tracee
                .take_child(&birth)
                .expect("new")
                .detach()
                .await
                .expect("new");
            tracee.cont().await.expect("held");
            until("asleep in vfork", || state(child.id()) == Some('D')).await;
        }
        _ => ready(&mut tracee, &mut child).await,
    }
    match what {
        "interrupting" => control.interrupt().await.expect("it lives"),
        "interrupted" => {
            control.interrupt().await.expect("it lives");
            wait!(tracee, Event::Interrupted);
        }
        "signal" | "group stop" | "listening" => {
            signal_process(tracee.tid(), Signal::SIGSTOP).expect("there");
            wait!(tracee, Event::Signal(_));
            if what != "signal" {
                next!(tracee, Event::GroupStop(_));
            }
            if what == "listening" {
                tracee.listen().await.expect("a group-stop");
            }
        }
        _ => {}
    }
    (tracee, child)
}

fn was_killed(status: ExitStatus, what: &str) {
    match what {
        // It was dead already, but for the last step.
        "exit stop" => assert!(
            status.code() == Some(3) || status.signal() == Some(libc::SIGKILL),
            "{status}"
        ),
        _ => assert_eq!(status.signal(), Some(libc::SIGKILL), "{what}: {status}"),
    }
}

/// It is dead and gone, and all its handles say so.
async fn is_killed((mut tracee, mut child, what): (Tracee, Child, &str)) {
    let pid = child.id();
    let status = soon(what, child.wait()).await.expect("a status");
    was_killed(status, what);
    until(what, || state(pid).is_none()).await;
    match end(&mut tracee).await {
        Event::Killed(killed) => assert_eq!(killed.signal, Signal::SIGKILL, "{what}"),
        Event::Exited(exited) if what == "exit stop" => assert_eq!(exited.code, 3),
        event => panic!("{what}: {event:?}"),
    }
    let error = tracee.getregs().await;
    assert!(matches!(error, Err(Error::Gone(_))), "{what}: {error:?}");
}

async fn crowd(tracer: &Tracer) -> Vec<(Tracee, Child, &'static str)> {
    let mut crowd = Vec::new();
    for what in STATES {
        let (tracee, child) = in_state(tracer, what).await;
        crowd.push((tracee, child, what));
    }
    crowd
}

// Scenario 48, 49: in whatever state they are.
#[tokio::test]
async fn a_shutdown_kills_if_asked_for() {
    for asked_then in [false, true] {
        let tracer = if asked_then { new_tracer() } else { killer() };
        let crowd = crowd(&tracer).await;
        let thread = proc::status(crowd[0].0.tid()).expect("held").tracer;
        assert!(own_threads().contains(&thread));
        let shutdown = async {
            match asked_then {
                true => tracer.shutdown_by(LetGo::Kill).await,
                false => tracer.shutdown().await,
            }
        };
        soon("shutdown", shutdown).await.expect("shutdown");
        assert!(!own_threads().contains(&thread), "the thread was joined");
        for (_, child, what) in &crowd {
            assert_eq!(state(child.id()), None, "{what}");
            was_killed(child.try_wait().expect("dead"), what);
        }
        for one in crowd {
            is_killed(one).await;
        }
    }
}

// The other way round.
#[tokio::test]
async fn a_shutdown_detaches_if_asked_for() {
    let tracer = killer();
    let (mut tracee, mut child) = start(&tracer, &mut sleeper(&[])).await;
    soon("shutdown", tracer.shutdown_by(LetGo::Detach))
        .await
        .expect("shutdown");
    wait!(tracee, Event::Detached);
    let pid = child.id();
    until("it runs on", || state(pid) == Some('S')).await;
    assert!(!is_traced(pid));
    soon("its end", child.kill()).await.expect("a status");
}

// Scenario 48: without waiting for anything.
#[tokio::test]
async fn the_last_handle_kills_if_asked_for() {
    let tracer = killer();
    let crowd = crowd(&tracer).await;
    drop(tracer);
    let (mut children, mut tracees) = (Vec::new(), Vec::new());
    for (tracee, child, what) in crowd {
        tracees.push(tracee);
        children.push((child, what));
    }
    let thread = proc::status(tracees[0].tid()).expect("held").tracer;
    drop(tracees);
    for (child, what) in &mut children {
        was_killed(soon(what, child.wait()).await.expect("a status"), what);
    }
    drop(children);
    until("the end of the thread", || !own_threads().contains(&thread)).await;
}

/// The real parent of an attached process sees this.
async fn dies(ward: &mut Ward) {
    loop {
        let line = ward.line().await;
        if !line.starts_with("stopped") {
            assert_eq!(line, "killed 9");
            return;
        }
    }
}

// Scenario 48, 49
#[tokio::test]
async fn attached_processes_are_killed_as_well() {
    for round in 0..12 {
        let mut ward = Ward::start([KEEPER, SLEEPER, "threads", "9"]).await;
        let pid = ward.pid();
        until("9 threads", || {
            proc::tasks(pid).is_ok_and(|tids| tids.len() == 9)
        })
        .await;
        let tracer = killer();
        let mut process = soon("attach", tracer.attach(pid)).await.expect("attached");
        match round % 4 {
            0 => {}
            1 => soon("stop", process.stop_all()).await.expect("stopped"),
            2 => {
                signal_process(pid, Signal::SIGSTOP).expect("there");
                let is_group = |(_, e): &(Tid, Event)| matches!(e, Event::GroupStop(_));
                while !is_group(&soon("a stop", process.next()).await.expect("it lives")) {}
            }
            _ => {
                let control = process.threads().last().expect("a thread").control();
                control.interrupt().await.expect("it lives");
            }
        }
        if round % 3 == 0 {
            drop(process);
        } else {
            soon("shutdown", tracer.shutdown()).await.expect("shutdown");
            assert!(matches!(state(pid), None | Some('Z')), "{round}");
            let events: Vec<_> = soon("the ends", process.collect()).await;
            let mut ends: Vec<Tid> = Vec::new();
            for (tid, event) in events.iter().filter(|(_, event)| event.is_terminal()) {
                assert!(matches!(event, Event::Killed(_)), "{tid}: {event:?}");
                assert!(!ends.contains(tid), "{tid} ended twice");
                ends.push(*tid);
            }
            assert_eq!(ends.len(), 9, "{events:?}");
        }
        dies(&mut ward).await;
    }
}

// What was not handed out yet is let go unharmed.
#[tokio::test]
async fn an_attach_that_is_dropped_harms_nobody() {
    let ward = Ward::start([KEEPER, SLEEPER, "threads", "9"]).await;
    let tasks = || proc::tasks(ward.pid()).expect("it lives");
    until("9 threads", || tasks().len() == 9).await;
    for round in 0..40 {
        let tracer = killer();
        let mut attach = tracer.attach(ward.pid());
        if round % 2 == 0 {
            attach = attach.resume_mode(ResumeMode::Syscall);
        }
        // Begun, and dropped when it is under way, or its answer is.
        let mut attach = attach.into_future();
        if let Poll::Ready(attached) = futures::poll!(&mut attach) {
            // It was handed out.
            let mut process = attached.expect("attached");
            soon("detach", process.detach()).await.expect("it lives");
        }
        for _ in 0..round / 4 {
            tokio::task::yield_now().await;
        }
        drop(attach);
        soon("shutdown", tracer.shutdown()).await.expect("shutdown");
        until("free threads", || {
            tasks().into_iter().all(|t| !is_traced(t))
        })
        .await;
    }
    assert_eq!(tasks().len(), 9);
}

// Scenario 48: one thread's handle stands for its process.
#[tokio::test]
async fn a_dropped_tracee_is_killed_if_asked_for() {
    let tracer = killer();
    for what in STATES {
        let (tracee, mut child) = in_state(&tracer, what).await;
        drop(tracee);
        was_killed(soon(what, child.wait()).await.expect("a status"), what);
    }
    let mut ward = Ward::start([KEEPER, SLEEPER, "threads", "5"]).await;
    let last = || proc::tasks(ward.pid()).expect("it lives").pop();
    until("threads", || last() != Some(ward.pid())).await;
    let tid = last().expect("a thread");
    drop(
        soon("attach", tracer.attach_thread(tid))
            .await
            .expect("attached"),
    );
    dies(&mut ward).await;
}

#[tokio::test]
async fn who_is_detached_by_name_lives() {
    let tracer = killer();
    for what in STATES {
        if what.contains("filter") || what == "vfork parent" || what == "exit stop" {
            continue;
        }
        let (mut tracee, mut child) = in_state(&tracer, what).await;
        soon(what, tracee.detach()).await.expect("it lives");
        drop(tracee);
        let pid = child.id();
        match what {
            // With the child that was not taken.
            "fork" | "clone" => {
                let status = soon(what, child.wait()).await.expect("a status");
                assert!(status.success(), "{what}: {status}");
            }
            _ => {
                assert!(!is_traced(pid));
                soon(what, tracer.attach(0)).await.expect_err("nobody");
                until(what, || matches!(state(pid), Some('R' | 'S' | 'T'))).await;
                soon(what, child.kill()).await.expect("a status");
            }
        }
    }
    let ward = Ward::start([KEEPER, SLEEPER, "births", "1000000"]).await;
    for _ in 0..20 {
        let attached = soon("attach", tracer.attach(ward.pid())).await;
        let mut process = attached.expect("attached");
        let _ = process.next().now_or_never();
        soon("detach", process.detach()).await.expect("it lives");
    }
    assert!(!matches!(state(ward.pid()), None | Some('Z')));
}

// A child that is not taken is let go; who is not to be followed is nobody's to kill.
#[tokio::test]
async fn untaken_children_are_killed_if_asked_for() {
    let tracer = killer();
    for (follow, dies) in [(Follow::Everything, true), (Follow::Threads, false)] {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "/bin/true; echo $?"]);
        command.stdout(Stdio::piped()).follow(follow);
        let (mut tracee, mut child) = start(&tracer, &mut command).await;
        let mut lines = lines(&mut child);
        while soon("an event", tracee.next()).await.is_some() {}
        assert_eq!(line(&mut lines).await, if dies { "137" } else { "0" });
        soon("its end", child.wait()).await.expect("a status");
    }
}

// Scenario 48: those that are just being born, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_escapes_while_being_born() {
    for round in 0..20 {
        let tracer = killer();
        let mut command = sleeper(&["bomb", "8", &std::process::id().to_string()]);
        let (begun, begin) = tokio::sync::oneshot::channel();
        let begun = std::sync::Mutex::new((Some(begun), 0));
        let traced = tracer.trace(place(&mut command), move |mut tracee| {
            let mut begun = begun.lock().expect("no panic");
            begun.1 += 1;
            if begun.1 == 1 + round * 8
                && let Some(begun) = begun.0.take()
            {
                let _ = begun.send(());
            }
            async move { while tracee.next().await.is_some() {} }
        });
        let traced = tokio::spawn(traced);
        soon("some of them", begin).await.expect("they are born");
        match round % 2 {
            0 => {
                soon("shutdown", tracer.shutdown()).await.expect("shutdown");
                let result = soon("the tree", traced).await.expect("no panic");
                assert!(matches!(result, Err(Error::Shutdown)), "{result:?}");
            }
            _ => {
                traced.abort();
                drop(traced.await);
                drop(tracer);
            }
        }
        until("nobody is left", || bombs().is_empty()).await;
    }
}

/// The processes of this test's bombs that are left.
fn bombs() -> Vec<i32> {
    let own = format!("\0bomb\08\0{}\0", std::process::id());
    let ours = |pid: &i32| {
        let args = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        args.ends_with(own.as_bytes())
    };
    let all = std::fs::read_dir("/proc").expect("/proc");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(ours).collect()
}

// Scenario 49: what is being launched and attached when the tracer ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_killed() {
    for _ in 0..20 {
        let tracer = killer();
        let spawns = tokio::spawn({
            let tracer = tracer.clone();
            async move {
                let mut all = Vec::new();
                loop {
                    let mut command = sleeper(&[]);
                    command.stop_before_exec(all.len() % 3 == 2);
                    match tracer.spawn(place(&mut command)).await {
                        Ok((tracee, child)) => all.push((tracee, child)),
                        Err(Error::Shutdown) => return all,
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
        });
        let (_held, _child) = start(&tracer, &mut sleeper(&[])).await;
        soon("shutdown", tracer.shutdown()).await.expect("shutdown");
        for (mut tracee, mut child) in soon("spawns", spawns).await.expect("no panic") {
            let status = soon("its end", child.wait()).await.expect("a status");
            was_killed(status, "spawned");
            assert!(matches!(end(&mut tracee).await, Event::Killed(_)));
        }
    }
}

// Each for itself, at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_tracers_let_go_each_in_its_way() {
    let one = |number: usize| async move {
        for _ in 0..10 {
            let kills = number.is_multiple_of(2);
            let tracer = if kills { killer() } else { new_tracer() };
            let (mut tracee, mut child) = start(&tracer, &mut sleeper(&[])).await;
            ready(&mut tracee, &mut child).await;
            if number < 4 {
                soon("shutdown", tracer.shutdown()).await.expect("shutdown");
                match soon("the end", tracee.wait()).await {
                    Some(Event::Killed(_)) => assert!(kills),
                    Some(Event::Detached) => assert!(!kills),
                    other => panic!("{other:?}"),
                }
            } else {
                drop((tracer, tracee));
            }
            if !kills {
                let pid = child.id();
                until("untraced", || !is_traced(pid)).await;
                until("it runs", || matches!(state(pid), Some('R' | 'S'))).await;
                child.start_kill();
            }
            was_killed(soon("its end", child.wait()).await.expect("a status"), "it");
        }
    };
    let all: Vec<_> = (0..8).map(|number| tokio::spawn(one(number))).collect();
    for one in all {
        soon("all", one).await.expect("no panic");
    }
}

// A panic lets go, too; its payload reaches whoever waits.
#[tokio::test]
async fn a_panic_kills_if_asked_for() {
    let tracer = killer();
    for _ in 0..20 {
        let (tracee, mut child) = start(&tracer, &mut sleeper(&[])).await;
        let task = tracee.spawn_pinned(|mut tracee| async move {
            tracee.syscall().await.expect("held");
            tracee.wait().await.expect("a stop");
            if true {
                panic!("it does that");
            }
        });
        let error = soon("the panic", task).await.expect_err("a panic");
        // It goes into what wants an error of any kind.
        let error: Box<dyn std::error::Error + Send + Sync> = error.into();
        assert_eq!(error.to_string(), "the task panicked: it does that");
        was_killed(soon("its end", child.wait()).await.expect("a status"), "it");
    }
}

// Scenarios 19, 49: the thread stays for those that it lets through their stops. One that could not
// stop, since its child has not called exec, is let go when it can.
#[tokio::test]
async fn one_that_cannot_stop_is_let_go_by_a_thread_that_stays() {
    let tracer = builder().threads(1).build().expect("a tracer");
    let (_passing, _other) = in_state(&tracer, "passing filter").await;
    let (tracee, child) = in_state(&tracer, "vfork parent").await;
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    let pid = child.id();
    assert!(is_traced(pid), "the kernel lets nobody go that sleeps so");
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("it lives");
    let vforked: i32 = children.trim().parse().expect("one child");
    signal_process(Tid::from_raw(vforked), Signal::SIGKILL).expect("it lives");
    until("it is free", || !is_traced(pid)).await;
    drop(tracee);
}

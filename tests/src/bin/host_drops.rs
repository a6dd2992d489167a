//! A host that drops whatever tracehound gives, at any moment, and then counts what is
//! left: processes, threads, descriptors.

use futures::StreamExt;
use tracehound::{Child, Command, Event, ResumeMode, Signal, Stdio, Tid, Tracee, Tracer};
use tracehound_sys::{proc, signal_process};
use tracehound_tests::{
    builder, is_traced, new_tracer, own_fds, own_threads, place, poll_and_drop, sibling, soon,
    state, until,
};

fn sleeper(args: &[&str]) -> Command {
    let mut command = Command::new(sibling("sleeper"));
    command.args(args).stdout(Stdio::null());
    command
}

/// The children of all threads of this process, zombies included.
fn own_children() -> Vec<String> {
    let tids = proc::tasks(Tid::current_process()).expect("/proc");
    let lists = tids
        .into_iter()
        .filter_map(|tid| std::fs::read_to_string(format!("/proc/self/task/{tid}/children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .map(str::to_string)
                .collect::<Vec<_>>()
        })
        .collect()
}

async fn no_children(what: &str) {
    until(what, || own_children().is_empty()).await;
}

/// What was asked for before this has been done.
async fn barrier(tracer: &Tracer) {
    let nobody = soon("an answer", tracer.attach(0)).await;
    nobody.expect_err("there is no such process");
}

/// A spawn dropped at every poll: the program never ran.
async fn spawns(tracer: &Tracer) {
    for round in 0..300 {
        let mut command = sleeper(&["pause"]);
        command.stop_before_exec(round % 7 == 0);
        let polls = round % 4;
        let spawned = poll_and_drop(tracer.spawn(place(&mut command)), polls).await;
        if let Some(spawned) = spawned {
            let (tracee, child) = spawned.expect("spawn");
            child.start_kill();
            drop((tracee, child));
        }
    }
    no_children("spawns that were dropped").await;
}

/// The stops in which a tracee is dropped.
const STOPS: [&str; 14] = [
    "undelivered",
    "first stop",
    "running",
    "enter",
    "exit",
    "step",
    "signal",
    "group",
    "listening",
    "interrupted",
    "clone",
    "fork",
    "exec",
    "exiting",
];

async fn run_to(tracee: &mut Tracee, found: impl Fn(&Event) -> bool) {
    loop {
        let event = soon("a stop", tracee.next()).await.expect("it lives");
        if found(&event) {
            return;
        }
    }
}

async fn spawn(tracer: &Tracer, command: &mut Command) -> (Tracee, Child) {
    let spawned = soon("spawn", tracer.spawn(place(command))).await;
    let (mut tracee, child) = spawned.expect("spawn");
    let event = soon("the first event", tracee.next()).await;
    assert!(matches!(event, Some(Event::Started(_))), "{event:?}");
    (tracee, child)
}

async fn in_stop(tracer: &Tracer, what: &str) -> (Tracee, Child) {
    let mut command = match what {
        "clone" | "fork" => sleeper(&["births", "3"]),
        "exec" => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", "exec /bin/true"]);
            shell
        }
        "exiting" => sleeper(&["exit", "0"]),
        _ => sleeper(&["pause"]),
    };
    command.exit_stops(what == "exiting");
    if what == "undelivered" {
        return soon("spawn", tracer.spawn(place(&mut command)))
            .await
            .expect("spawn");
    }
    let (mut tracee, child) = spawn(tracer, &mut command).await;
    let control = tracee.control();
    match what {
        "first stop" => {}
        "clone" => run_to(&mut tracee, |e| matches!(e, Event::Clone(_))).await,
        "fork" => run_to(&mut tracee, |e| matches!(e, Event::Fork(_))).await,
        "exec" => run_to(&mut tracee, |e| matches!(e, Event::Exec(_))).await,
        "exiting" => run_to(&mut tracee, |e| matches!(e, Event::Exiting(_))).await,
        "running" => tracee.cont().await.expect("held"),
        "step" => {
            tracee.step().await.expect("held");
            assert!(matches!(tracee.wait().await, Some(Event::Step)));
        }
        "enter" | "exit" => {
            tracee.set_resume_mode(ResumeMode::Syscall);
            let enter = |e: &Event| matches!(e, Event::SyscallEnter(_));
            let exit = |e: &Event| matches!(e, Event::SyscallExit(_));
            run_to(&mut tracee, enter).await;
            if what == "exit" {
                run_to(&mut tracee, exit).await;
            }
        }
        _ => {
            tracee.cont().await.expect("held");
            let pid = tracee.tid();
            match what {
                "interrupted" => {
                    control.interrupt().await.expect("it lives");
                    assert!(matches!(tracee.wait().await, Some(Event::Interrupted)));
                }
                "signal" => {
                    signal_process(pid, Signal::SIGUSR1).expect("there");
                    assert!(matches!(tracee.wait().await, Some(Event::Signal(_))));
                }
                _ => {
                    signal_process(pid, Signal::SIGSTOP).expect("there");
                    run_to(&mut tracee, |e| matches!(e, Event::GroupStop(_))).await;
                    if what == "listening" {
                        tracee.listen().await.expect("a group-stop");
                    }
                }
            }
        }
    }
    (tracee, child)
}

/// Tracees dropped in each kind of stop, with their child before, after or never.
async fn stops(tracer: &Tracer) {
    for round in 0..STOPS.len() * 12 {
        let what = STOPS[round % STOPS.len()];
        let (tracee, mut child) = in_stop(tracer, what).await;
        let pid = child.id();
        if (round / STOPS.len()).is_multiple_of(3) {
            // The process is awaited though nobody asks for it.
            drop(child);
            drop(tracee);
            barrier(tracer).await;
            until(what, || !is_traced(pid)).await;
            // An error: it has ended by itself.
            let _ = signal_process(pid, Signal::SIGKILL);
            until(what, || state(pid).is_none()).await;
            continue;
        }
        drop(tracee);
        barrier(tracer).await;
        until(what, || !is_traced(pid) && state(pid) != Some('t')).await;
        match what {
            "group" | "listening" => {
                until(what, || state(pid) == Some('T')).await;
                child.start_kill();
            }
            "signal" | "clone" | "fork" | "exec" | "exiting" => {}
            _ => {
                assert_ne!(state(pid), Some('T'), "{what}");
                child.start_kill();
            }
        }
        let status = soon(what, child.wait()).await.expect("a status");
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        match what {
            // It was held in it: it takes effect.
            "signal" => assert_eq!(signal, Some(libc::SIGUSR1)),
            "clone" | "fork" | "exec" | "exiting" => assert!(status.success(), "{what}: {status}"),
            _ => assert_eq!(signal, Some(libc::SIGKILL), "{what}"),
        }
    }
    no_children("tracees that were dropped").await;
}

/// Trees whose future is dropped: what they were to run runs on.
async fn trees(tracer: &Tracer) {
    for round in 0..100 {
        let mut command = sleeper(&["births", "10"]);
        command.kill_on_drop(round % 2 == 0);
        let traced = tracer.trace(place(&mut command), |mut tracee| async move {
            while tracee.next().await.is_some() {}
        });
        if round % 5 == 4 {
            let task = tokio::spawn(traced);
            barrier(tracer).await;
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            task.abort();
            // Whether it had ended before does not matter here.
            drop(task.await);
        } else {
            drop(poll_and_drop(traced, round % 5).await);
        }
    }
    no_children("trees that were dropped").await;
}

/// Attaches, and processes, that are dropped.
async fn attaches(tracer: &Tracer) {
    for round in 0..100 {
        let mut command = std::process::Command::new(sibling("sleeper"));
        command
            .args(["threads", "5"])
            .stdout(std::process::Stdio::null());
        let mut child = command.spawn().expect("it starts");
        let pid = Tid::from(child.id());
        until("its threads", || {
            proc::tasks(pid).is_ok_and(|tids| tids.len() == 5)
        })
        .await;
        let mut attach = tracer.attach(pid).own_child(true);
        if round % 2 == 0 {
            attach = attach.resume_mode(ResumeMode::Syscall);
        }
        let attached = poll_and_drop(attach.into_future(), round % 4).await;
        if let Some(attached) = attached {
            let mut process = attached.expect("attached");
            if round % 3 == 0 {
                let _ = poll_and_drop(process.next(), 1).await;
            }
            if round % 8 == 7 {
                drop(process.into_threads());
            }
        }
        barrier(tracer).await;
        until("a free process", || {
            let tids = proc::tasks(pid).expect("it lives");
            !tids
                .into_iter()
                .any(|tid| is_traced(tid) || state(tid) == Some('t'))
        })
        .await;
        child.kill().expect("it lives");
        child.wait().expect("it is ours");
    }
}

/// Children whose handle is dropped are killed, if that was asked for.
async fn kills(tracer: &Tracer) {
    for round in 0..60 {
        let mut command = sleeper(&["pause"]);
        command.kill_on_drop(true);
        let (mut tracee, child) = spawn(tracer, &mut command).await;
        match round % 3 {
            0 => {}
            1 => tracee.cont().await.expect("held"),
            _ => {
                soon("detach", tracee.detach()).await.expect("held");
                drop(child);
                continue;
            }
        }
        drop(child);
        let event = soon("the end", tracee.wait()).await;
        assert!(matches!(event, Some(Event::Killed(_))), "{event:?}");
    }
    no_children("children that were dropped").await;
}

/// Tracers dropped before and after what they gave.
async fn tracers() {
    for round in 0..60 {
        let tracer = builder().threads(1 + round % 3).build().expect("a tracer");
        if round % 4 == 0 {
            continue;
        }
        let (tracee, mut child) = spawn(&tracer, &mut sleeper(&["exit", "2"])).await;
        match round % 4 {
            1 => drop((tracer, tracee)),
            2 => drop((tracee, tracer)),
            _ => {
                drop(tracer);
                let task = tracee.spawn_pinned(|mut tracee| async move {
                    while tracee.next().await.is_some() {}
                });
                soon("a task", task)
                    .await
                    .expect("the tracer lives on with it");
            }
        }
        let status = soon("its end", child.wait()).await.expect("a status");
        assert_eq!(status.code(), Some(2));
    }
    no_children("children of dropped tracers").await;
}

async fn check(what: &str) {
    // tokio's own are there from now on.
    tokio::task::spawn_blocking(|| ()).await.expect("no panic");
    let before = (own_threads().len(), own_fds());
    let tracer = new_tracer();
    match what {
        "spawns" => spawns(&tracer).await,
        "stops" => stops(&tracer).await,
        "trees" => trees(&tracer).await,
        "attaches" => attaches(&tracer).await,
        "kills" => kills(&tracer).await,
        "tracers" => tracers().await,
        _ => panic!("{what}?"),
    }
    drop(tracer);
    let left = || (own_threads().len(), own_fds());
    until("as few threads and descriptors as before", || {
        left() == before
    })
    .await;
    assert_eq!(own_children(), Vec::<String>::new());
}

fn main() {
    let what = std::env::args().nth(1).expect("what");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_keep_alive(std::time::Duration::from_secs(3600))
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(check(&what));
}

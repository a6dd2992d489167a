//! Attaching to running processes.

use std::collections::{HashMap, HashSet};
use std::process::Stdio;

use futures::StreamExt;
use tracehound::{Error, Event, Follow, Refusal, ResumeMode, Signal, Tid, Tracer};
use tracehound_sys::{proc, signal_process};
use tracehound_tests::{Ward, is_traced, new_tracer, soon, state, tasks, until};

const KEEPER: &str = env!("CARGO_BIN_EXE_keeper");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

/// Times to sleep for, in milliseconds: the next one is for a machine that had no time in the one
/// before.
const NAPS: [&str; 4] = ["300", "1000", "8000", "40000"];

/// Whether it runs, and nobody traces it.
fn is_free(tid: Tid) -> bool {
    proc::status(tid).is_ok_and(|s| s.tracer.as_raw() == 0 && matches!(s.state, 'R' | 'S' | 'D'))
}

// Scenario 3
#[tokio::test]
async fn every_thread_is_attached_whatever_it_does() {
    let ward = Ward::start([KEEPER, SLEEPER, "threads", "13"]).await;
    until("13 threads", || tasks(ward.pid()).len() == 13).await;
    let tracer = new_tracer();
    for _ in 0..3 {
        let mut process = soon("attach", tracer.attach(ward.pid()))
            .await
            .expect("attached");
        let attached: HashSet<Tid> = process.threads().map(|thread| thread.tid()).collect();
        assert_eq!(attached, tasks(ward.pid()).into_iter().collect());
        assert!(attached.iter().all(|&tid| is_traced(tid)));
        assert!(process.threads().all(|thread| thread.tgid() == ward.pid()));
        // Left running, and attached again in the next turn.
        soon("detach", process.detach()).await.expect("detached");
        for tid in attached {
            until("a free thread", || is_free(tid)).await;
        }
        let ends: Vec<_> = soon("the ends", process.collect::<Vec<_>>()).await;
        assert_eq!(ends.len(), 13);
        assert!(ends.iter().all(|(_, e)| matches!(e, Event::Detached)));
    }
}

// Scenario 3
#[tokio::test]
async fn a_process_that_is_dropped_runs_on() {
    let ward = Ward::start([KEEPER, SLEEPER, "threads", "9"]).await;
    let tracer = new_tracer();
    let process = soon("attach", tracer.attach(ward.pid()))
        .await
        .expect("attached");
    drop(process);
    for tid in tasks(ward.pid()) {
        until("a free thread", || is_free(tid)).await;
    }
}

// Scenario 3: threads that are born join.
#[tokio::test]
async fn new_threads_join_the_stream_of_their_process() {
    let ward = Ward::start([KEEPER, SLEEPER, "births"]).await;
    let tracer = new_tracer();
    let mut process = soon("attach", tracer.attach(ward.pid()))
        .await
        .expect("attached");
    // One may have been there already. Ids come again: how often is counted.
    let leader = ward.pid();
    let mut ends = HashMap::new();
    for tid in process.threads().map(|thread| thread.tid()) {
        *ends.entry(tid).or_insert(0) += usize::from(tid != leader);
    }
    ends.remove(&leader);
    let (mut named, mut started) = (HashMap::new(), HashMap::new());
    let mut ended: HashMap<Tid, usize> = HashMap::new();
    let mut births = 0;
    while let Some((tid, event)) = soon("an event", process.next()).await {
        match event {
            Event::Clone(birth) => {
                assert_eq!(tid, leader);
                let thread = process.thread(birth.child).expect("it has joined");
                assert_eq!(thread.tgid(), leader);
                *named.entry(birth.child).or_insert(0) += 1;
                births += 1;
                if births == 300 {
                    signal_process(leader, Signal::SIGUSR1).expect("it lives");
                }
                *ends.entry(birth.child).or_insert(0) += 1;
            }
            // Not part of the process; untaken, it is let go.
            Event::Fork(birth) => assert!(process.thread(birth.child).is_err()),
            Event::Started(_) => *started.entry(tid).or_insert(0) += 1,
            Event::Exited(_) if tid != leader => *ended.entry(tid).or_insert(0) += 1,
            _ => {}
        }
    }
    assert!(births >= 300);
    assert_eq!(named, started);
    assert_eq!(ends, ended);
}

/// Checks that no thread of a process runs while its tracer thread does what it likes.
async fn stays_stopped(tracer: &Tracer, pid: Tid) {
    let times = || {
        let file = |tid| std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat"));
        let ran = |tid| file(tid).ok()?.split(' ').next()?.parse::<u64>().ok();
        tasks(pid).into_iter().map(ran).collect::<Vec<_>>()
    };
    let stopped = |tid: Tid| matches!(state(tid), Some('t' | 'T'));
    until("all stopped", || tasks(pid).into_iter().all(stopped)).await;
    // The tracer may need a turn to attend to the last stops, and who is about to sleep may be
    // kept from it for a while.
    let rest = async {
        let mut before = times();
        let mut turns = 0;
        while turns < 10 {
            tracer.attach(0).await.expect_err("nobody");
            let now = times();
            turns = if now == before { turns + 1 } else { 0 };
            before = now;
        }
    };
    soon("no stopped thread runs", rest).await;
}

// Scenario 32: a tracer that only watches is not noticed by the real parent.
#[tokio::test]
async fn job_control_is_transparent_under_a_watching_tracer() {
    let mut ward = Ward::start([KEEPER, SLEEPER, "threads", "5"]).await;
    until("5 threads", || tasks(ward.pid()).len() == 5).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    let process = soon("attach", tracer.attach(pid)).await.expect("attached");
    let watch = tokio::spawn(process.map(|(_, event)| event).collect::<Vec<_>>());
    for _ in 0..20 {
        signal_process(pid, Signal::SIGSTOP).expect("there");
        ward.expect("stopped 19").await;
        stays_stopped(&tracer, pid).await;
        signal_process(pid, Signal::SIGCONT).expect("there");
        ward.expect("continued").await;
    }
    signal_process(pid, Signal::SIGTERM).expect("there");
    ward.expect("killed 15").await;
    let events = soon("the end", watch).await.expect("no panic");
    let stops = |e: &&Event| matches!(e, Event::GroupStop(stop) if stop.signal == Signal::SIGSTOP);
    // The thread that gets the signal and each other one report every stop, unless a
    // SIGCONT was quicker; the parent saw all.
    assert!(events.iter().filter(stops).count() >= 20);
}

// Scenario 6, 37
#[tokio::test]
async fn a_stopped_process_stays_stopped() {
    let mut ward = Ward::start([KEEPER, SLEEPER, "threads", "5"]).await;
    until("5 threads", || tasks(ward.pid()).len() == 5).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    signal_process(pid, Signal::SIGSTOP).expect("there");
    ward.expect("stopped 19").await;
    for mode in [ResumeMode::Cont, ResumeMode::Syscall] {
        let mut process = soon("attach", tracer.attach(pid).resume_mode(mode))
            .await
            .expect("attached");
        let mut stopped = HashSet::new();
        while stopped.len() < 5 {
            let (tid, event) = soon("a stop", process.next()).await.expect("no end");
            let Event::GroupStop(stop) = event else {
                panic!("{event:?}");
            };
            assert_eq!(stop.signal, Signal::SIGSTOP);
            assert!(stopped.insert(tid), "{tid} reports its stop twice");
        }
        soon("detach", process.detach()).await.expect("detached");
        drop(process);
        for tid in tasks(pid) {
            until("stopped and free", || {
                state(tid) == Some('T') && !is_traced(tid)
            })
            .await;
        }
    }
    signal_process(pid, Signal::SIGCONT).expect("there");
    ward.expect("continued").await;
    for tid in tasks(pid) {
        until("running", || is_free(tid)).await;
    }
}

// Scenario 6, 41: the mode takes effect in the middle of a call, which goes on.
#[tokio::test]
async fn a_blocked_call_is_seen_and_not_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let path = fifo.to_str().expect("text");
    let naps = NAPS.map(|length| (["nap", length], libc::SYS_nanosleep, "slept 0"));
    let mut seen = 0;
    for (args, call, said) in [(["read", path], libc::SYS_read, "read 1")]
        .into_iter()
        .chain(naps)
    {
        let mut ward = Ward::start([KEEPER, SLEEPER].into_iter().chain(args)).await;
        let is_over = || matches!(state(ward.pid()), None | Some('Z'));
        until("asleep, or over", || {
            state(ward.pid()) == Some('S') || is_over()
        })
        .await;
        let tracer = new_tracer();
        let attach = tracer.attach(ward.pid()).resume_mode(ResumeMode::Syscall);
        let met = match soon("attach", attach).await {
            Ok(mut process) => {
                let (_, event) = soon("a call", process.next()).await.expect("an event");
                Ok((process, event))
            }
            Err(error) => Err(error),
        };
        let restarted = [call as u64, libc::SYS_restart_syscall as u64];
        let mut process = match met {
            Ok((process, Event::SyscallEnter(enter))) if restarted.contains(&enter.call.nr) => {
                process
            }
            // That nap was over already; the next one is longer.
            _ if call == libc::SYS_nanosleep => continue,
            other => panic!("{other:?}"),
        };
        if call == libc::SYS_read {
            std::fs::write(&fifo, "x").expect("a reader");
        }
        let (_, event) = soon("its end", process.next()).await.expect("no end");
        let Event::SyscallExit(exit) = event else {
            panic!("{event:?}");
        };
        assert!(!exit.is_error, "{exit}");
        soon("detach", process.detach()).await.expect("detached");
        ward.expect(said).await;
        ward.expect("exited 0").await;
        seen += 1;
        if seen == 2 {
            return;
        }
    }
    panic!("no nap was long enough");
}

// Scenario 6, 41: without a mode nothing is interrupted at all.
#[tokio::test]
async fn a_blocked_call_survives_an_interrupt_and_a_detach() {
    for length in NAPS {
        if is_interrupted_and_let_go(length).await {
            return;
        }
    }
    panic!("no nap was long enough");
}

/// Interrupts and detaches a process that sleeps so long; whether it was met before it woke up.
async fn is_interrupted_and_let_go(length: &str) -> bool {
    let mut ward = Ward::start([KEEPER, SLEEPER, "nap", length]).await;
    let tracer = new_tracer();
    // An error here, and at the next step: it has ended.
    let Ok(mut process) = soon("attach", tracer.attach(ward.pid())).await else {
        return false;
    };
    let thread = process.thread(ward.pid()).expect("the leader");
    if thread.control().interrupt().await.is_err() {
        return false;
    }
    let event = soon("the stop", thread.wait()).await.expect("an event");
    if event.is_terminal() {
        return false;
    }
    assert!(matches!(event, Event::Interrupted), "{event:?}");
    soon("detach", process.detach()).await.expect("detached");
    ward.expect("slept 0").await;
    ward.expect("exited 0").await;
    true
}

// Scenario 12
#[tokio::test]
async fn what_is_not_followed_is_not_traced() {
    let mut ward = Ward::start([KEEPER, SLEEPER, "births"]).await;
    let pid = ward.pid();
    let tracer = new_tracer();
    let process = soon("attach", tracer.attach(pid).follow(Follow::Nothing))
        .await
        .expect("attached");
    let watch = tokio::spawn(process.collect::<Vec<_>>());
    let mut born = HashSet::new();
    until("births", || {
        born.extend(tasks(pid).into_iter().filter(|tid| *tid != pid));
        born.len() >= 5
    })
    .await;
    signal_process(pid, Signal::SIGUSR1).expect("it lives");
    let events = soon("the end", watch).await.expect("no panic");
    assert!(
        events
            .iter()
            .all(|(tid, _)| *tid == ward.pid() || !is_traced(*tid))
    );
    assert!(
        events.iter().all(|(_, event)| event.birth().is_none()),
        "{events:?}"
    );
    ward.expect("exited 0").await;
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::NotPermitted { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

// Scenario 7
#[tokio::test]
async fn what_cannot_be_attached_is_said() {
    let tracer = new_tracer();
    for nobody in [0, -1, i32::MIN, i32::MAX] {
        let error = soon("attach", tracer.attach(nobody))
            .await
            .expect_err("nobody");
        assert!(matches!(error, Error::NoSuchProcess(tid) if tid.as_raw() == nobody));
    }
    let own = soon("attach", tracer.attach(std::process::id())).await;
    assert_eq!(refusal(own), Refusal::OwnProcess);
    let own_thread = soon("attach", tracer.attach(Tid::current())).await;
    assert_eq!(refusal(own_thread), Refusal::OwnProcess);
    let kernel = soon("attach", tracer.attach(2)).await;
    // In a pid namespace of its own there is no kernel thread to be seen.
    if proc::status(Tid::from_raw(2)).is_ok_and(|status| status.kernel_thread) {
        assert_eq!(refusal(kernel), Refusal::KernelThread);
    }
}

// Scenario 6, 7
#[tokio::test]
async fn the_dead_are_refused() {
    let tracer = new_tracer();
    let zombie = Ward::start_silent([KEEPER, "hold", SLEEPER, "exit", "3"]).await;
    until("a zombie", || state(zombie.pid()) == Some('Z')).await;
    let result = soon("attach", tracer.attach(zombie.pid())).await;
    assert_eq!(refusal(result), Refusal::Zombie);

    let mut dead = Ward::start_silent([KEEPER, SLEEPER, "exit", "3"]).await;
    dead.expect("exited 3").await;
    let error = soon("attach", tracer.attach(dead.pid()))
        .await
        .expect_err("dead");
    assert!(
        matches!(error, Error::NoSuchProcess(tid) if tid == dead.pid()),
        "{error:?}"
    );
}

// Scenario 7
#[tokio::test]
async fn an_own_child_must_be_asked_for() {
    let mut child = std::process::Command::new(SLEEPER)
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let pid = Tid::from(child.id());
    let tracer = new_tracer();
    let result = soon("attach", tracer.attach(child.id())).await;
    assert_eq!(refusal(result), Refusal::OwnChild);
    assert!(!is_traced(pid));
    let mut process = soon("attach", tracer.attach(child.id()).own_child(true))
        .await
        .expect("asked for");
    assert!(is_traced(pid));
    // It is looked for threads that are not traced: this is no refusal of those that are.
    soon("stop", process.stop_all()).await.expect("it lives");
    soon("detach", process.detach()).await.expect("detached");
    child.kill().expect("it is there");
    let status = child.wait().expect("it is our child");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGKILL)
    );
}

fn assert_traced_by(refusal: &Refusal, thread: Tid, by: Tid) {
    let Refusal::AlreadyTraced {
        tracer,
        process,
        name,
        ..
    } = refusal
    else {
        panic!("{refusal:?}");
    };
    assert_eq!((*tracer, *process), (Some(thread), Some(by)));
    assert_eq!(name.as_ref(), proc::comm(by).ok().as_ref());
}

// Scenario 7: a second tracer of this process, and the same one twice.
#[tokio::test]
async fn a_process_has_one_tracer() {
    let ward = Ward::start([KEEPER, SLEEPER, "threads", "4"]).await;
    let (first, second) = (new_tracer(), new_tracer());
    let mut process = soon("attach", first.attach(ward.pid()))
        .await
        .expect("attached");
    let thread = proc::status(ward.pid()).expect("there").tracer;
    for tracer in [&first, &second] {
        let result = soon("attach", tracer.attach(ward.pid())).await;
        assert_traced_by(&refusal(result), thread, Tid::current_process());
    }
    // The refusals changed nothing.
    assert!(tasks(ward.pid()).into_iter().all(is_traced));
    soon("detach", process.detach()).await.expect("detached");
    soon("attach", second.attach(ward.pid()))
        .await
        .expect("free again");
}

/// Attaches with another program, tries, and lets it go; skipped where it is missing.
async fn beside(program: &str, args: &[&str]) {
    let ward = Ward::start([KEEPER, SLEEPER]).await;
    let pid = ward.pid().to_string();
    let spawned = tokio::process::Command::new(program)
        .args(args)
        .args(["-p", &pid])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut other) = spawned else {
        eprintln!("{program} is not installed: nothing was tested");
        return;
    };
    until("the other tracer", || is_traced(ward.pid())).await;
    let tracer = new_tracer();
    let result = soon("attach", tracer.attach(ward.pid())).await;
    let other_pid = Tid::from(other.id().expect("it runs"));
    assert_traced_by(&refusal(result), other_pid, other_pid);
    other.kill().await.expect("it is there");
    until("nobody traces it", || !is_traced(ward.pid())).await;
    let process = soon("attach", tracer.attach(ward.pid()))
        .await
        .expect("attached");
    drop(process);
}

// Scenario 7
#[tokio::test]
async fn strace_is_named_as_the_tracer() {
    beside("strace", &["-o", "/dev/null"]).await;
}

// Scenario 7
#[tokio::test]
async fn gdb_is_named_as_the_tracer() {
    beside("gdb", &["-q", "-nx"]).await;
}

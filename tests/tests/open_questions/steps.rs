//! Questions on threads and steps.

use libc::WSTOPPED;
use tracehound::{Error, Event, Signal, Tid, Tracer};
use tracehound_sys::proc;
use tracehound_sys::ptrace::{self, Options, ResumeKind};
use tracehound_sys::wait::{StopKind, WaitStatus};
use tracehound_tests::{Ward, end, in_each_place, is_traced, puppet, soon, start};
use tracehound_tests::{until, wait};

use crate::{KEEPER, SLEEPER, interrupted, report};

/// How long it ran, in nanoseconds, and more.
fn schedstat(pid: Tid, tid: Tid) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).expect("it lives")
}

// Can one thread be attached to, and do the others stop with it? It can; the others are not
// traced, and run while it is stopped, or makes its steps.
#[tokio::test]
async fn one_thread_is_traced_and_the_others_run() {
    let ward = Ward::start([KEEPER, SLEEPER, "threads", "5"]).await;
    let pid = ward.pid();
    until("five threads", || {
        proc::tasks(pid).is_ok_and(|tasks| tasks.len() == 5)
    })
    .await;
    let tasks = proc::tasks(pid).expect("it lives");
    // Long enough to be behind its beginning, where it may hold a lock that others need.
    let spins = |tid: &&Tid| {
        let time = schedstat(pid, **tid);
        let time = time
            .split(' ')
            .next()
            .and_then(|time| time.parse::<u64>().ok());
        time.is_some_and(|time| time > 50_000_000)
    };
    until("one that spins", || tasks.iter().any(|tid| spins(&tid))).await;
    let tid = *tasks.iter().find(spins).expect("it spins");
    ptrace::seize(tid, Options::empty()).expect("permitted");
    interrupted(tid).await;
    report(tid, WSTOPPED).await;
    let others = || tasks.iter().filter(|&&other| other != tid);
    // One of them makes a system call each millisecond.
    let ran = || others().map(|&tid| schedstat(pid, tid)).collect::<String>();
    for _ in 0..10 {
        let before = ran();
        ptrace::resume(tid, ResumeKind::Step, None).expect("stopped");
        let status = report(tid, WSTOPPED).await;
        let step = StopKind::Signal(Signal::SIGTRAP);
        assert!(
            matches!(status, WaitStatus::Stopped(stop) if stop.kind() == step),
            "{status:?}"
        );
        until("the others run", || ran() != before).await;
        assert!(others().all(|&other| !is_traced(other)));
    }
}

// Must a request that follows a step be repeated until it succeeds? It must wait for the
// step's event. tracehound says so instead of ESRCH, each time and not only sometimes.
async fn a_step_ends_with_its_event(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("exit", 0)).await;
    for _ in 0..100 {
        tracee.step().await.expect("held");
        let early = tracee.getregs().await;
        assert!(matches!(early, Err(Error::Running(_))), "{early:?}");
        wait!(tracee, Event::Step);
        tracee.getregs().await.expect("held");
    }
    end(&mut tracee).await;
}

in_each_place!(a_step_ends_with_its_event);

// May a child trace its parent? Yes, where Yama does not forbid it.
#[tokio::test]
async fn a_child_traces_its_parent() {
    // Not this process: whoever follows its threads takes the children of other tests.
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_guise"));
    command.args(["--", "traced-by-child"]).kill_on_drop(true);
    let output = soon("the parent", command.output())
        .await
        .expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = match proc::yama_scope() {
        None | Some(0) => "attached\n",
        // Root may.
        Some(1 | 2) if nix::unistd::geteuid().is_root() => "attached\n",
        _ => "Yama",
    };
    assert!(said.starts_with(expected), "{said}");
}

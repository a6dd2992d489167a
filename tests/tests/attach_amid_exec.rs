//! Attaching to a thread whose own exec holds that up, and gives it another id meanwhile.

use std::future::IntoFuture;

use tokio::io::AsyncWriteExt;
use tracehound::{Command, Error, Event, Follow, Stdio, Tid, Tracee, Tracer};
use tracehound_tests::{
    Seizer, end, line, lines, new_tracer, own_threads, soon, start, tasks, until,
};

const CREW: &str = env!("CARGO_BIN_EXE_crew");
const SEIZER: &str = env!("CARGO_BIN_EXE_seizer");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

/// Whether a thread of this process is inside of `PTRACE_SEIZE`.
fn seizes() -> bool {
    let call = format!("{} {:#x} ", libc::SYS_ptrace, libc::PTRACE_SEIZE);
    let is_in_it = |tid: Tid| {
        let syscall = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall"));
        syscall.is_ok_and(|text| text.starts_with(&call))
    };
    own_threads().into_iter().any(is_in_it)
}

/// Whether the thread was seized when it had its process's id already: otherwise the try was
/// over before, and there is no such thread any more.
async fn is_seized_late(tracer: &Tracer, with_leader: bool) -> bool {
    let mut command = Command::new(CREW);
    command.args(["exec-when-told", "1", SLEEPER, "pause"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let (mut leader, mut child) = start(tracer, command.follow(Follow::Nothing)).await;
    let pid = leader.tid();
    leader.cont().await.expect("cont");
    let said = line(&mut lines(&mut child)).await;
    let caller = said.strip_prefix("ready ").and_then(|tid| tid.parse().ok());
    let caller = Tid::from_raw(caller.expect("its id"));
    let is_other = |tid: &Tid| *tid != pid && *tid != caller;
    let other = tasks(pid).into_iter().find(is_other).expect("another");
    if !with_leader {
        leader.detach().await.expect("detached");
    }
    // The exec waits for this thread's end.
    let mut seizer = Seizer::hold_exits(SEIZER, &[other]).await;
    let stdin = child.stdin.as_mut().expect("piped");
    stdin.write_all(b"now\n").await.expect("it listens");
    seizer.says(&format!("exit {other}")).await;
    let attach = tracer.attach_thread(caller).own_child(true);
    let attach = tokio::spawn(attach.into_future());
    until("a try", seizes).await;
    seizer.kill();
    let attached = soon("attach", attach).await.expect("no panic");
    if let Ok(thread) = &attached {
        assert_eq!(thread.tid(), pid);
        if with_leader {
            let last = end(&mut leader).await;
            assert!(matches!(last, Event::Replaced(r) if r.by == Some(caller)));
        }
    }
    soon("its end", child.kill()).await.expect("a status");
    match attached {
        Ok(mut thread) => {
            is_killed(&mut thread).await;
            true
        }
        Err(Error::NoSuchProcess(tid)) if tid == caller => false,
        Err(error) => panic!("{error}"),
    }
}

async fn is_killed(thread: &mut Tracee) {
    let last = end(thread).await;
    assert!(matches!(last, Event::Killed(_)), "{last:?}");
}

async fn several(with_leader: bool) {
    let tracer = new_tracer();
    let mut late = 0;
    while late < 3 {
        late += u32::from(is_seized_late(&tracer, with_leader).await);
    }
}

// Scenarios 4 and 15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_its_leader() {
    several(true).await;
}

// Scenarios 4 and 15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_its_own() {
    several(false).await;
}

//! A thread forks, and an exec of another one kills it before it can report the birth. The child
//! is in its first stop then, and the process that made it goes on under the same id.

use futures::StreamExt;
use futures::future::{FutureExt, LocalBoxFuture};
use tokio::io::{AsyncWriteExt, BufReader, Lines};
use tokio::process::ChildStdout;
use tracehound::{Child, Command, Event, Stdio, Sysno, Tid, Tracee, Tracer, Unwatched};
use tracehound_sys::proc;
use tracehound_tests::{Stall, builder, line, lines, soon, start, state, tasks, until};

const CREW: &str = env!("CARGO_BIN_EXE_crew");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

/// The life of a tracee, and of the threads that it makes.
fn follow(mut tracee: Tracee) -> LocalBoxFuture<'static, ()> {
    async move {
        while let Some(event) = tracee.next().await {
            if let Event::Clone(birth) = &event
                && let Some(thread) = tracee.take_child(birth)
            {
                drop(thread.spawn_pinned(follow));
            }
        }
    }
    .boxed_local()
}

/// Whether the process is in the first stop of its new program.
fn has_execed(pid: Tid) -> bool {
    let is_new = proc::comm(pid).is_ok_and(|name| name == "sleeper");
    is_new && tasks(pid).len() == 1 && state(pid) == Some('t')
}

/// A process whose exec has ended the maker of its child. Of all that the tracer has not heard yet.
struct Lost {
    process: Child,
    out: Lines<BufReader<ChildStdout>>,
    stall: Stall,
}

/// The new program does this.
async fn lose(tracer: &Tracer, program: &str) -> Lost {
    let mut command = Command::new(CREW);
    command.args(["exec-over-fork", SLEEPER, program]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let (tracee, mut process) = start(tracer, &mut command).await;
    let pid = tracee.tid();
    drop(tracee.spawn_pinned(follow));
    let mut out = lines(&mut process);
    assert_eq!(line(&mut out).await, "ready");
    let stall = Stall::of(tracer).await;
    let mut input = process.stdin.take().expect("piped");
    input.write_all(b"go\n").await.expect("it listens");
    until("its exec", || has_execed(pid)).await;
    Lost {
        process,
        out,
        stall,
    }
}

async fn the_child_runs_beside(program: &str) {
    let tracer = builder().threads(1).build().expect("a tracer");
    let mut lost = lose(&tracer, program).await;
    drop(lost.stall);
    // Of both, in either order.
    let mut said = [line(&mut lost.out).await, line(&mut lost.out).await];
    said.sort();
    assert_eq!(said, ["child", "ready"]);
    soon("its end", lost.process.kill())
        .await
        .expect("a status");
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_computes() {
    the_child_runs_beside("spin").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_sleeps() {
    the_child_runs_beside("pause").await;
}

// The thread stays for a program with a filter that is let through its stops. A shutdown waits
// for all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_runs_when_the_tracer_was_shut_down() {
    for _ in 0..5 {
        let tracer = builder().threads(1).build().expect("a tracer");
        let mut passed = Command::new(SLEEPER);
        passed.stdout(Stdio::null());
        passed.trace_syscalls([Sysno::getpgid]);
        passed.unwatched(Unwatched::Pass);
        let (tracee, mut passed) = start(&tracer, &mut passed).await;
        drop(tracee);
        let mut lost = lose(&tracer, "pause").await;
        let pid = lost.process.id();
        let is_child = |tid: &Tid| proc::status(*tid).is_ok_and(|s| s.parent == pid);
        let mut all = proc::processes().expect("/proc").into_iter();
        let child = all.find(is_child).expect("a child");
        drop(lost.stall);
        soon("shutdown", tracer.shutdown()).await.expect("shutdown");
        assert_ne!(state(child), Some('t'));
        soon("its end", lost.process.kill())
            .await
            .expect("a status");
        soon("its end", passed.kill()).await.expect("a status");
    }
}

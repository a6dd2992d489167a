//! A host whose main thread has ended. Its children pass to the next thread of the
//! process, which is a tracer thread: they stay the host's.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use tracehound::{Tid, Tracer};
use tracehound_sys::proc;
use tracehound_tests::{new_tracer, sibling, soon, state, stays_asleep, trace_births, until};

fn start(args: [&str; 2]) -> Child {
    Command::new(sibling("sleeper"))
        .args(args)
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// The thread that the kernel says is the parent of a child: it stands in that thread's
/// list.
fn parent_thread(child: &Child) -> Option<Tid> {
    let pid = child.id().to_string();
    let tids = proc::tasks(Tid::current_process()).expect("/proc");
    tids.into_iter().find(|&tid| {
        let children = std::fs::read_to_string(format!("/proc/self/task/{tid}/children"));
        children.is_ok_and(|list| list.split_whitespace().any(|child| child == pid))
    })
}

async fn check(tracer: Tracer, mut dead: Child, mut alive: Child) {
    let main = Tid::current_process();
    until("the end of the main thread", || state(main) == Some('Z')).await;
    let (tracee, mut child) = tracer
        .spawn(tracehound::Command::new("true"))
        .await
        .expect("spawn");
    let thread = proc::status(tracee.tid()).expect("held").tracer;
    // What this is about.
    assert_eq!(parent_thread(&dead), Some(thread));
    assert_eq!(parent_thread(&alive), Some(thread));
    let pid = Tid::from(dead.id());
    until("a zombie", || state(pid) == Some('Z')).await;

    trace_births(&tracer).await;
    alive.kill().expect("it lives");
    let pid = Tid::from(alive.id());
    until("a second zombie", || state(pid) == Some('Z')).await;
    stays_asleep(thread, || {
        let mut other = start(["exit", "3"]);
        assert_eq!(other.wait().expect("ours").code(), Some(3));
    })
    .await;
    assert_eq!(dead.wait().expect("ours").code(), Some(7));
    let status = alive.wait().expect("ours");
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    drop(tracee);
    let status = soon("the tracee's end", child.wait()).await;
    assert!(status.expect("status").success());
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

fn main() {
    // The first thread after this one.
    let tracer = new_tracer();
    let (dead, alive) = (start(["exit", "7"]), start(["pause", ""]));
    std::thread::spawn(move || {
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(check(tracer, dead, alive));
        }));
        std::process::exit(i32::from(checked.is_err()));
    });
    // SAFETY: ends this thread alone, as pthread_exit(3) does, without unwinding its
    // stack, on which nothing that others use lies.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

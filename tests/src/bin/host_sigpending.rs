//! A host whose user's queue of pending signals is full, filled by a tracee: real-time
//! signals cannot be sent any more, and the tracer goes on.

use futures::StreamExt;
use tracehound::{Command, Signal, Stdio, Tid};
use tracehound_tests::{new_tracer, place, sibling, soon, trace_births, until};

const LIMIT: u64 = 64;

/// The signals that wait for a process, from `/proc`: used and allowed.
fn queue(pid: Tid) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("SigQ:"));
    let (used, limit) = line.and_then(|l| l.trim().split_once('/')).expect("SigQ");
    (
        used.parse().expect("a number"),
        limit.parse().expect("a number"),
    )
}

fn send(pid: Tid, signal: i32) -> std::io::Result<()> {
    let value = libc::sigval {
        sival_ptr: std::ptr::null_mut(),
    };
    // SAFETY: takes numbers, and a value that nobody reads.
    match unsafe { libc::sigqueue(pid.as_raw(), signal, value) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

async fn check() {
    let tracer = new_tracer();
    let mut command = Command::new(sibling("sleeper"));
    command.arg("floods").stdout(Stdio::null());
    let (mut tracee, child) = tracer.spawn(place(&mut command)).await.expect("spawn");
    let (pid, control) = (tracee.tid(), tracee.control());
    let watch = tokio::spawn(async move { while tracee.next().await.is_some() {} });
    until("a full queue", || queue(pid).0 >= LIMIT).await;
    // What this is about. Other processes of the user take and leave places in it.
    let full = || send(pid, 40).is_err_and(|e| e.raw_os_error() == Some(libc::EAGAIN));
    until("no signal can be queued", full).await;

    let (held, _child) = tracer.spawn(Command::new("true")).await.expect("spawn");
    for _ in 0..1000 {
        soon("an answer", held.getregs()).await.expect("held");
    }
    trace_births(&tracer).await;
    until("it is still full", full).await;
    control.kill().expect("it lives");
    soon("the end", watch).await.expect("no panic");
    drop((held, child));
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

fn main() {
    let limit = libc::rlimit {
        rlim_cur: LIMIT,
        rlim_max: LIMIT,
    };
    // SAFETY: the limit is live.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const limit) };
    assert_eq!(result, 0);
    assert_eq!(queue(Tid::current_process()).1, LIMIT);
    assert!(Signal::from_raw(40).is_realtime());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(check());
}

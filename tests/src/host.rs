//! What host programs share: programs that use tracehound in some situation of their
//! whole process.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use futures::StreamExt;
use tracehound::{Command, Stdio, Tracer};
use tracehound_sys::Tid;

use crate::{place, soon, until};

/// Another program of this package.
///
/// # Panics
///
/// If `/proc` is not there.
pub fn sibling(name: &str) -> PathBuf {
    // Once the main thread has ended there is no /proc/self/exe.
    static OWN: OnceLock<PathBuf> = OnceLock::new();
    let own = OWN.get_or_init(|| std::env::current_exe().expect("/proc/self/exe"));
    own.with_file_name(name)
}

/// Runs what a host program does, in a runtime with two worker threads.
///
/// # Panics
///
/// If there are no threads for it.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

/// A file of a thread of this process in `/proc`.
///
/// # Panics
///
/// If there is no such thread.
pub fn thread_file(tid: Tid, file: &str) -> String {
    let path = format!("/proc/self/task/{tid}/{file}");
    std::fs::read_to_string(path).expect("a thread of this process")
}

/// Traces a program that makes ten threads and ten processes, and checks that it was told
/// of all, and of its end.
///
/// # Panics
///
/// If anything is missing.
pub async fn trace_births(tracer: &Tracer) {
    let births = Arc::new(AtomicUsize::new(0));
    let ends = Arc::new(AtomicUsize::new(0));
    let (born, ended) = (Arc::clone(&births), Arc::clone(&ends));
    let mut command = Command::new(sibling("sleeper"));
    command.args(["births", "10"]).stdout(Stdio::null());
    let traced = tracer.trace(place(&mut command), move |mut tracee| {
        let (births, ends) = (Arc::clone(&born), Arc::clone(&ended));
        async move {
            while let Some(event) = tracee.next().await {
                births.fetch_add(usize::from(event.birth().is_some()), Ordering::Relaxed);
                ends.fetch_add(usize::from(event.is_terminal()), Ordering::Relaxed);
            }
        }
    });
    let status = soon("the end of a tree", traced).await.expect("traced");
    assert!(status.success(), "{status}");
    assert_eq!(births.load(Ordering::Relaxed), 20, "births");
    assert_eq!(ends.load(Ordering::Relaxed), 21, "ends");
}

/// Does this at a signal from now on.
///
/// # Panics
///
/// If there is no such signal.
pub fn set_action(signal: i32, action: libc::sighandler_t, flags: i32) {
    // SAFETY: zero is a value of every field.
    let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
    new.sa_sigaction = action;
    new.sa_flags = flags;
    // SAFETY: the action is live; handlers of the host programs are async-signal-safe.
    let result = unsafe { libc::sigaction(signal, &raw const new, std::ptr::null_mut()) };
    assert_eq!(result, 0, "signal {signal}");
}

/// What is done at each signal: the address and the flags of every action.
pub fn dispositions() -> Vec<(libc::sighandler_t, i32)> {
    (1..=64)
        .map(|signal| {
            // SAFETY: zero is a value of every field.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: only reads, into a live value. It fails for the C library's own.
            unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
            (action.sa_sigaction, action.sa_flags)
        })
        .collect()
}

/// Waits until a thread of this process does not run at all while some work is done
/// elsewhere. One that spins always runs.
///
/// # Panics
///
/// If it never stays asleep.
pub async fn stays_asleep(thread: Tid, mut work: impl FnMut()) {
    until("a thread that stays asleep", || {
        // Its time on the CPU in nanoseconds, and how often it got there.
        let before = thread_file(thread, "schedstat");
        work();
        thread_file(thread, "schedstat") == before
    })
    .await;
}

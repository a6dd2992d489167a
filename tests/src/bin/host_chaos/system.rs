//! The processes that come of a case, as `/proc` shows them. This process is their
//! subreaper: whoever loses its parent becomes its child.

use std::collections::HashSet;

use tracehound::{Signal, Tid};
use tracehound_sys::{proc, reap, signal_process};

use crate::until;

/// Makes the calling process inherit the orphans below it.
pub(crate) fn become_subreaper() {
    // SAFETY: takes numbers.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    assert_eq!(result, 0, "PR_SET_CHILD_SUBREAPER");
}

fn children(of: Tid) -> Vec<Tid> {
    let threads = proc::tasks(of).unwrap_or_default();
    let lists = threads
        .into_iter()
        .filter_map(|tid| std::fs::read_to_string(format!("/proc/{of}/task/{tid}/children")).ok());
    let text: Vec<String> = lists.collect();
    let pids = text.iter().flat_map(|list| list.split_whitespace());
    pids.filter_map(|pid| pid.parse().ok())
        .map(Tid::from_raw)
        .collect()
}

/// All processes below this one.
pub(crate) fn descendants() -> Vec<Tid> {
    let mut all = children(Tid::current_process());
    let mut at = 0;
    while let Some(pid) = all.get(at) {
        let more = children(*pid);
        all.extend(more);
        at += 1;
    }
    all
}

/// Whether this is a process below this one, and no stranger that has its number now.
pub(crate) fn is_descendant(pid: Tid) -> bool {
    let own = Tid::current_process();
    let mut at = pid;
    while let Ok(status) = proc::status(at) {
        if status.parent == own {
            return true;
        }
        at = status.parent;
    }
    false
}

/// Sends SIGKILL to all of them, whoever is made meanwhile.
pub(crate) fn kill_all() {
    let mut killed = HashSet::new();
    loop {
        let new: Vec<Tid> = descendants()
            .into_iter()
            .filter(|pid| killed.insert(*pid))
            .collect();
        if new.is_empty() {
            return;
        }
        for pid in new {
            // An error: it is dead.
            let _ = signal_process(pid, Signal::SIGKILL);
        }
    }
}

/// What is said of a process that is where it must not be.
fn describe(pid: Tid) -> String {
    let threads = proc::tasks(pid).unwrap_or_default();
    let told = threads.into_iter().map(|tid| {
        let call = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall"));
        let call = call.unwrap_or_default();
        match proc::status(tid) {
            Ok(status) => format!(
                "  {tid}: {}, traced by {}, call {}",
                status.state,
                status.tracer,
                call.trim_end()
            ),
            Err(error) => format!("  {tid}: {error}"),
        }
    });
    let parent = proc::status(pid).map(|status| status.parent);
    let told: Vec<String> = told.collect();
    format!("process {pid}, child of {parent:?}\n{}", told.join("\n"))
}

/// What is said of all.
pub(crate) fn told() -> String {
    let all: Vec<String> = descendants().into_iter().map(describe).collect();
    all.join("\n")
}

/// The threads of all of them, with their processes.
fn threads() -> Vec<(Tid, Tid)> {
    let of = |pid: Tid| {
        let tids = proc::tasks(pid).unwrap_or_default();
        tids.into_iter().map(move |tid| (pid, tid))
    };
    descendants().into_iter().flat_map(of).collect()
}

/// A thread that is traced, or stopped as only a tracee is.
fn traced() -> Option<(Tid, Tid)> {
    let is_traced = |tid: Tid| {
        let status = proc::status(tid).ok()?;
        // One that is dying is let go when its tracer's thread has taken its death.
        let lives = !matches!(status.state, 'Z' | 'X');
        Some(lives && (status.tracer != Tid::from_raw(0) || status.state == 't'))
    };
    let mut all = threads().into_iter();
    all.find(|(_, tid)| is_traced(*tid) == Some(true))
}

fn told_of(traced: Option<(Tid, Tid)>) -> String {
    traced.map_or_else(String::new, |(pid, tid)| {
        format!("thread {tid} is traced, of {}", describe(pid))
    })
}

/// Nobody is traced any more.
pub(crate) fn assert_nobody_is_traced() {
    let left = traced();
    assert!(left.is_none(), "{}", told_of(left));
}

/// Waits until nobody is traced any more.
pub(crate) async fn nobody_is_traced() {
    until(|| told_of(traced()), || traced().is_none()).await;
}

/// Reaps what is this process's to reap, and waits until nobody is left. Those that a tracer
/// made are its own to reap.
pub(crate) async fn nobody_is_left(tracers: &HashSet<Tid>) {
    until(
        || format!("nobody is left: {}", told()),
        || {
            kill_all();
            let left = descendants();
            for pid in left.iter().filter(|pid| !tracers.contains(pid)) {
                // An error: it is another's child, still.
                let _ = reap(*pid);
            }
            left.is_empty()
        },
    )
    .await;
}

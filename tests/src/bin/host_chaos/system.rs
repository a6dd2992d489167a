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

/// How many seccomp filters a thread has; on old kernels, whether it has some.
fn filters(tid: Tid) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let of = |name| status.lines().find_map(|line| line.strip_prefix(name));
    let count = of("Seccomp_filters:").or(of("Seccomp:"))?;
    count.trim().parse().ok()
}

/// What of a thread is not as it has to be when nobody is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It is traced, or stopped as only a tracee is.
    Traced,
    /// Its calls fail: it has a filter, and no tracer.
    LeftAlone,
}

/// Such a thread, with its process. Where some are let through their stops until they end, one
/// that has a filter may be traced.
fn wrong(passes: bool) -> Option<(Tid, Tid, Wrong)> {
    let own = filters(Tid::current_process());
    let is_wrong = |tid: Tid| {
        let status = proc::status(tid).ok()?;
        // One that is dying is let go when its tracer's thread has taken its death.
        if matches!(status.state, 'Z' | 'X') {
            return None;
        }
        let is_traced = status.tracer != Tid::from_raw(0);
        match filters(tid)? > own? {
            true if !is_traced => Some(Wrong::LeftAlone),
            true if passes => None,
            // In its vfork it cannot stop, and the thread that would end is there for others.
            false if passes && is_traced && status.state == 'D' => None,
            _ => (is_traced || status.state == 't').then_some(Wrong::Traced),
        }
    };
    let mut all = threads().into_iter();
    all.find_map(|(pid, tid)| is_wrong(tid).map(|wrong| (pid, tid, wrong)))
}

fn told_of(wrong: Option<(Tid, Tid, Wrong)>) -> String {
    wrong.map_or_else(String::new, |(pid, tid, wrong)| {
        format!("thread {tid} is {wrong:?}, of {}", describe(pid))
    })
}

/// Nobody is traced any more, but for whom `wrong` tells.
pub(crate) fn assert_nobody_is_traced(passes: bool) {
    let left = wrong(passes);
    // Who has a filter and no tracer is dying: that takes its time.
    let left = left.filter(|(_, _, wrong)| *wrong == Wrong::Traced);
    assert!(left.is_none(), "{}", told_of(left));
}

/// Waits until nobody is traced any more, but for whom `wrong` tells.
pub(crate) async fn nobody_is_traced(passes: bool) {
    until(|| told_of(wrong(passes)), || wrong(passes).is_none()).await;
}

fn is_tracee(pid: Tid) -> bool {
    proc::status(pid).is_ok_and(|status| status.tracer != Tid::from_raw(0))
}

/// Reaps what is this process's to reap, and waits until nobody is left. Those that a tracer
/// made are its own to reap, and those that it still traces.
pub(crate) async fn nobody_is_left(tracers: &HashSet<Tid>) {
    until(
        || format!("nobody is left: {}", told()),
        || {
            kill_all();
            let left = descendants();
            let others = left.iter().filter(|pid| !tracers.contains(pid));
            for pid in others.filter(|pid| !is_tracee(**pid)) {
                // An error: it is another's child, still.
                let _ = reap(*pid);
            }
            left.is_empty()
        },
    )
    .await;
}

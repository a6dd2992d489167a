//! The life of one tracee, as reports.

use std::fs::File;
use std::io::Read;

use futures::StreamExt;
use tokio::sync::mpsc;
use tracehound::{Event, ResourceUsage, Signal, Tid, Tracee};

use crate::text;

/// What has happened to a thread, or to the process that it leads.
pub(crate) struct Report {
    pub(crate) tid: Tid,
    /// Its process.
    pub(crate) tgid: Tid,
    pub(crate) what: What,
}

/// What has happened.
pub(crate) enum What {
    /// It was made: a process by `parent`, a thread by its own process.
    Began { parent: Parent, name: String },
    /// It has become another program.
    Became {
        /// The id that it had: another one if it was not the leader.
        former: Tid,
        command: String,
    },
    /// Job control has stopped it.
    Stopped(Signal),
    /// And let it go on.
    Continued,
    /// It is no more; in words.
    Ended(String),
}

/// Who has made a process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parent {
    /// This program: it is the command itself.
    Own,
    Process(Tid),
}

/// Where the reports go. It is bounded: who makes more than can be shown has to wait.
pub(crate) type Reports = mpsc::Sender<Report>;

/// Reports what becomes of a tracee, until its end.
pub(crate) async fn watch(mut tracee: Tracee, reports: Reports) {
    while let Some(event) = tracee.next().await {
        let Some(what) = what(&tracee, &event) else {
            continue;
        };
        let (tid, tgid) = (tracee.tid(), tracee.tgid());
        // Nobody listens if the program is about to end.
        let _ = reports.send(Report { tid, tgid, what }).await;
    }
}

fn what(tracee: &Tracee, event: &Event) -> Option<What> {
    let tid = tracee.tid();
    Some(match event {
        Event::Started(_) => {
            let parent = parent(tid);
            // The command's exec was before its first stop.
            let name = match parent == Parent::Own && tid == tracee.tgid() {
                true => command(tid),
                false => name(tid).unwrap_or_default(),
            };
            What::Began { parent, name }
        }
        Event::Exec(exec) => What::Became {
            former: exec.former_tid,
            command: command(tid),
        },
        Event::GroupStop(stop) => What::Stopped(stop.signal),
        Event::Continued => What::Continued,
        Event::Exited(exited) => {
            let used = used(tracee, exited.usage);
            What::Ended(format!("exited with {}{used}", exited.code))
        }
        Event::Killed(killed) => {
            let core = if killed.core_dumped {
                ", core dumped"
            } else {
                ""
            };
            let used = used(tracee, killed.usage);
            What::Ended(format!("killed by {}{core}{used}", killed.signal))
        }
        Event::Detached => What::Ended("let go".to_string()),
        // The thread that took its place goes on under its id.
        _ => return None,
    })
}

/// What a process has used with the children that it waited for, as far as that is known.
/// With a thread's end comes what its process had used until then: nothing about the thread.
fn used(tracee: &Tracee, usage: Option<ResourceUsage>) -> String {
    match usage.filter(|_| tracee.tid() == tracee.tgid()) {
        Some(usage) => format!(" ({})", text::usage(&usage)),
        None => String::new(),
    }
}

/// The name of a thread, made harmless.
pub(crate) fn name(tid: Tid) -> Option<String> {
    let name = read(tid, "comm")?;
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    Some(text::harmless(name))
}

/// The program and its arguments, made harmless.
fn command(tid: Tid) -> String {
    let args = read(tid, "cmdline").unwrap_or_default();
    let args = args.strip_suffix(b"\0").unwrap_or(&args);
    let words: Vec<String> = args.split(|&b| b == 0).map(text::harmless).collect();
    words.join(" ")
}

fn parent(tid: Tid) -> Parent {
    let status = read(tid, "status").unwrap_or_default();
    // No name makes a line of its own: the kernel escapes newlines there.
    let mut lines = status.split(|&b| b == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(b"PPid:"));
    let number = value.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    match number {
        Some(own) if own == std::process::id() => Parent::Own,
        number => Parent::Process(Tid::from(number.unwrap_or(0))),
    }
}

/// The beginning of a file of a thread: enough to be shown.
fn read(tid: Tid, file: &str) -> Option<Vec<u8>> {
    const MOST: u64 = 4096;
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{tid}/{file}")).ok()?;
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

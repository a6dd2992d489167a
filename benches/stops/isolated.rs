//! One run of one case, in a process of its own that is watched.
//!
//! So a case that hangs is killed with all that it has started, a peer that waits for any
//! child of its process gets none of another's, and no thread, memory or signal handler
//! of one case meets the next. A thread with a deadline would not do: one that is blocked
//! in a wait cannot be ended.

use std::env;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::cases::Case;
use crate::plan::Plan;
use crate::sample::Sample;

/// A case that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Why there is no sample.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// For the table.
    pub(crate) why: String,
    /// What to do about it.
    pub(crate) kind: FailureKind,
}

/// What a failure means for the rounds to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FailureKind {
    /// It may be better the next time.
    Error,
    /// The case did not end.
    Hang,
    /// A program or a kernel is not here.
    Missing,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::Unsupported => FailureKind::Missing,
            _ => FailureKind::Error,
        };
        let why = error.to_string();
        Failure { why, kind }
    }
}

/// Runs a case once.
pub(crate) fn run(case: &Case, plan: &Plan) -> Result<Sample, Failure> {
    let child = Command::new(env::current_exe()?)
        .args(["--bench", "--calls", &plan.calls.to_string()])
        .args(["--one", case.name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let (text, status) = watch(child)?;
    match serde_json::from_str(&text) {
        Ok(result) => result,
        Err(_) => Err(io::Error::other(format!("the process of the case: {status}")).into()),
    }
}

/// What the process prints, and how it ends. None of its group is left.
fn watch(mut child: Child) -> Result<(String, ExitStatus), Failure> {
    let (sender, receiver) = mpsc::channel();
    if let Some(mut output) = child.stdout.take() {
        thread::spawn(move || {
            let mut text = String::new();
            let result = output.read_to_string(&mut text);
            // Nobody listens any more if it comes too late.
            let _ = sender.send(result.map(|_| text));
        });
    }
    let text = receiver.recv_timeout(LIMIT);
    // The process is not reaped yet, so its number is nobody else's.
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let _ = killpg(group, Signal::SIGKILL);
    let status = child.wait()?;
    match text {
        Ok(text) => Ok((text?, status)),
        Err(_) => Err(Failure {
            why: format!("no end after {} s", LIMIT.as_secs()),
            kind: FailureKind::Hang,
        }),
    }
}

/// The other end: runs the case in this process and prints what it gave.
pub(crate) fn answer(case: &Case, plan: &Plan) {
    // The group of the terminal is not ours: no ^C would end this process.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    let result = (case.run)(plan).map_err(Failure::from);
    match serde_json::to_string(&result) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("{}: {error}", case.name),
    }
}

//! What all tracees have in common: where their calls are reported, and where their
//! tasks run.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tracehound::{Tid, Tracee};

use crate::life;
use crate::options::{Filter, Options};
use crate::output::Output;
use crate::seccomp;
use crate::summary::Tally;

/// Where the task of a tracee runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the tracer thread, where a request is a plain system call.
    Pinned,
    /// In an ordinary task of the runtime.
    Remote,
}

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session {
    /// Which calls are shown or counted.
    pub(crate) filter: Filter,
    output: Output,
    /// What was counted, if lines are not asked for.
    tally: Option<Mutex<Tally>>,
    place: Place,
    /// Whether what the tracees make is shown, too.
    follow: bool,
    /// Why the command could not be started, once that is known.
    start_error: OnceLock<i32>,
}

/// Held by each task, so that their end can be awaited: nothing is ever sent.
pub(crate) type Alive = mpsc::Sender<Infallible>;

impl Session {
    /// A session as the options want it.
    pub(crate) fn new(options: &Options, output: Output) -> Self {
        Session {
            filter: options.filter.clone().unwrap_or_else(Filter::all),
            output,
            tally: options.count.then(Mutex::default),
            place: match options.remote {
                true => Place::Remote,
                false => Place::Pinned,
            },
            follow: options.follow,
            start_error: OnceLock::new(),
        }
    }

    /// Starts the task of a tracee.
    pub(crate) fn watch(self: &Arc<Self>, tracee: Tracee, alive: Alive) {
        let session = Arc::clone(self);
        match self.place {
            Place::Remote => drop(tokio::spawn(life::watch(tracee, session, alive))),
            Place::Pinned => {
                drop(tracee.spawn_pinned(|tracee| life::watch(tracee, session, alive)));
            }
        }
    }

    /// Starts the task of a tracee that another one has made.
    pub(crate) fn watch_child(self: &Arc<Self>, tracee: Tracee, alive: Alive) {
        if self.follow {
            self.watch(tracee, alive);
        } else {
            self.pass(tracee, alive);
        }
    }

    /// Starts the task of a tracee that is there for its filter only.
    fn pass(self: &Arc<Self>, tracee: Tracee, alive: Alive) {
        let session = Arc::clone(self);
        let spawn = move |child| session.pass(child, alive.clone());
        // What it makes is passed on before it is resumed: nothing is let go.
        match self.place {
            Place::Remote => drop(tokio::spawn(seccomp::pass(tracee, spawn))),
            Place::Pinned => drop(tracee.spawn_pinned(|tracee| seccomp::pass(tracee, spawn))),
        }
    }

    /// Whether calls are counted, not shown.
    pub(crate) fn counts(&self) -> bool {
        self.tally.is_some()
    }

    /// Prints a line about a thread, unless calls are only counted.
    pub(crate) fn line(&self, tid: Tid, text: &str) {
        if !self.counts() {
            self.output.write(&format!("{tid} {text}\n"));
        }
    }

    /// Counts a call, if calls are counted.
    pub(crate) fn count(&self, name: Option<&'static str>, time: Duration, failed: bool) {
        if let Some(tally) = &self.tally {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            // One row for all calls without a name: a program can make any number of them.
            tally.add(name.unwrap_or("(unknown)"), time, failed);
        }
    }

    /// Says something that is not about a call, where it does not get between lines.
    pub(crate) fn notice(&self, text: &str) {
        if self.output.is_file() {
            eprintln!("strace: {text}");
        }
    }

    /// Says that the command could not be started.
    pub(crate) fn fail_to_start(&self, errno: i32) {
        // There is one command, which fails once.
        let _ = self.start_error.set(errno);
    }

    /// Why the command could not be started, if it has ended because of that.
    pub(crate) fn start_error(&self) -> Option<io::Error> {
        let errno = self.start_error.get()?;
        Some(io::Error::from_raw_os_error(*errno))
    }

    /// Hands over to the system what was written.
    pub(crate) fn flush(&self) {
        self.output.flush();
    }

    /// Prints the table of what was counted.
    pub(crate) fn write_table(&self) {
        if let Some(tally) = &self.tally {
            let table = tally.lock().unwrap_or_else(PoisonError::into_inner).table();
            self.output.write(&table);
        }
    }
}

//! What is told of a tracee: the events as readers get them.

use std::sync::Arc;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use tracehound::{Errno, Event, Signal, SyscallEntry, Tid};

/// Something that happened. Its size is what a place in the ring takes.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// When it was seen, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// The thread.
    #[serde(serialize_with = "tid")]
    pub tid: Tid,
    /// Its process.
    #[serde(serialize_with = "tid")]
    pub pid: Tid,
    /// What has happened.
    #[serde(flatten)]
    pub what: What,
}

/// What has happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum What {
    /// It is traced from now on.
    Begin {
        /// Who made it, if that was seen.
        #[serde(serialize_with = "maybe_tid")]
        parent: Option<Tid>,
        /// Its name.
        name: Arc<str>,
    },
    /// It has become another program.
    Exec {
        /// The id that the calling thread had before.
        #[serde(serialize_with = "tid")]
        former: Tid,
        /// The program's file.
        name: Arc<str>,
    },
    /// A system call.
    Call(Call),
    /// A signal is delivered.
    Signal {
        /// Which.
        #[serde(serialize_with = "as_text")]
        signal: Signal,
    },
    /// Job control has stopped it.
    Stop {
        /// By this signal.
        #[serde(serialize_with = "as_text")]
        signal: Signal,
    },
    /// And lets it go on.
    Continue,
    /// It is not traced any more.
    End {
        /// Why.
        end: End,
    },
}

/// A system call, once it has returned or will not.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number and arguments.
    pub entry: SyscallEntry,
    /// When it was entered.
    pub entered: u64,
    /// What it returned, or a negative error number; nothing if it did not return.
    pub value: Option<i64>,
    /// Whether it has failed.
    pub failed: bool,
}

impl Serialize for Call {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        // As text: numbers in JSON have 53 bits.
        let args = self.entry.args.map(|arg| format!("{arg:#x}"));
        let failed = self.value.filter(|_| self.failed);
        let mut call = out.serialize_struct("Call", 6)?;
        call.serialize_field("call", &name(&self.entry).unwrap_or(UNNAMED))?;
        call.serialize_field("number", &self.entry.nr)?;
        call.serialize_field("args", &args)?;
        call.serialize_field("entered", &self.entered)?;
        call.serialize_field("value", &self.value.filter(|_| !self.failed))?;
        call.serialize_field("error", &failed.map(errno))?;
        call.end()
    }
}

/// How a tracee, or a trace, has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "how", rename_all = "lowercase")]
pub enum End {
    /// By exit(2).
    Exited {
        /// The exit code.
        code: i32,
    },
    /// By a signal.
    Killed {
        /// Which.
        #[serde(serialize_with = "as_text")]
        signal: Signal,
    },
    /// Another thread's exec took its id.
    Replaced,
    /// It runs on without being traced.
    Detached,
    /// Somebody else took its status.
    Lost,
}

impl End {
    /// The end that a terminal event tells of.
    pub(crate) fn of(event: &Event) -> Option<End> {
        Some(match event {
            Event::Exited(exited) => End::Exited { code: exited.code },
            Event::Killed(killed) => End::Killed {
                signal: killed.signal,
            },
            Event::Replaced(_) => End::Replaced,
            Event::Detached => End::Detached,
            Event::Lost => End::Lost,
            _ => return None,
        })
    }
}

/// What a call is called that is in no table: a program can make any number of them.
pub(crate) const UNNAMED: &str = "unknown";

/// The name of a call: never anything of the tracee's own.
pub(crate) fn name(entry: &SyscallEntry) -> Option<&'static str> {
    // One name is a word of Rust's, which the tables escape.
    entry.name().map(|name| name.trim_start_matches("r#"))
}

pub(crate) fn tid<S: Serializer>(tid: &Tid, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_i32(tid.as_raw())
}

pub(crate) fn maybe_tid<S: Serializer>(tid: &Option<Tid>, out: S) -> Result<S::Ok, S::Error> {
    tid.map(Tid::as_raw).serialize(out)
}

fn as_text<S: Serializer>(signal: &Signal, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(signal)
}

fn errno(value: i64) -> String {
    let number = value.checked_neg().and_then(|n| i32::try_from(n).ok());
    match number.map(|number| (number, Errno::from_raw(number))) {
        Some((_, known)) if known != Errno::UnknownErrno => format!("{known:?}"),
        // The kernel's own, for calls that a signal interrupts, and what is to come.
        _ => format!("errno {}", value.unsigned_abs()),
    }
}

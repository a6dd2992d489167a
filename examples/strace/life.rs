//! The life of one tracee, from its first stop to its end, as lines.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use tracehound::event::{Exited, Killed, Replaced, SyscallExit};
use tracehound::{Arch, Event, SyscallEntry, Tid, Tracee};

use crate::decode::{self, Call, Memory, Return};
use crate::seccomp;
use crate::session::{Alive, Session};

impl Memory for Tracee {
    fn read(&self, address: u64, buf: &mut [u8]) -> usize {
        self.read_memory(address, buf).unwrap_or(0)
    }
}

/// Follows a tracee to its end. The same code runs pinned and in an ordinary task.
pub(crate) async fn watch(mut tracee: Tracee, session: Arc<Session>, alive: Alive) {
    let mut life = Life {
        tid: tracee.tid(),
        session,
        pending: None,
        start: None,
    };
    let filtered = seccomp::has_filter(&tracee);
    while let Some(event) = tracee.next().await {
        let birth = event.birth();
        if let Some(child) = birth.and_then(|birth| tracee.take_child(birth)) {
            life.session.watch_child(child, alive.clone());
        }
        life.see(&event, &tracee).await;
        // Of the start all calls are seen.
        if filtered && life.start.is_none() {
            seccomp::choose_mode(&mut tracee, &event);
        }
    }
}

/// What is known of a tracee.
struct Life {
    session: Arc<Session>,
    tid: Tid,
    pending: Option<Pending>,
    /// Of the process that is to become the command, and has not yet.
    start: Option<Start>,
}

/// The start of the command: an exec, or several, one for each directory of `PATH`.
struct Start {
    /// Why the last exec failed.
    errno: i32,
}

/// A call that has not returned.
struct Pending {
    /// The call as text; `None` if calls are only counted.
    call: Option<Call>,
    entry: SyscallEntry,
    name: Option<&'static str>,
    entered: Instant,
}

impl Life {
    async fn see(&mut self, event: &Event, tracee: &Tracee) {
        // The surviving thread of an exec has taken the leader's id.
        self.tid = tracee.tid();
        match event {
            Event::Started(started) => {
                if let Some(exec) = &started.exec {
                    self.start = Some(Start { errno: 0 });
                    self.enter(exec, tracee);
                }
            }
            Event::Exec(_) => self.start = None,
            Event::SyscallEnter(enter) => self.enter(&enter.call, tracee),
            // In the start its entry was seen, too.
            Event::Seccomp(stop) if !self.has_entered(&stop.call) => {
                self.enter(&stop.call, tracee);
            }
            Event::SyscallExit(exit) => self.exit(exit, tracee).await,
            Event::Signal(stop) => self.line(&format!("--- {} ---", stop.signal)),
            Event::GroupStop(stop) => self.line(&format!("--- stopped by {} ---", stop.signal)),
            terminal if terminal.is_terminal() => self.end(terminal),
            _ => {}
        }
    }

    fn enter(&mut self, entry: &SyscallEntry, tracee: &Tracee) {
        self.abandon();
        let name = decode::name(entry);
        if self.session.filter.shows(name) {
            self.pending = Some(Pending {
                call: (!self.session.counts()).then(|| Call::enter(entry, tracee)),
                entry: *entry,
                name,
                entered: Instant::now(),
            });
        }
    }

    fn has_entered(&self, entry: &SyscallEntry) -> bool {
        let pending = self.pending.as_ref();
        pending.is_some_and(|pending| pending.entry == *entry)
    }

    async fn exit(&mut self, exit: &SyscallExit, tracee: &Tracee) {
        if self.pending.is_none() && exit.call.is_none() {
            // Attached in the middle of a call: its registers tell which.
            if let Some(entry) = call_of_registers(exit, tracee).await {
                self.enter(&entry, tracee);
            }
        }
        let errno = exit.errno();
        if let Some(start) = &mut self.start
            && exit.call.as_ref().and_then(decode::name) == Some("execve")
        {
            start.errno = errno.unwrap_or(0);
        }
        let Some(pending) = self.pending.take() else {
            return;
        };
        if let Some(call) = pending.call {
            let returned = errno.map_or(Return::Value(exit.value), Return::Error);
            self.line(&call.finish(returned, tracee));
        }
        let time = pending.entered.elapsed();
        self.session.count(pending.name, time, errno.is_some());
    }

    fn end(&mut self, event: &Event) {
        self.abandon();
        match event {
            Event::Exited(Exited { code, .. }) => {
                if let Some(start) = self.start.take() {
                    self.session.fail_to_start(start.errno);
                }
                self.line(&format!("+++ exited with {code} +++"));
            }
            Event::Killed(Killed {
                signal,
                core_dumped,
                ..
            }) => {
                let core = if *core_dumped { " (core dumped)" } else { "" };
                self.line(&format!("+++ killed by {signal}{core} +++"));
            }
            Event::Replaced(Replaced { by, .. }) => {
                let by = by.map_or_else(|| "another thread".to_string(), |by| format!("pid {by}"));
                self.line(&format!("+++ superseded by execve in {by} +++"));
            }
            _ => {}
        }
    }

    /// Prints a call that will not be seen to return.
    fn abandon(&mut self) {
        if let Some(call) = self.pending.take().and_then(|pending| pending.call) {
            self.line(&call.unfinished());
        }
    }

    fn line(&self, text: &str) {
        self.session.line(self.tid, text);
    }
}

impl Drop for Life {
    /// The task may be ended from outside, when the tracer is shut down.
    fn drop(&mut self) {
        self.abandon();
    }
}

/// The call whose exit this is, from registers that still hold what it was entered with.
async fn call_of_registers(exit: &SyscallExit, tracee: &Tracee) -> Option<SyscallEntry> {
    if exit.arch != Arch::NATIVE {
        return None;
    }
    let registers = tracee.getregs().await.ok()?;
    let nr = registers.syscall_number();
    // -1: the thread was in no call.
    (nr != u64::MAX).then(|| SyscallEntry {
        arch: exit.arch,
        nr,
        args: registers.syscall_args(),
    })
}

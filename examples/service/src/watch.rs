//! The task of one tracee, on the tracer thread. It waits for nobody, unless a reader has asked
//! for that.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::{AbortRegistration, Abortable};
use tracehound::requests::Options;
use tracehound::{Event, ResumeMode, Signal, SyscallEntry, Tid, Tracee};

use crate::metrics::count;
use crate::now;
use crate::record::{self, Call, End, What};
use crate::trace::Trace;
use crate::tree::Number;

/// What is kept of a name.
const LONGEST: usize = 256;

/// Follows a tracee until its end, or until the task is told to let it go.
pub(crate) async fn watch(mut tracee: Tracee, mut life: Life, aborted: AbortRegistration) {
    let followed = Abortable::new(life.follow(&mut tracee), aborted).await;
    if followed.is_err() {
        // An error: it has ended.
        let _ = match life.signal.take() {
            Some(signal) => tracee.detach_with(signal).await,
            None => tracee.detach().await,
        };
    }
}

/// What is known of a tracee. Dropping it says that its task has ended.
pub(crate) struct Life {
    trace: Arc<Trace>,
    number: u64,
    node: Number,
    /// Not told of yet.
    begin: Option<(u64, What)>,
    tid: Tid,
    pid: Tid,
    /// The call that has not returned, and when it was entered.
    pending: Option<(SyscallEntry, u64)>,
    /// The signal that it is about to get.
    signal: Option<Signal>,
    end: Option<End>,
    /// Another thread goes on under its id, and with its node.
    replaced: bool,
}

impl Life {
    /// The tracee is in the tree from here on: whoever asks next sees it there.
    pub(crate) fn new(
        trace: Arc<Trace>,
        number: u64,
        tracee: &Tracee,
        parent: Option<Tid>,
    ) -> Self {
        let (tid, pid, began) = (tracee.tid(), tracee.tgid(), now());
        let name = match parent {
            Some(_) => name(tid),
            None => program(tid).unwrap_or_else(|| name(tid)),
        };
        let begun = Arc::clone(&name);
        let node = trace.tree(|tree| tree.begin((tid, pid), parent, begun, began));
        Life {
            trace,
            number,
            node,
            begin: Some((began, What::Begin { parent, name })),
            tid,
            pid,
            pending: None,
            signal: None,
            end: None,
            replaced: false,
        }
    }

    async fn follow(&mut self, tracee: &mut Tracee) {
        let filtered = tracee.options().contains(Options::TRACESECCOMP);
        if let Some((began, begin)) = self.begin.take() {
            self.record(began, begin).await;
        }
        while let Some(event) = tracee.next().await {
            let now = now();
            (self.tid, self.pid) = (tracee.tid(), tracee.tgid());
            self.signal = None;
            if let Some(birth) = event.birth()
                && let Some(child) = tracee.take_child(birth)
            {
                self.trace.follow(child, Some(self.pid));
            }
            if filtered {
                choose_mode(tracee, &event);
            }
            self.see(&event, now).await;
        }
    }

    async fn see(&mut self, event: &Event, now: u64) {
        match event {
            Event::SyscallEnter(enter) => self.enter(enter.call, now).await,
            Event::Seccomp(stop) => self.enter(stop.call, now).await,
            Event::SyscallExit(exit) => {
                if let Some((entry, entered)) = self.pending.take() {
                    let call = Call {
                        entry,
                        entered,
                        value: Some(exit.value),
                        failed: exit.is_error,
                    };
                    self.call(call, now).await;
                }
            }
            Event::Signal(stop) => {
                self.signal = Some(stop.signal);
                self.trace.tree(|tree| tree.counts.signals += 1);
                let signal = stop.signal;
                self.record(now, What::Signal { signal }).await;
            }
            Event::GroupStop(stop) => {
                self.set_stopped(true);
                let signal = stop.signal;
                self.record(now, What::Stop { signal }).await;
            }
            Event::Continued => {
                self.set_stopped(false);
                self.record(now, What::Continue).await;
            }
            Event::Exec(exec) => self.exec(exec.former_tid, now).await,
            other => {
                self.end = End::of(other);
                self.replaced = matches!(other, Event::Replaced(replaced) if replaced.by.is_some());
                if self.end.is_some() {
                    self.abandon(now).await;
                }
            }
        }
    }

    async fn enter(&mut self, entry: SyscallEntry, now: u64) {
        self.abandon(now).await;
        if self
            .trace
            .plan
            .shows(record::name(&entry).unwrap_or(record::UNNAMED))
        {
            self.pending = Some((entry, now));
            self.trace.tree(|tree| tree.enter(self.node, &entry));
        }
    }

    /// Tells of a call that will not be seen to return.
    async fn abandon(&mut self, now: u64) {
        if let Some((entry, entered)) = self.pending.take() {
            let call = Call {
                entry,
                entered,
                value: None,
                failed: false,
            };
            self.call(call, now).await;
        }
    }

    async fn call(&mut self, call: Call, now: u64) {
        count(&self.trace.metrics.calls);
        self.trace.tree(|tree| tree.leave(self.node, &call, now));
        self.record(now, What::Call(call)).await;
    }

    async fn exec(&mut self, former: Tid, now: u64) {
        let (tid, node) = (self.tid, self.node);
        let name = program(tid).unwrap_or_else(|| name(tid));
        let became = Arc::clone(&name);
        self.node = self.trace.tree(|tree| {
            let node = match former == tid {
                true => node,
                false => tree.become_leader(node, tid),
            };
            tree.change(node, |node| node.rename(became));
            node
        });
        self.record(now, What::Exec { former, name }).await;
    }

    fn set_stopped(&self, stopped: bool) {
        self.trace
            .tree(|tree| tree.change(self.node, |node| node.set_stopped(stopped)));
    }

    async fn record(&self, time: u64, what: What) {
        self.trace.record(self.tid, self.pid, time, what).await;
    }
}

impl Drop for Life {
    /// The task may be ended from outside, when the tracer is shut down.
    fn drop(&mut self) {
        let end = self.end.unwrap_or(End::Detached);
        if !self.replaced {
            self.trace.tree(|tree| tree.end(self.node, end, now()));
        }
        self.trace.record_end(self.tid, self.pid, end);
        self.trace.leave(self.number, end);
    }
}

/// A call with a filter stops when it is entered; that it stops at its exit, too, is chosen
/// there. What was born in such a call begins with its exit.
fn choose_mode(tracee: &mut Tracee, event: &Event) {
    match event {
        Event::Seccomp(_) => tracee.set_resume_mode(ResumeMode::Syscall),
        Event::SyscallExit(_) => tracee.set_resume_mode(ResumeMode::Cont),
        _ => {}
    }
}

/// The name of a thread: any bytes that it likes, made text.
fn name(tid: Tid) -> Arc<str> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{tid}/comm")) {
        // What was read before an error is the name's beginning.
        let _ = file.take(LONGEST as u64).read_to_end(&mut bytes);
    }
    let name = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    String::from_utf8_lossy(name).into()
}

/// The file of a thread's program. Not its arguments: they are in its own memory, where a read
/// can block.
fn program(tid: Tid) -> Option<Arc<str>> {
    let path = std::fs::read_link(format!("/proc/{tid}/exe")).ok()?;
    let text: String = path.to_string_lossy().chars().take(LONGEST).collect();
    Some(text.into())
}

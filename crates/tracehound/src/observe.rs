//! What a subscriber of the `tracing` crate sees of a tracee: a span for its life, in which its
//! pinned tasks run, and an event for each stop, resume and end.
//!
//! Whether anybody wants the spans is asked when the tracee comes to be. If nobody does there is
//! none, and each stop costs the test of a pointer. A span for every tracee all the same was
//! rejected: it would be 40 bytes more for each of ten thousand that nobody looks at.
//!
//! Measured against a build without all this and without [metrics](crate::Metrics), nobody
//! listening: some 55 instructions more of 2,380 for each stop (median of five runs each), and the
//! time of a stop 0.5 % longer (4.24 and 4.22 µs, medians of eight runs in turn, which differ by
//! more than that among themselves; one CPU for all, Linux 6.18, a busy machine).
//! `cargo bench --bench instructions` counts the instructions again, and fails if they are more
//! than forty in code that is for observing.

use tracehound_sys::wait::StopKind;
use tracehound_sys::{Tid, proc};
use tracing::{Span, debug_span, field, trace};

use crate::event::Event;
use crate::slot::Action;

/// The span of a tracee, if somebody wants it.
#[derive(Debug)]
pub(crate) struct Observed(Option<Box<Span>>);

impl Observed {
    /// On the tracer thread.
    pub(crate) fn new(tid: Tid) -> Self {
        let span = debug_span!(
            target: "tracehound",
            "tracee",
            %tid,
            tgid = field::Empty,
            program = field::Empty
        );
        if span.is_none() {
            return Observed(None);
        }
        if let Ok(status) = proc::status(tid) {
            span.record("tgid", field::display(status.tgid));
        }
        let observed = Observed(Some(Box::new(span)));
        observed.note_program(tid);
        observed
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn span(&self) -> Span {
        match &self.0 {
            Some(span) => Span::clone(span),
            None => Span::none(),
        }
    }

    /// Its name is the program's, until the program changes that.
    fn note_program(&self, tid: Tid) {
        if let Some(span) = &self.0
            && let Ok(name) = proc::comm(tid)
        {
            // Any bytes: escaped.
            span.record("program", field::debug(name));
        }
    }

    /// It runs another program, under this id.
    pub(crate) fn exec(&self, tid: Tid) {
        if let Some(span) = &self.0 {
            span.record("tid", field::display(tid));
            span.record("tgid", field::display(tid));
            self.note_program(tid);
        }
    }

    pub(crate) fn stop(&self, kind: StopKind) {
        if let Some(span) = &self.0 {
            trace!(target: "tracehound", parent: &**span, ?kind, "stop");
        }
    }

    pub(crate) fn resume(&self, action: Action) {
        if let Some(span) = &self.0 {
            trace!(target: "tracehound", parent: &**span, ?action, "resume");
        }
    }

    pub(crate) fn end(&self, event: &Event) {
        if let Some(span) = &self.0 {
            trace!(target: "tracehound", parent: &**span, ?event, "end");
        }
    }
}

//! The handle of one traced thread: a stream of events, and requests.
//!
//! The same handle works anywhere. On its tracer thread a request is a plain system call;
//! elsewhere it is queued, and a resume needs no reply. What a tracee may be asked, and
//! when, is decided by its slot's state, never by an error number.

mod chunks;
mod debug;
mod events;
pub(crate) mod memory;
mod options;
mod pinned;
mod registers;
mod requests;
mod seccomp;
mod signals;
mod syscalls;
mod words;

use std::fmt;
use std::sync::Arc;

use tracehound_sys::Tid;
use tracehound_sys::ptrace::ResumeKind;

use crate::control::Control;
use crate::event::Birth;
use crate::pace::Patience;
use crate::slot::{Phase, Slot};
use crate::tracer::Handles;

pub use pinned::{Panic, PinnedError, PinnedTask};

/// One traced thread.
///
/// A [`Stream`](futures_core::Stream) of [`Event`](crate::Event)s that ends with exactly
/// one terminal event. Between a stop's event and its resume the tracee is *held* and takes
/// requests. *Asking for the next event resumes it*, at the first poll, in its
/// [resume mode](Tracee::set_resume_mode), delivering the signal of a signal-delivery-stop
/// and listening in a group-stop. So this is a complete, transparent tracer:
///
/// ```
/// # use futures::StreamExt;
/// # async fn transparent(mut tracee: tracehound::Tracee) {
/// while let Some(_event) = tracee.next().await {}
/// # }
/// ```
///
/// # Cancel safety
///
/// No event is lost with a `next` that is dropped before it is ready. If it was polled, the
/// resume that it began with is made all the same.
///
/// # Dropping
///
/// Dropping the handle detaches the thread, which runs on untraced; a signal or group-stop
/// that it was held in takes effect. Or it kills the process, if the tracer was
/// [told to](crate::TracerBuilder::let_go). One that has a
/// [filter](crate::Command::trace_syscalls) is killed instead, unless
/// [told otherwise](crate::Command::unwatched).
pub struct Tracee {
    slot: Arc<Slot>,
    /// Whether waiting for an event begins by looking.
    patience: Patience,
    owner: Owner,
    // The tracer lives as long as somebody has a tracee.
    _handles: Arc<Handles>,
}

/// Whose a handle is, and so what its drop means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The tracee is let go.
    User,
    /// Nobody has got it yet: the tracee is detached.
    Runtime,
    /// Another handle owns the attachment: nothing.
    Borrower,
}

impl Tracee {
    /// A handle, unless the tracer is ending. There is one for each slot. Dropping it detaches,
    /// until it is [handed out](Tracee::handed_out).
    pub(crate) fn new(slot: Arc<Slot>) -> Option<Tracee> {
        let handles = slot.shard.handles()?;
        Some(Tracee {
            slot,
            patience: Patience::default(),
            owner: Owner::Runtime,
            _handles: handles,
        })
    }

    /// The handle, as its user gets it.
    pub(crate) fn handed_out(mut self) -> Tracee {
        self.owner = Owner::User;
        self
    }

    /// The handle of one that nobody got.
    pub(crate) fn disowned(mut self) -> Tracee {
        self.owner = Owner::Runtime;
        self
    }

    /// A second handle, for as long as this one is borrowed. Dropping it does nothing.
    fn lend(&mut self) -> Tracee {
        Tracee {
            slot: Arc::clone(&self.slot),
            patience: Patience::default(),
            owner: Owner::Borrower,
            _handles: Arc::clone(&self._handles),
        }
    }

    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// The thread's id. An exec by a thread other than the leader changes it to the
    /// process's: the event says so.
    pub fn tid(&self) -> Tid {
        self.slot.tid()
    }

    /// The id of its process.
    pub fn tgid(&self) -> Tid {
        self.slot.tgid()
    }

    /// The span of this tracee's life, for a subscriber of the `tracing` crate: `tracee`, at the
    /// level DEBUG, with its `tid`, `tgid` and `program`. Its stops, resumes and end are events in
    /// it, at the level TRACE, and what is pinned to its tracer thread runs in it. A task elsewhere
    /// enters it with `instrument`.
    ///
    /// It is disabled if nobody wanted it when the tracee came to be. It then costs, with
    /// the [metrics](crate::Metrics), under 1 % of a stop's time: some 55 instructions
    /// (`cargo bench --bench instructions`).
    pub fn span(&self) -> tracing::Span {
        self.slot.observed.span()
    }

    /// A handle for other tasks: to interrupt, to kill, to read memory.
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.slot))
    }

    /// How asking for the next event resumes this tracee from now on. Inherited by
    /// tracees that it makes. A mode that the architecture lacks resumes by `PTRACE_CONT`.
    pub fn set_resume_mode(&mut self, mode: ResumeKind) {
        if let Ok(mut state) = self.slot.lock_here() {
            state.mode = mode;
        }
    }

    /// How asking for the next event resumes this tracee.
    pub fn resume_mode(&self) -> ResumeKind {
        match self.slot.lock_here() {
            Ok(state) => state.mode,
            Err(_) => ResumeKind::Cont,
        }
    }

    /// The handle of the tracee born in this event, once. `None` if it was taken, if the
    /// logic of [`Tracer::trace`](crate::Tracer::trace) has it, or if it is not followed.
    ///
    /// A child that is not taken is let go when its parent is resumed, as if its handle had
    /// been dropped; and detached with its parent. Where the parent has been killed since, it is
    /// let go when the parent's end is handed out.
    pub fn take_child(&mut self, birth: &Birth) -> Option<Tracee> {
        self.take_birth(|child| child.tid() == birth.child)
    }

    /// The child whose birth was not handed out, if it is a thread of this process.
    pub(crate) fn take_unborn_thread(&mut self, process: Tid) -> Option<Tracee> {
        self.take_birth(|child| child.tgid() == process)
    }

    /// [`take_child`](Tracee::take_child), if the child is a thread of this process.
    pub(crate) fn take_thread(&mut self, birth: &Birth, process: Tid) -> Option<Tracee> {
        self.take_birth(|child| child.tid() == birth.child && child.tgid() == process)
    }

    fn take_birth(&self, is_wanted: impl FnOnce(&mut Tracee) -> bool) -> Option<Tracee> {
        let mut state = self.slot.lock_here().ok()?;
        let child = state.birth.take_if(|child| is_wanted(child))?;
        drop(state);
        child.slot.lock().untaken = false;
        Some(*child)
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        let Ok(mut state) = self.slot.lock_here() else {
            return;
        };
        let owner = self.owner;
        if owner == Owner::Borrower {
            return;
        }
        let ended = matches!(state.phase, Phase::Ended(_));
        let untaken = state.birth.take_if(|_| ended);
        drop(state);
        drop(untaken);
        if ended {
            return;
        }
        let slot = Arc::clone(&self.slot);
        // An error: the tracer has ended, or this is a forked child.
        let _ = self.slot.shard.run(move |local| match owner {
            Owner::User => local.release(&slot),
            _ => local.detach(&slot),
        });
    }
}

impl fmt::Debug for Tracee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Tracee");
        out.field("tid", &self.slot.tid());
        if let Ok(state) = self.slot.lock_here() {
            out.field("phase", &state.phase)
                .field("held", &state.held)
                .field("resume_mode", &state.mode);
        }
        out.finish_non_exhaustive()
    }
}

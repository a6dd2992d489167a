//! The state of one tracee, shared by its handles and its tracer thread.
//!
//! Delivery is a slot, not a queue: a tracee has at most one stop that was not handed
//! out, and a later one (the exit stop, the death) supersedes it. So memory is bounded
//! by the number of tracees, and a consumer that never comes costs one stopped tracee.
//!
//! The tracer thread records reports and carries out requests; handles take events and
//! ask. Both do so under the slot's lock, which is held for no longer than a few
//! assignments or one ptrace request, and is uncontended where the logic runs on the
//! tracer thread. A serial number, raised at each stop, tells a request that was queued
//! for an earlier stop from one for the present stop.
//!
//! Nothing is inferred from `ESRCH` alone. Where it answers a request to a tracee that
//! is known to be stopped, the tracee was killed, and the report of that will follow;
//! until then the slot says so.
//!
//! `models` checks this file with loom, together with the stream ([`crate::tracee`]) and what
//! stops and releases a thread ([`crate::shard`]).

mod prefetch;
mod state;

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use tracehound_sys::ptrace::{Options, ResumeKind, SyscallEntry};
use tracehound_sys::{Errno, Signal, Tid, proc, ptrace};

use crate::error::{Error, Result};
use crate::event::Event;
use crate::filter::FilterRule;
use crate::limit::Seat;
use crate::observe::Observed;
use crate::shard::{self, Place, Shard};
use crate::sync::{Mutex, MutexGuard};
use crate::tracee::Tracee;

pub(crate) use prefetch::Prefetch;

/// What distinguishes stops as far as resuming goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopClass {
    /// A signal-delivery-stop: the only one in which a signal can be given.
    Signal(Signal),
    /// A group-stop.
    Group,
    /// The exit stop.
    Exit,
    /// Any other.
    Other,
}

/// Where a tracee is, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It runs, or its next stop has not been reported.
    Running,
    /// It stays in a group-stop until that ends.
    Listening,
    /// It is in a stop.
    Stopped(StopClass),
    /// It was killed in a stop; its death will be reported.
    Dying,
    /// It has ended for the tracer.
    Ended(End),
}

/// How a tracee ended for its tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Dead and reaped, or replaced.
    Dead,
    /// Detached on request.
    Detached,
    /// Detached since the tracer was shut down.
    Shutdown,
}

/// What resumes a tracee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A resuming request, with a signal to deliver.
    Resume(ResumeKind, Option<Signal>),
    /// `PTRACE_LISTEN`.
    Listen,
}

/// Whether a `PTRACE_INTERRUPT` is still to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// There is none.
    None,
    /// It was made, and no stop has been reported since. A second one would give a second
    /// stop if the tracee has already stopped for the first.
    Asked,
    /// Another stop was reported since. If that came after the request, it was the answer;
    /// if before, the answer is still to come.
    Doubtful,
}

/// What becomes of a stop that was recorded.
pub(crate) enum Recorded {
    /// It waits for its consumer.
    Delivered,
    /// The tracee is to be detached from it.
    ToDetach(StopClass),
}

/// The part of a slot that changes.
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// The stop was handed out, or is the first one: requests are allowed.
    pub(crate) held: bool,
    /// Not handed out yet.
    pub(crate) event: Option<Event>,
    /// Raised at each stop and end.
    pub(crate) serial: u32,
    pub(crate) waker: Option<Waker>,
    /// How asking for the next event resumes.
    pub(crate) mode: ResumeKind,
    /// How it was resumed last.
    pub(crate) resumed: ResumeKind,
    /// The resume that the phase speaks of is still in the queue.
    pub(crate) queued: bool,
    /// The system call that was entered and not left.
    pub(crate) call: Option<SyscallEntry>,
    /// The child of a birth event, until it is taken.
    pub(crate) birth: Option<Box<Tracee>>,
    /// Nobody has its handle: it is with its parent's birth event.
    pub(crate) untaken: bool,
    /// Its first stop was seen.
    pub(crate) started: bool,
    /// A group-stop was reported, and its end was not.
    pub(crate) group_stopped: bool,
    /// It was resumed for a single step whose `SIGTRAP` has not been reported.
    pub(crate) stepping: bool,
    /// There were breakpoints in its debug registers, or may have been. Some may be there
    /// still, and the `SIGTRAP` of one may not have been reported.
    pub(crate) hardware: bool,
    /// A second answer to one interrupt may come; nobody waits for it.
    pub(crate) leftover: bool,
    /// It was made to run in spite of a group-stop, in which an interrupt is answered by
    /// another report of that.
    pub(crate) defies_group_stop: bool,
    /// The registers, if they are read at each stop.
    pub(crate) prefetch: Prefetch,
    /// What is known of a `PTRACE_INTERRUPT`.
    pub(crate) interrupt: Interrupt,
    /// It was interrupted only to be resumed in its mode; nobody is told.
    pub(crate) enter_mode: bool,
    /// Every thread of its process is to be stopped: nothing resumes it implicitly.
    pub(crate) stop_all: bool,
    /// The interrupt was made for that alone; nobody is told of its stop.
    pub(crate) quiet: bool,
    /// It is in a stop that nobody is told of.
    pub(crate) parked: bool,
    /// To be detached at the next stop.
    pub(crate) detach: bool,
    /// Whether anybody is told of its stops.
    pub(crate) watch: Watch,
    /// Its place among as many as there may be.
    pub(crate) seat: Option<Seat>,
}

/// Whether anybody is told of a tracee's stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// Its handle is.
    Watched,
    /// It was killed: its death is told, and it is let through each stop that comes before.
    Doomed,
    /// Nobody is: it has a filter, and is let through each stop until its end.
    Passed,
}

/// What new tracees get from the one that made them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heritage {
    pub(crate) mode: ResumeKind,
    pub(crate) prefetch: bool,
    pub(crate) options: Options,
    pub(crate) tree: Option<u64>,
    /// It has a seccomp filter.
    pub(crate) rule: Option<FilterRule>,
}

pub(crate) struct Slot {
    tid: AtomicI32,
    /// Zero until it was asked for.
    tgid: AtomicI32,
    /// Zero, or the process or its ancestor by clone(2): the threads of one process have the
    /// same.
    clan: AtomicI32,
    options: AtomicU32,
    /// The tree of [`Tracer::trace`](crate::Tracer::trace) that it belongs to.
    pub(crate) tree: Option<u64>,
    /// What holds for it if it has a seccomp filter.
    pub(crate) rule: Option<FilterRule>,
    pub(crate) shard: Arc<Shard>,
    pub(crate) place: Place,
    pub(crate) observed: Observed,
    state: Mutex<State>,
}

impl Slot {
    /// A tracee whose first stop has not been seen.
    pub(crate) fn new(shard: Arc<Shard>, tid: Tid, heritage: Heritage) -> Arc<Self> {
        Arc::new(Slot {
            tid: AtomicI32::new(tid.as_raw()),
            tgid: AtomicI32::new(0),
            clan: AtomicI32::new(0),
            options: AtomicU32::new(heritage.options.bits()),
            tree: heritage.tree,
            rule: heritage.rule,
            shard,
            place: Place::default(),
            observed: Observed::new(tid),
            state: Mutex::new(State {
                phase: Phase::Running,
                held: false,
                event: None,
                serial: 0,
                waker: None,
                mode: heritage.mode,
                resumed: ResumeKind::Cont,
                queued: false,
                call: None,
                birth: None,
                untaken: false,
                started: false,
                group_stopped: false,
                stepping: false,
                hardware: false,
                leftover: false,
                defies_group_stop: false,
                prefetch: Prefetch::new(heritage.prefetch),
                interrupt: Interrupt::None,
                enter_mode: false,
                stop_all: false,
                quiet: false,
                parked: false,
                detach: false,
                watch: Watch::Watched,
                seat: None,
            }),
        })
    }

    /// The state, for those who run in the process that the tracer belongs to: its own
    /// threads, and a handle that has asked.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, for a handle. A forked child does not even try the lock: whoever held it
    /// at the fork is not there to let go of it.
    pub(crate) fn lock_here(&self) -> Result<MutexGuard<'_, State>> {
        if self.shard.is_forked() {
            return Err(Error::Forked);
        }
        Ok(self.lock())
    }

    pub(crate) fn tid(&self) -> Tid {
        Tid::from_raw(self.tid.load(Ordering::Relaxed))
    }

    /// An exec gave the thread its leader's id.
    pub(crate) fn set_tid(&self, tid: Tid) {
        self.tid.store(tid.as_raw(), Ordering::Relaxed);
        self.set_tgid(tid);
    }

    pub(crate) fn set_tgid(&self, tgid: Tid) {
        self.tgid.store(tgid.as_raw(), Ordering::Relaxed);
    }

    /// The process. Read from `/proc` when first asked for: a clone event does not say
    /// whether the child is a thread.
    pub(crate) fn tgid(&self) -> Tid {
        match self.tgid.load(Ordering::Relaxed) {
            0 => match proc::status(self.tid()) {
                Ok(status) => {
                    self.set_tgid(status.tgid);
                    status.tgid
                }
                Err(_) => self.tid(),
            },
            known => Tid::from_raw(known),
        }
    }

    /// The process, if it was asked for before.
    pub(crate) fn known_tgid(&self) -> Option<Tid> {
        let raw = self.tgid.load(Ordering::Relaxed);
        (raw != 0).then(|| Tid::from_raw(raw))
    }

    /// The clan that the thread was born into, or else its process, as far as that is known.
    pub(crate) fn clan(&self) -> Tid {
        match self.clan.load(Ordering::Relaxed) {
            0 => self.known_tgid().unwrap_or(self.tid()),
            known => Tid::from_raw(known),
        }
    }

    /// Born by clone(2), in a thread of this clan. Before it is entered in a table.
    pub(crate) fn set_clan(&self, clan: Tid) {
        self.clan.store(clan.as_raw(), Ordering::Relaxed);
    }

    pub(crate) fn heritage(&self) -> Heritage {
        let (mode, prefetch) = {
            let state = self.lock();
            (state.mode, state.prefetch.is_wanted())
        };
        Heritage {
            mode,
            prefetch,
            options: self.options(),
            tree: self.tree,
            rule: self.rule,
        }
    }

    /// Records a stop and wakes whoever waits for it, unless the tracee is to be
    /// detached, which is then the caller's business.
    #[must_use]
    pub(crate) fn record(
        self: &Arc<Self>,
        describe: impl FnOnce(&mut State) -> (StopClass, Event),
    ) -> Recorded {
        let mut state = self.lock();
        let (class, event) = describe(&mut state);
        if state.interrupt == Interrupt::Asked {
            state.interrupt = Interrupt::Doubtful;
        }
        if std::mem::take(&mut state.quiet) {
            // It has stopped, which is all that was wanted.
            state.leftover |= state.interrupt != Interrupt::None;
            state.interrupt = Interrupt::None;
        }
        // The same: it is resumed in its mode from here.
        state.leftover |= std::mem::take(&mut state.enter_mode);
        state.serial = state.serial.wrapping_add(1);
        state.phase = Phase::Stopped(class);
        state.parked = false;
        if state.watch != Watch::Watched {
            self.pass_locked(&mut state);
            return Recorded::Delivered;
        }
        if state.detach {
            // Nobody is told of this stop: not even who looks before it is detached.
            state.held = false;
            state.event = None;
            return Recorded::ToDetach(class);
        }
        state.held = matches!(event, Event::Started(_));
        state.event = Some(event);
        state.prefetch.read(self.tid());
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Recorded::Delivered
    }

    /// Records the end. Whatever was not handed out is superseded; a child whose birth was may
    /// still be taken from one that is dead.
    pub(crate) fn end(&self, end: End, event: Event) {
        if self.observed.is_wanted() && !matches!(self.lock().phase, Phase::Ended(_)) {
            // Before anybody is told, and not with the lock: this is foreign code.
            self.observed.end(&event);
        }
        let mut state = self.lock();
        if matches!(state.phase, Phase::Ended(_)) {
            return;
        }
        state.serial = state.serial.wrapping_add(1);
        // Its handle may be gone, or be about to go, and others hold the slot.
        let is_let_go = state.detach || state.watch != Watch::Watched;
        let keeps_birth = end == End::Dead && state.event.is_none() && !is_let_go;
        state.phase = Phase::Ended(end);
        state.held = false;
        state.event = Some(event);
        let birth = state.birth.take_if(|_| !keeps_birth);
        let waker = state.waker.take();
        drop(state.seat.take());
        drop(state);
        match end {
            End::Dead => drop(birth),
            End::Detached | End::Shutdown => drop(birth.map(|child| child.disowned())),
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Resumes the tracee if it is still in the stop with this serial number. On the
    /// tracer thread only.
    pub(crate) fn resume_now(self: &Arc<Self>, serial: u32, action: Action) {
        let mut state = self.lock();
        state.queued = false;
        if state.serial != serial || matches!(state.phase, Phase::Ended(_)) {
            return;
        }
        state.resumed(action);
        // Where there is one CPU, the tracee runs before the request returns. Whoever looks for
        // its event meanwhile should not sleep for the lock.
        drop(state);
        let result = self.request_resume(action);
        if result.is_err() {
            self.lock().not_resumed(self.tid(), action, result);
        }
    }

    /// Resumes with the slot locked. On the tracer thread only.
    pub(crate) fn resume_locked(self: &Arc<Self>, state: &mut State, action: Action) {
        let result = self.request_resume(action);
        state.resumed(action);
        state.not_resumed(self.tid(), action, result);
    }

    fn request_resume(self: &Arc<Self>, action: Action) -> tracehound_sys::Result<()> {
        self.enter_rotation();
        self.shard.counters().resumes.add_one();
        self.observed.resume(action);
        match action {
            Action::Listen => ptrace::listen(self.tid()),
            Action::Resume(how, signal) => ptrace::resume(self.tid(), how, signal),
        }
    }

    /// It may stop soon. On the tracer thread only.
    pub(crate) fn enter_rotation(self: &Arc<Self>) {
        self.place.renew();
        if !self.place.is_hot() {
            shard::rotate_in(self);
        }
    }

    /// Makes a request of a held tracee. On the tracer thread only.
    pub(crate) fn request_now<R>(
        &self,
        f: impl FnOnce(Tid) -> tracehound_sys::Result<R>,
        explain: impl FnOnce(Tid, Errno) -> Error,
    ) -> Result<R> {
        let mut state = self.lock();
        let tid = self.tid();
        state.check_held(tid)?;
        self.shard.counters().requests.add_one();
        f(tid).map_err(|errno| match errno {
            Errno::ESRCH => {
                state.phase = Phase::Dying;
                state.held = false;
                Error::Gone(tid)
            }
            errno => explain(tid, errno),
        })
    }

    /// The options that it is traced with.
    pub(crate) fn options(&self) -> Options {
        Options::from_bits_retain(self.options.load(Ordering::Relaxed))
    }

    /// Notes that the options have been changed.
    pub(crate) fn set_options(&self, options: Options) {
        self.options.store(options.bits(), Ordering::Relaxed);
    }
}

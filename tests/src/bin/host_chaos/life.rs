//! The model: what one tracee may report, and how its requests may be answered, after what was
//! asked of it.
//!
//! It knows what was asked for and what was handed out, and nothing of what the kernel does
//! meanwhile. So it says what is *legal*; that something comes at all is checked by waiting for
//! it at the end of a case.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tracehound::{Error, Event, Follow, ResumeMode, Signal, SyscallEntry, Sysno, Tid};

use crate::filter::{BIRTHS, EXECS, Filter};

/// What has been done to a program and all that comes of it.
#[derive(Debug, Default)]
pub(crate) struct Deeds {
    /// The signals that may have been sent, a bit each.
    signals: AtomicU64,
    /// A call was not made: what the program does then is its own affair.
    confused: AtomicBool,
    killed: AtomicBool,
}

impl Deeds {
    pub(crate) fn sent(&self, signal: Signal) {
        self.signals.fetch_or(bit(signal), Ordering::SeqCst);
    }

    fn may_get(&self, signal: Signal) -> bool {
        signal == Signal::SIGCHLD || self.signals.load(Ordering::SeqCst) & bit(signal) != 0
    }

    pub(crate) fn confuse(&self) {
        self.confused.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_confused(&self) -> bool {
        self.confused.load(Ordering::SeqCst)
    }

    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Whether a process may die of this.
    pub(crate) fn may_die_of(&self, signal: Signal) -> bool {
        // A thread dies of SIGKILL when another one ends the process, or becomes it.
        signal == Signal::SIGKILL || self.may_get(signal) || self.is_confused()
    }
}

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1).clamp(0, 63)
}

/// Whether it takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// The first stop, perhaps not handed out.
    First,
    Held,
    Running,
    /// It was told to stop for a request that may still be under way, or was let go of.
    Unsure,
    Ended,
}

/// The stop that was handed out last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Signal,
    Group,
    Exit,
    Other,
}

/// Whether it is in a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// In its own code, as far as a stop shows.
    Outside,
    /// It entered this one.
    Inside(u64),
    /// It is in this one, and its filter's stop is over.
    Judged(u64),
    Unknown,
}

/// How a tracee came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Spawned,
    Born,
    Attached,
}

/// Which kinds of resume the next stop may come of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kinds(u8);

impl Kinds {
    fn of(mode: ResumeMode) -> Self {
        Kinds(match mode {
            ResumeMode::Cont => 1,
            ResumeMode::Syscall => 2,
            ResumeMode::Step | ResumeMode::Block => 4,
            ResumeMode::Sysemu => 8,
            ResumeMode::SysemuStep => 16,
            other => panic!("{other:?} is not in the model"),
        })
    }

    fn has_any(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    fn is_syscall_alone(self) -> bool {
        self.0 == 2
    }
}

/// How many of its last happenings are told when something is wrong.
const TOLD: usize = 40;

/// One tracee's life.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) tid: Tid,
    pub(crate) deeds: Arc<Deeds>,
    exit_stops: bool,
    filter: Option<Arc<Filter>>,
    /// Whether its first stop is over; nothing where that is not known.
    began: Option<bool>,
    hold: Hold,
    /// Nothing resumes it but a request of its own.
    frozen: bool,
    /// Events may have been taken and lost with who took them.
    lossy: bool,
    /// What its next event tells the birth of may be with its process already.
    joined: bool,
    stop: Stop,
    kinds: Kinds,
    call: Call,
    /// A single step has not been reported.
    stepping: bool,
    /// An interrupt may still be answered.
    interrupted: bool,
    /// How many interrupts were dropped and may still come.
    late: u32,
    /// It was asked to be detached.
    let_go: bool,
    /// What came last.
    end: Option<Event>,
    happenings: VecDeque<String>,
}

/// Fails the case.
macro_rules! illegal {
    ($life:expr, $($what:tt)*) => {
        panic!("illegal: {}\n{:#?}", format!($($what)*), $life)
    };
}

impl Life {
    pub(crate) fn new(tid: Tid, origin: Origin, deeds: &Arc<Deeds>, exit_stops: bool) -> Self {
        let attached = origin == Origin::Attached;
        Life {
            tid,
            deeds: Arc::clone(deeds),
            exit_stops,
            filter: None,
            began: Some(attached),
            hold: if attached { Hold::Running } else { Hold::First },
            frozen: false,
            lossy: false,
            joined: false,
            stop: Stop::Other,
            kinds: Kinds::of(ResumeMode::Cont),
            // The execve that a spawned one is in is left first.
            call: match origin {
                Origin::Born => Call::Outside,
                Origin::Spawned | Origin::Attached => Call::Unknown,
            },
            stepping: false,
            interrupted: false,
            late: 0,
            let_go: false,
            end: None,
            happenings: VecDeque::new(),
        }
    }

    /// One of which nothing is known yet.
    pub(crate) fn unknown(tid: Tid, deeds: &Arc<Deeds>, exit_stops: bool) -> Self {
        let mut life = Life::new(tid, Origin::Attached, deeds, exit_stops);
        life.began = None;
        life.lossy = true;
        life.hold = Hold::Unsure;
        life.kinds = Kinds(u8::MAX);
        life.stepping = true;
        life
    }

    /// One with this filter.
    pub(crate) fn filtered(self, filter: Option<Filter>) -> Self {
        let filter = filter.map(Arc::new);
        Life { filter, ..self }
    }

    /// A child of this one, with the same filter.
    pub(crate) fn child(&self, tid: Tid) -> Self {
        let filter = self.filter.clone();
        let child = Life::new(tid, Origin::Born, &self.deeds, self.exit_stops);
        Life { filter, ..child }
    }

    pub(crate) fn note(&mut self, what: impl Debug) {
        if self.happenings.len() == TOLD {
            self.happenings.pop_front();
        }
        self.happenings.push_back(format!("{what:?}"));
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.hold == Hold::Ended
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen
    }

    pub(crate) fn is_lossy(&self) -> bool {
        self.lossy
    }

    pub(crate) fn end(&self) -> Option<&Event> {
        self.end.as_ref()
    }

    /// It was attached in another mode than `Cont`, for which it is interrupted.
    pub(crate) fn enters(&mut self, mode: ResumeMode) {
        self.kinds.0 |= Kinds::of(mode).0;
        self.stepping |= self.kinds.has_any(4 | 16);
        if self.kinds.has_any(8 | 16) {
            self.deeds.confuse();
        }
    }

    /// Its next event is asked for, in this resume mode, and the future polled at least once.
    pub(crate) fn asked(&mut self, mode: ResumeMode) {
        match self.hold {
            Hold::Held if self.stop == Stop::Group => self.listens(),
            Hold::Held => self.resumed(mode),
            Hold::Unsure => self.enters(mode),
            _ => {}
        }
    }

    /// That was asked of its process, which gave another thread's event: perhaps before it came to
    /// this one.
    pub(crate) fn passed_over(&mut self) {
        if self.hold == Hold::Running {
            self.hold = Hold::Unsure;
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.hold == Hold::Held
    }

    pub(crate) fn listens(&mut self) {
        self.hold = Hold::Running;
        self.kinds = Kinds(0);
    }

    pub(crate) fn resumed(&mut self, mode: ResumeMode) {
        self.note(format!("resumed: {mode:?}"));
        match self.hold {
            // Its first stop is not told any more.
            Hold::First => self.began = Some(true),
            Hold::Unsure => {
                self.began = self.began.filter(|began| *began);
                self.enters(mode);
                if mode != ResumeMode::Syscall && self.call != Call::Outside {
                    self.call = Call::Unknown;
                }
                return;
            }
            _ => {}
        }
        self.hold = if self.frozen {
            Hold::Unsure
        } else {
            Hold::Running
        };
        let syscall = mode == ResumeMode::Syscall;
        if !syscall && self.call != Call::Outside {
            self.call = Call::Unknown;
        }
        self.kinds = Kinds::of(mode);
        self.stepping |= self.kinds.has_any(4 | 16);
        if self.kinds.has_any(8 | 16) {
            self.deeds.confuse();
        }
    }

    /// An interrupt was made. The next answer is that to all of these.
    pub(crate) fn interrupted(&mut self) {
        self.note("interrupted");
        if !matches!(self.hold, Hold::Held | Hold::Ended) {
            self.interrupted = true;
        }
    }

    /// An interrupt is under way, and may come to it whatever is done meanwhile: it has an answer
    /// of its own.
    pub(crate) fn interrupted_later(&mut self) {
        self.note("an interrupt is dropped");
        self.late += 1;
    }

    /// A request may have stopped it, or made it run, and nobody knows.
    pub(crate) fn unsure(&mut self) {
        if self.hold != Hold::Ended {
            self.hold = Hold::Unsure;
            self.call = Call::Unknown;
        }
    }

    /// Every thread of its process was told to stop, or to go on.
    pub(crate) fn freeze(&mut self, frozen: bool) {
        self.note(format!("frozen: {frozen}"));
        self.frozen = frozen;
        self.joined |= frozen;
        self.unsure();
    }

    /// Events of it may be lost.
    pub(crate) fn loses(&mut self) {
        self.note("events may be lost");
        self.lossy = true;
        self.began = None;
        self.stepping = true;
        self.kinds = Kinds(u8::MAX);
        self.unsure();
    }

    /// It was, or may have been, detached.
    pub(crate) fn detached(&mut self, done: bool) {
        if done && self.is_never_detached() {
            illegal!(self, "detached, with a filter");
        }
        self.letting_go();
    }

    /// Whether it has a filter, and is killed rather than left alone.
    fn is_never_detached(&self) -> bool {
        self.filter.as_ref().is_some_and(|filter| filter.kills())
    }

    pub(crate) fn letting_go(&mut self) {
        self.note("detach");
        self.let_go = true;
        self.unsure();
    }

    /// A request that needs a held tracee was made.
    pub(crate) fn granted(&mut self, what: &str) {
        if matches!(self.hold, Hold::Running | Hold::Ended) {
            illegal!(self, "{what} was granted");
        }
    }

    /// A request was refused; `signal` says that it was to deliver one.
    pub(crate) fn refused(&mut self, what: &str, error: &Error, signal: bool, shut: bool) {
        self.note(format!("{what}: {error}"));
        let legal = match error {
            // A shutdown kills it, or takes the trap of its last step first: then it runs.
            Error::Running(_) if shut => !self.has_ended(),
            Error::Running(_) => self.hold != Hold::Held && self.hold != Hold::Ended,
            Error::Gone(_) => !self.is_detached() || self.lossy,
            Error::Detached(_) => self.is_detached() || self.let_go && !self.has_ended(),
            Error::Shutdown => shut,
            Error::Filtered(_) => what == "detach" && self.is_never_detached(),
            Error::NotASignalStop { .. } => {
                signal && !(self.hold == Hold::Held && self.stop == Stop::Signal)
            }
            Error::WrongStop { .. } => !(self.hold == Hold::Held && self.stop == Stop::Group),
            _ => false,
        };
        if !legal {
            illegal!(self, "{what}: {error:?}");
        }
    }

    pub(crate) fn is_let_go(&self) -> bool {
        self.let_go
    }

    /// Whether the child that is told of next may not be there to be taken.
    pub(crate) fn may_miss_child(&mut self) -> bool {
        std::mem::take(&mut self.joined) || self.let_go
    }

    fn is_detached(&self) -> bool {
        matches!(self.end, Some(Event::Detached))
    }

    /// The stream has nothing more.
    pub(crate) fn nothing(&mut self, shut: bool) {
        if self.hold != Hold::Ended && !shut && !self.lossy {
            illegal!(self, "the stream ended without a terminal event");
        }
        self.hold = Hold::Ended;
    }

    /// An event was handed out; `waited` says that nothing was resumed for it.
    pub(crate) fn event(&mut self, event: &Event, tid: Tid, waited: bool, shut: bool) {
        self.note(event);
        if self.hold == Hold::Ended {
            illegal!(self, "an event after the end");
        }
        if event.is_terminal() {
            self.check_end(event, shut);
            self.hold = Hold::Ended;
            self.end = Some(event.clone());
            return;
        }
        let exiting = matches!(event, Event::Exiting(_));
        if self.stop == Stop::Exit {
            illegal!(self, "{event:?} after the exit stop");
        }
        if self.hold == Hold::Held && waited && !exiting {
            illegal!(self, "{event:?} of one that is held");
        }
        let begins = matches!(event, Event::Started(_));
        if self.began == Some(begins) && !exiting {
            illegal!(self, "{event:?}, and it had begun: {:?}", self.began);
        }
        self.check_stop(event);
        self.began = Some(true);
        self.hold = if self.frozen {
            Hold::Unsure
        } else {
            Hold::Held
        };
        self.stop = match event {
            Event::Signal(_) => Stop::Signal,
            Event::GroupStop(_) => Stop::Group,
            Event::Exiting(_) => Stop::Exit,
            _ => Stop::Other,
        };
        if let Event::Exec(exec) = event {
            // Of a thread that is not traced: its leader's handle is that of the process now.
            let leaders = tid == self.tid;
            if exec.former_tid != self.tid && !leaders && !self.lossy {
                illegal!(self, "another one's exec");
            }
            self.tid = tid;
        }
    }

    fn check_end(&mut self, event: &Event, shut: bool) {
        let legal = match event {
            // What a Rust program ends with when something is badly wrong.
            Event::Exited(exited) => exited.code != 101 || self.deeds.is_confused(),
            Event::Killed(killed) => self.deeds.may_die_of(killed.signal),
            Event::Replaced(replaced) => replaced.by != Some(self.tid),
            Event::Detached => (self.let_go || shut) && !self.is_never_detached(),
            // Nobody else waits here.
            _ => false,
        };
        if !legal {
            illegal!(self, "{event:?}");
        }
    }

    /// Whether an interrupt that was dropped may have come now.
    fn take_late(&mut self) -> bool {
        let some = self.late > 0;
        self.late -= u32::from(some);
        some
    }

    fn check_stop(&mut self, event: &Event) {
        let entered =
            self.kinds.is_syscall_alone() && matches!(self.call, Call::Inside(_) | Call::Judged(_));
        let (legal, call) = match event {
            Event::Started(_) => (true, self.call),
            Event::SyscallEnter(enter) => {
                let legal = self.kinds.has_any(2 | 8 | 16) && !entered;
                (legal, Call::Inside(enter.call.nr))
            }
            Event::SyscallExit(exit) => {
                let same = match (self.call, exit.call) {
                    (Call::Outside, _) => false,
                    (Call::Inside(nr) | Call::Judged(nr), Some(call)) => nr == call.nr,
                    (Call::Inside(_) | Call::Judged(_), None) => !entered,
                    (Call::Unknown, _) => true,
                };
                let legal = self.kinds.has_any(2) && same && !self.is_stop_missing();
                (legal, Call::Outside)
            }
            Event::Seccomp(stop) => {
                let legal = self.may_be_judged(stop.call) && stop.data == 0;
                (legal, Call::Judged(stop.call.nr))
            }
            Event::Step => (std::mem::take(&mut self.stepping), Call::Outside),
            Event::Signal(stop) => {
                let own = self.deeds.may_get(stop.signal) || self.deeds.is_confused();
                (own && !entered, Call::Outside)
            }
            Event::GroupStop(group) => {
                (self.deeds.may_get(group.signal) && !entered, Call::Outside)
            }
            Event::Continued => {
                let told = self.deeds.may_get(Signal::SIGCONT) || self.deeds.is_confused();
                (told && !entered, Call::Outside)
            }
            Event::Interrupted => {
                let asked = std::mem::take(&mut self.interrupted) || self.take_late();
                (asked && !entered, Call::Outside)
            }
            Event::Fork(birth) | Event::Vfork(birth) | Event::Clone(birth) => {
                let own = birth.parent == self.tid && self.is_followed(event);
                (own && self.may_have_made(BIRTHS), self.in_call())
            }
            Event::VforkDone(birth) => (birth.parent == self.tid, self.in_call()),
            Event::Exec(exec) => {
                let own = exec.former_tid == self.tid;
                (!own || self.may_have_made(EXECS), self.in_call())
            }
            Event::Exiting(_) => (self.exit_stops, Call::Unknown),
            // No breakpoint, nothing that is not understood.
            _ => (false, Call::Unknown),
        };
        if !legal {
            illegal!(self, "{event:?}");
        }
        self.call = call;
    }

    /// In a system call, perhaps one whose entry was not seen.
    fn in_call(&self) -> Call {
        match self.call {
            Call::Inside(_) | Call::Judged(_) => self.call,
            _ => Call::Unknown,
        }
    }

    /// Whether its filter may stop it at this call now. A resume for all calls shows the entry
    /// first, and each call is judged once.
    fn may_be_judged(&self, call: SyscallEntry) -> bool {
        let stops = self.filter.as_ref().is_some_and(|f| f.stops(call));
        let in_order = match self.call {
            Call::Inside(nr) => nr == call.nr,
            Call::Judged(_) => false,
            Call::Outside => !self.kinds.is_syscall_alone(),
            Call::Unknown => true,
        };
        stops && in_order && self.kinds != Kinds(0)
    }

    /// Whether it is behind the entry of a call at which its filter stops, without that stop.
    fn is_stop_missing(&self) -> bool {
        match (self.call, &self.filter) {
            (Call::Inside(nr), Some(filter)) => filter.stops_at(nr) && !self.deeds.is_confused(),
            _ => false,
        }
    }

    /// Whether one of these calls may have been made, though perhaps not seen.
    fn may_have_made(&self, calls: &[Sysno]) -> bool {
        let all_stop = self.filter.as_ref().is_some_and(|f| f.stops_at_all(calls));
        !(all_stop && self.call == Call::Outside || self.is_stop_missing())
    }

    /// Whether a birth like this is told.
    fn is_followed(&self, event: &Event) -> bool {
        let follow = self.filter.as_ref().map(|filter| filter.follow);
        match follow.unwrap_or(Follow::Everything) {
            Follow::Everything => true,
            Follow::Threads => matches!(event, Event::Clone(_)),
            Follow::Nothing => false,
        }
    }
}

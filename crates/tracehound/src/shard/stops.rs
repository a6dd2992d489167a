//! From a report of waitid(2) to the event of a tracee.
//!
//! What a stop means is asked of the kernel while the tracee is stopped. Any of these
//! requests may fail with `ESRCH`: the tracee was killed since. Then there is no event;
//! its death, or its exit stop, is reported next. Or the request is answered by that exit
//! stop, which the tracee has come to meanwhile: so what an answer is about is looked at,
//! too.

use std::sync::Arc;

use tracehound_sys::ptrace::{self, ResumeKind, SyscallOp};
use tracehound_sys::wait::{self, Report, StopKind, StopStatus, WaitStatus};
use tracehound_sys::{Errno, SigInfo, Signal, Tid};

use super::Local;
use crate::event::{
    Birth, Death, Event, Exec, Exiting, HardwareStop, Replaced, Seccomp, SignalStop, SyscallEnter,
    SyscallExit, Unknown,
};
use crate::slot::{Action, End, Interrupt, Recorded, Slot, StopClass};

impl Local {
    /// Takes one report.
    pub(super) fn report(&self, report: Report) {
        match report.status {
            WaitStatus::Stopped(status) => self.stopped(report.tid, status),
            WaitStatus::Dead(status) => {
                let usage = report.usage;
                self.shard.counters().deaths.add_one();
                self.dead(report.tid, Death { status, usage });
            }
            // Job control of untraced children: not waited for.
            _ => {}
        }
    }

    /// Takes a report that was asked for by this tracee's id.
    pub(super) fn report_of(&self, slot: &Arc<Slot>, report: Report) {
        let WaitStatus::Stopped(status) = report.status else {
            return self.report(report);
        };
        match status.kind() {
            // What needs a look at others, too.
            StopKind::Exec | StopKind::Exit | StopKind::Signal(Signal::SIGSEGV) => {
                self.stopped(report.tid, status);
            }
            kind => {
                self.shard.counters().stop(kind);
                self.stop_of(slot, kind);
            }
        }
    }

    pub(super) fn stopped(&self, tid: Tid, status: StopStatus) {
        let kind = status.kind();
        self.shard.counters().stop(kind);
        if kind == StopKind::Exec {
            self.exec(tid);
            return;
        }
        let slot = match kind {
            // What an exec can still come to that is past its point of no return.
            StopKind::Exit | StopKind::Signal(Signal::SIGSEGV) => self.owner(tid),
            _ => self.tracee(tid),
        };
        if let Some(slot) = slot {
            self.stop_of(&slot, kind);
        } else if !self.launch_stop(tid, kind) {
            self.early_stop(tid, kind);
        }
    }

    /// Turns a stop into the tracee's event.
    pub(super) fn stop_of(&self, slot: &Arc<Slot>, kind: StopKind) {
        let tid = slot.tid();
        slot.observed.stop(kind);
        if slot.park(kind) {
            return;
        }
        let recorded = match kind {
            StopKind::Syscall => syscall_stop(slot, tid),
            StopKind::Signal(signal) => signal_stop(slot, tid, signal),
            StopKind::Fork | StopKind::Vfork | StopKind::Clone => self.birth(slot, kind),
            StopKind::VforkDone => vfork_done(slot, tid),
            StopKind::Exit if passes_exit(slot) => return,
            StopKind::Exit => exit_stop(slot, tid),
            StopKind::Seccomp => seccomp_stop(slot, tid),
            StopKind::Trap | StopKind::Group(_) if slot.is_nobodys(kind) => return,
            other => Ok(slot.record(|state| state.explain(other))),
        };
        match recorded {
            Ok(Recorded::Delivered) => {}
            Ok(Recorded::ToDetach(class)) => self.finish_detach(slot, class),
            Err(Errno::ESRCH) => {}
            Err(errno) => self.unexplained(slot, kind, errno),
        }
    }

    /// A request failed that has no reason to: the stop is handed out all the same, so
    /// that the tracee is not left in it.
    fn unexplained(&self, slot: &Arc<Slot>, kind: StopKind, errno: Errno) {
        self.shard.counters().unexplained.add_one();
        tracing::warn!(tid = %slot.tid(), ?kind, %errno, "cannot explain a stop");
        let unknown = Event::Unknown(Unknown {
            event: 0,
            signal: Signal::SIGTRAP,
        });
        if let Recorded::ToDetach(class) = slot.record(|_| (StopClass::Other, unknown)) {
            self.finish_detach(slot, class);
        }
    }

    /// `PTRACE_EVENT_EXEC`, which comes under the id of the leader, whoever called exec.
    fn exec(&self, tid: Tid) {
        if self.launch_exec(tid) {
            return;
        }
        let Ok(former) = named_by(tid, StopKind::Exec) else {
            return;
        };
        let Some(slot) = self.survivor(tid, former) else {
            self.early_stop(tid, StopKind::Exec);
            return;
        };
        slot.observed.exec(tid);
        slot.observed.stop(StopKind::Exec);
        let exec = Event::Exec(Exec { former_tid: former });
        if let Recorded::ToDetach(class) = slot.record(|_| (StopClass::Other, exec)) {
            self.finish_detach(&slot, class);
        }
    }

    /// The tracee that called exec. The leader's handle, if that was another thread,
    /// ends: its own death is never reported once its id is taken.
    fn survivor(&self, tid: Tid, former: Tid) -> Option<Arc<Slot>> {
        if former == tid {
            return self.tracee(tid);
        }
        let leader = self.remove(tid);
        let Some(survivor) = self.remove(former) else {
            // It was not traced: the leader's handle is now that of its process.
            return leader.inspect(|leader| self.insert(leader));
        };
        survivor.set_tid(tid);
        self.insert(&survivor);
        if let Some(leader) = leader {
            let interrupted = leader.lock().interrupt != Interrupt::None;
            // What the leader was asked may be answered by who has its id.
            survivor.lock().leftover |= interrupted;
            self.replaced(&leader, former);
        }
        Some(survivor)
    }

    /// The end of a leader whose id another traced thread has taken.
    pub(super) fn replaced(&self, leader: &Slot, by: Tid) {
        self.note_bereaved(leader);
        leader.end(End::Dead, Event::Replaced(Replaced { by: Some(by) }));
    }

    /// The tracee whose end is reported under this id.
    ///
    /// A thread that calls exec can die when it has taken the leader's id and before the
    /// event that says so. Then what is reported under that id is its own. It is found by
    /// its former id, which is nobody's any more.
    fn owner(&self, tid: Tid) -> Option<Arc<Slot>> {
        let leader = self.tracee(tid);
        let clan = leader.as_ref().map_or(tid, |leader| leader.clan());
        let process = leader.as_ref().and_then(|leader| leader.known_tgid());
        if process.unwrap_or(clan) != tid {
            return leader;
        }
        let is_stray = |other: &Tid| {
            let of_this = |slot: Arc<Slot>| slot.known_tgid().is_none_or(|tgid| tgid == tid);
            *other != tid
                && self.tracee(*other).is_some_and(of_this)
                && !wait::is_own_tracee(*other)
        };
        match self.relatives(clan).into_iter().find(is_stray) {
            Some(former) => self.survivor(tid, former).or(leader),
            None => leader,
        }
    }

    fn dead(&self, tid: Tid, death: Death) {
        match self.owner(tid).and_then(|_| self.remove(tid)) {
            Some(slot) => {
                self.note_bereaved(&slot);
                slot.end(End::Dead, Event::death(death));
            }
            None if self.launch_dead(tid) => {}
            None => self.early_death(tid, death),
        }
        if let Some(child) = self.take_child(tid) {
            child.ended(death);
        }
        self.settle_orphans();
    }
}

/// Whether this exit stop is of a child that nobody has taken. It was killed in its birth
/// stop, and goes on to its death: its parent may be waiting for that, to be dead itself.
fn passes_exit(slot: &Arc<Slot>) -> bool {
    let mut state = slot.lock();
    let passes = state.untaken && !state.detach;
    if passes {
        slot.resume_locked(&mut state, Action::Resume(ResumeKind::Cont, None));
    }
    passes
}

fn syscall_stop(slot: &Arc<Slot>, tid: Tid) -> Result<Recorded, Errno> {
    let info = ptrace::get_syscall_info(tid)?;
    if info.op == SyscallOp::None {
        return Err(Errno::ESRCH);
    }
    Ok(slot.record(|state| {
        let event = match info.op {
            SyscallOp::Entry(call) => {
                state.call = Some(call);
                if state.resumed == ResumeKind::SysemuStep {
                    // The step ends here; no SIGTRAP follows for a call that is not made.
                    state.stepping = false;
                }
                Event::SyscallEnter(SyscallEnter {
                    call,
                    instruction_pointer: info.instruction_pointer,
                    stack_pointer: info.stack_pointer,
                })
            }
            SyscallOp::Exit { value, is_error } => Event::SyscallExit(SyscallExit {
                call: state.call.take(),
                arch: info.arch,
                value,
                is_error,
                instruction_pointer: info.instruction_pointer,
                stack_pointer: info.stack_pointer,
            }),
            // Checked before.
            _ => Event::Unknown(Unknown {
                event: 0,
                signal: Signal::SIGTRAP,
            }),
        };
        (StopClass::Other, event)
    }))
}

fn seccomp_stop(slot: &Arc<Slot>, tid: Tid) -> Result<Recorded, Errno> {
    let info = ptrace::get_syscall_info(tid)?;
    if info.op == SyscallOp::None {
        return Err(Errno::ESRCH);
    }
    Ok(slot.record(|state| {
        let event = match info.op {
            SyscallOp::Seccomp { entry, data } => {
                state.call = Some(entry);
                Event::Seccomp(Seccomp {
                    call: entry,
                    data,
                    instruction_pointer: info.instruction_pointer,
                    stack_pointer: info.stack_pointer,
                })
            }
            _ => Event::Unknown(Unknown {
                event: libc_event_seccomp(),
                signal: Signal::SIGTRAP,
            }),
        };
        (StopClass::Other, event)
    }))
}

/// The number of `PTRACE_EVENT_SECCOMP`.
const fn libc_event_seccomp() -> i32 {
    7
}

fn signal_stop(slot: &Arc<Slot>, tid: Tid, signal: Signal) -> Result<Recorded, Errno> {
    let info = ptrace::getsiginfo(tid)?;
    if info.stop_status(signal).kind() == StopKind::Exit && has_moved_on(tid) {
        return Err(Errno::ESRCH);
    }
    Ok(slot.record(|state| {
        if signal == Signal::SIGTRAP && is_step(&info, state.stepping) {
            state.stepping = false;
            return (StopClass::Other, Event::Step);
        }
        if state.hardware && is_hardware_breakpoint(&info) {
            return (
                StopClass::Other,
                Event::HardwareBreakpoint(HardwareStop { info }),
            );
        }
        let stop = SignalStop { signal, info };
        (StopClass::Signal(signal), Event::Signal(stop))
    }))
}

const TRAP_BRKPT: i32 = 1;
const TRAP_TRACE: i32 = 2;

/// Whether a `SIGTRAP` is the end of a single step and no signal of the program's.
///
/// `stepping` says that one is due. An interrupt may overtake it: then it comes after the
/// tracee was resumed in another way, and is a step all the same.
pub(super) fn is_step(info: &SigInfo, stepping: bool) -> bool {
    match info.code() {
        // ptrace's own: a step led into a signal handler.
        own if own == Signal::SIGTRAP.as_raw() => true,
        TRAP_TRACE => stepping,
        // x86 says so at the end of a stepped system call; an int3 says SI_KERNEL there.
        TRAP_BRKPT => stepping && cfg!(target_arch = "x86_64"),
        // Other architectures say this at the end of a stepped system call; kill(2) from
        // a process gives its id.
        0 => {
            stepping && cfg!(not(target_arch = "x86_64")) && info.sender() == Some(Tid::from_raw(0))
        }
        _ => false,
    }
}

/// Whether a `SIGTRAP` comes from a breakpoint in a debug register. A program cannot put one
/// there itself.
pub(super) fn is_hardware_breakpoint(info: &SigInfo) -> bool {
    const TRAP_HWBKPT: i32 = 4;
    info.signal() == Signal::SIGTRAP && info.code() == TRAP_HWBKPT
}

/// Whether a tracee has left the stop that was reported last: there is another report. Also
/// a signal may look like an exit stop, if the tracee wishes.
fn has_moved_on(tid: Tid) -> bool {
    !matches!(wait::peek(tid), Ok(None))
}

/// The thread that an event names: `PTRACE_GETEVENTMSG`, if the tracee is still in that
/// event.
pub(super) fn named_by(tid: Tid, kind: StopKind) -> Result<Tid, Errno> {
    let message = ptrace::get_event_msg(tid)?;
    if ptrace::stop_status(tid)?.kind() != kind {
        return Err(Errno::ESRCH);
    }
    Ok(Tid::from_raw(i32::try_from(message).unwrap_or(0)))
}

fn vfork_done(slot: &Arc<Slot>, tid: Tid) -> Result<Recorded, Errno> {
    let birth = Birth {
        parent: tid,
        child: named_by(tid, StopKind::VforkDone)?,
        over_limit: false,
    };
    Ok(slot.record(|_| (StopClass::Other, Event::VforkDone(birth))))
}

fn exit_stop(slot: &Arc<Slot>, tid: Tid) -> Result<Recorded, Errno> {
    let status = ptrace::get_event_msg(tid)?;
    let exiting = Exiting {
        status: (status & 0xffff) as i32,
    };
    Ok(slot.record(|_| (StopClass::Exit, Event::Exiting(exiting))))
}

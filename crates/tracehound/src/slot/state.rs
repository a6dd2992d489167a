//! What a tracee's state allows, and what a resume makes of it.

use tracehound_sys::ptrace::{self, ResumeKind};
use tracehound_sys::{Errno, Tid};

use super::{Action, End, Phase, State, StopClass};
use crate::error::{Error, Result};
use crate::event::Event;

impl State {
    /// Whether requests are allowed, and if not, why.
    pub(crate) fn check_held(&self, tid: Tid) -> Result<()> {
        match self.phase {
            Phase::Stopped(_) if self.held || self.stop_all => Ok(()),
            // Killed while it was held: the exit stop came in between.
            Phase::Stopped(StopClass::Exit) | Phase::Dying => Err(Error::Gone(tid)),
            Phase::Running | Phase::Listening | Phase::Stopped(_) => Err(Error::Running(tid)),
            Phase::Ended(End::Dead) => Err(Error::Gone(tid)),
            Phase::Ended(End::Detached) => Err(Error::Detached(tid)),
            Phase::Ended(End::Shutdown) => Err(Error::Shutdown),
        }
    }

    /// Whether something is to be reported that may come at any moment.
    pub(crate) fn is_on_its_way(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Dying)
    }

    /// Whether memory can be asked for: at any time before the end.
    pub(crate) fn check_attached(&self, tid: Tid) -> Result<()> {
        match self.phase {
            Phase::Ended(_) => self.check_held(tid),
            _ => Ok(()),
        }
    }

    /// Whether an event that was not handed out comes before a resume: where every thread
    /// of the process was stopped, whatever had happened.
    pub(crate) fn event_is_due(&self) -> bool {
        self.stop_all
            && self.event.as_ref().is_some_and(|event| {
                !matches!(
                    event,
                    Event::GroupStop(_) | Event::Interrupted | Event::Continued | Event::Started(_)
                )
            })
    }

    /// How asking for the next event resumes the present stop.
    pub(crate) fn implicit_action(&self) -> Action {
        match self.phase {
            Phase::Stopped(StopClass::Signal(signal)) => Action::Resume(self.mode, Some(signal)),
            Phase::Stopped(StopClass::Group) => Action::Listen,
            _ => Action::Resume(self.mode, None),
        }
    }

    /// What a resume that failed says.
    pub(super) fn not_resumed(
        &mut self,
        tid: Tid,
        action: Action,
        result: tracehound_sys::Result<()>,
    ) {
        match result {
            Ok(()) => {}
            Err(Errno::ESRCH) => self.phase = Phase::Dying,
            Err(error) => {
                tracing::warn!(%tid, ?action, %error, "cannot resume");
                // Never frozen: the plainest request there is.
                let _ = ptrace::resume(tid, ResumeKind::Cont, None);
            }
        }
    }

    /// Notes that the tracee was resumed, or that this is under way.
    pub(crate) fn resumed(&mut self, action: Action) {
        self.held = false;
        self.parked = false;
        self.event = None;
        self.prefetch.forget();
        match action {
            Action::Listen => self.phase = Phase::Listening,
            Action::Resume(how, _) => {
                if let Phase::Stopped(class) = self.phase {
                    self.defies_group_stop = class == StopClass::Group;
                }
                self.phase = Phase::Running;
                self.resumed = how;
                self.stepping |= how.is_stepping();
                if how != ResumeKind::Syscall {
                    // Its exit is not seen, and that of a later call is not taken for it.
                    self.call = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::{Interrupt, Prefetch, Watch};
    use tracehound_sys::Signal;

    fn state(phase: Phase, held: bool) -> State {
        State {
            phase,
            held,
            event: None,
            serial: 0,
            waker: None,
            mode: ResumeKind::Syscall,
            resumed: ResumeKind::Cont,
            queued: false,
            call: None,
            birth: None,
            untaken: false,
            started: true,
            group_stopped: false,
            stepping: false,
            hardware: false,
            leftover: false,
            defies_group_stop: false,
            prefetch: Prefetch::new(false),
            interrupt: Interrupt::None,
            enter_mode: false,
            stop_all: false,
            quiet: false,
            detach: false,
            watch: Watch::Watched,
            seat: None,
            parked: false,
        }
    }

    #[test]
    fn the_reason_for_a_refusal_is_precise() {
        let tid = Tid::from_raw(7);
        let refusal = |phase, held| state(phase, held).check_held(tid);
        assert!(refusal(Phase::Stopped(StopClass::Other), true).is_ok());
        assert!(matches!(
            refusal(Phase::Stopped(StopClass::Other), false),
            Err(Error::Running(_))
        ));
        assert!(matches!(
            refusal(Phase::Stopped(StopClass::Exit), false),
            Err(Error::Gone(_))
        ));
        assert!(matches!(
            refusal(Phase::Running, false),
            Err(Error::Running(_))
        ));
        assert!(matches!(refusal(Phase::Dying, false), Err(Error::Gone(_))));
        assert!(matches!(
            refusal(Phase::Ended(End::Detached), false),
            Err(Error::Detached(_))
        ));
        assert!(matches!(
            refusal(Phase::Ended(End::Shutdown), false),
            Err(Error::Shutdown)
        ));
    }

    #[test]
    fn what_resumes_depends_on_the_stop() {
        let mode = ResumeKind::Syscall;
        let action = |class| state(Phase::Stopped(class), true).implicit_action();
        assert_eq!(action(StopClass::Other), Action::Resume(mode, None));
        assert_eq!(action(StopClass::Group), Action::Listen);
        assert_eq!(
            action(StopClass::Signal(Signal::SIGTERM)),
            Action::Resume(mode, Some(Signal::SIGTERM))
        );
    }
}

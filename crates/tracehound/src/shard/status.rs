//! The stops that their status word alone explains.

use tracehound_sys::Signal;
use tracehound_sys::wait::StopKind;

use crate::event::{Event, GroupStop, Started, Unknown};
use crate::slot::{Interrupt, State, StopClass};

impl State {
    /// The event of such a stop.
    pub(super) fn explain(&mut self, kind: StopKind) -> (StopClass, Event) {
        let class = match kind {
            StopKind::Group(_) => StopClass::Group,
            _ => StopClass::Other,
        };
        let event = match kind {
            _ if !self.started => {
                self.started = true;
                Event::Started(Started { exec: None })
            }
            // Interrupted in the group-stop that it has told of: the kernel says that again.
            StopKind::Group(_) if self.group_stopped && self.interrupt != Interrupt::None => {
                self.interrupt = Interrupt::None;
                Event::Interrupted
            }
            StopKind::Group(signal) => {
                self.group_stopped = true;
                // It is resumed by listening, or by its user.
                self.enter_mode = false;
                Event::GroupStop(GroupStop { signal })
            }
            StopKind::Trap => {
                let continued = std::mem::take(&mut self.group_stopped);
                match std::mem::replace(&mut self.interrupt, Interrupt::None) {
                    Interrupt::Asked => Event::Interrupted,
                    // The stop was the answer, or this is: what has not been told is its end.
                    Interrupt::Doubtful if !continued => Event::Interrupted,
                    _ => Event::Continued,
                }
            }
            StopKind::Unknown { event, signal } => Event::Unknown(Unknown { event, signal }),
            _ => Event::Unknown(Unknown {
                event: 0,
                signal: Signal::SIGTRAP,
            }),
        };
        (class, event)
    }
}

//! A clock that interrupts its own thread.
//!
//! Some waits have no one who could end them: `PTRACE_SEIZE` blocks while the target is in
//! the middle of an exec, which may itself wait for what this very thread has to do. A POSIX
//! timer sends the wake signal to its thread at an interval, and the handler leaves the
//! check-and-call section. A tick that comes before the section is lost; the next one is not.
//!
//! Rejected: another thread that watches the clock (it can be held up itself, and has to be
//! woken for each attach); setitimer(2) (there is one for the whole process, the host's).

use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;

use super::WakeSignal;
use crate::{Result, Tid};

/// A timer of the calling thread: timer_create(2) with `SIGEV_THREAD_ID`.
///
/// It is made switched off. It takes one place in the user's queue of pending signals.
#[derive(Debug)]
pub struct Alarm {
    timer: libc::timer_t,
    // It rings in the thread that made it.
    not_send: PhantomData<*const ()>,
}

impl Alarm {
    /// A timer that sends this signal to the calling thread.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the user's queue of pending signals is full.
    pub fn new(signal: WakeSignal) -> Result<Self> {
        // SAFETY: zero is a value of every field.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal.signal().as_raw();
        event.sigev_notify_thread_id = Tid::current().as_raw();
        let mut timer: libc::timer_t = ptr::null_mut();
        // SAFETY: both pointers are to live values of the right type.
        let result =
            unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
        Errno::result(result)?;
        Ok(Alarm {
            timer,
            not_send: PhantomData,
        })
    }

    /// Rings at this interval until the guard is dropped.
    pub fn ring_every(&self, interval: Duration) -> Ringing<'_> {
        self.set(interval);
        Ringing(self)
    }

    /// Rings at this interval from now on; never, for zero.
    pub fn set(&self, interval: Duration) {
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(interval.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(interval.subsec_nanos() as i32),
        };
        let times = libc::itimerspec {
            it_interval: time,
            it_value: time,
        };
        // SAFETY: the timer is live while self is; the times are read during the call. It
        // fails only for a wrong time or timer.
        unsafe { libc::timer_settime(self.timer, 0, &raw const times, ptr::null_mut()) };
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: made by `new`, deleted here only.
        unsafe { libc::timer_delete(self.timer) };
    }
}

/// An [`Alarm`] that rings.
#[derive(Debug)]
pub struct Ringing<'a>(&'a Alarm);

impl Drop for Ringing<'_> {
    fn drop(&mut self) {
        self.0.set(Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Usage;
    use crate::wait::Target;
    use crate::wake::{Interrupter, Waited};

    #[test]
    fn a_wait_is_ended_again_and_again() {
        let signal = WakeSignal::claim(None).expect("a free signal");
        let interrupter = Interrupter::new(signal);
        let bound = interrupter.bind();
        let alarm = Alarm::new(signal).expect("a timer");
        let ringing = alarm.ring_every(Duration::from_millis(1));
        for _ in 0..20 {
            // One that rang just before a sleep has marked it as ended.
            interrupter.acknowledge();
            // Without the alarm this would never return.
            bound.sleep(None);
        }
        drop(ringing);
        interrupter.acknowledge();
        assert_eq!(
            bound.wait(Target::All, Usage::Unwanted),
            Ok(Waited::NoTracees)
        );
    }
}

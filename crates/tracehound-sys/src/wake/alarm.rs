//! An alarm that ends the waits of one thread from time to time: timer_create(2).
//!
//! It sends the wake signal to the thread that made it; the handler does the rest. Unlike
//! a real-time signal, its entry in the user's queue of signals is taken when it is made,
//! so that a queue that is filled later does not silence it.

use std::mem::MaybeUninit;
use std::time::Duration;

use nix::errno::Errno;

use crate::Result;
use crate::wake::WakeSignal;

/// An alarm of the thread that made it.
#[derive(Debug)]
pub struct Alarm {
    id: libc::timer_t,
    /// The signal goes to the thread that made it, so nobody else can use it.
    not_send: std::marker::PhantomData<*const ()>,
}

impl Alarm {
    /// `SIGEV_THREAD_ID`: a timer for the calling thread.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the user's queue of pending signals is full.
    pub(super) fn new(signal: WakeSignal) -> Result<Self> {
        // SAFETY: zero is a value of every field.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal.signal().as_raw();
        event.sigev_notify_thread_id = crate::Tid::current().as_raw();
        let mut id = MaybeUninit::uninit();
        // SAFETY: the event is read, and `id` is written, during the call only.
        let result =
            unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, id.as_mut_ptr()) };
        Errno::result(result)?;
        Ok(Alarm {
            // SAFETY: a success has written it.
            id: unsafe { id.assume_init() },
            not_send: std::marker::PhantomData,
        })
    }

    /// Ends a wait each time when this time has passed, and not when it was to before.
    ///
    /// Again and again, since one that comes just before a wait does not end it.
    pub fn set(&self, every: Duration) {
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(every.as_secs()).unwrap_or(libc::time_t::MAX),
            // A billion at most; zero would disarm it.
            tv_nsec: every.subsec_nanos().max(1) as libc::c_long,
        };
        self.arm(time);
    }

    /// Ends no wait any more.
    pub fn stop(&self) {
        self.arm(libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        });
    }

    fn arm(&self, time: libc::timespec) {
        let time = libc::itimerspec {
            it_interval: time,
            it_value: time,
        };
        // SAFETY: the timer is ours, the time is live. It fails for neither.
        unsafe { libc::timer_settime(self.id, 0, &raw const time, std::ptr::null_mut()) };
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: the timer is ours, and used no more.
        unsafe { libc::timer_delete(self.id) };
    }
}

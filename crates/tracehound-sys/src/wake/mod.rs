//! Waking a thread that blocks in waitid(2).
//!
//! A signal interrupts `waitid`, but one that lands between the check for work
//! and the system call is lost, and there is no `pwaitid`. So the check and the
//! call are a few instructions of assembly between two labels. The handler of the
//! wake signal looks at the interrupted instruction pointer: if it lies between
//! the labels, it is moved to a third one, which returns as if interrupted. A
//! system call that has completed lies behind the second label and keeps its
//! result: no report is lost. ptrace(2)'s `PTRACE_SEIZE`, which the kernel
//! restarts after any signal, becomes interruptible the same way.
//!
//! A wake that arrives while another handler runs on top of the section (the
//! host's `SIGCHLD` handler) cannot see the section. The handler then blocks the
//! wake signal in the context that it interrupted and sends it to itself again: it
//! arrives the moment that context returns to the section.
//!
//! What was tried and rejected: a pidfd or signalfd beside `waitid` (neither
//! tells of stops); a timeout (latency, and an idle tracer that ticks); a
//! real-time signal (fails with `EAGAIN` when the user's queue of pending signals is
//! full, which a tracee can arrange); io_uring's waitid (blocked in most
//! containers); a futex (cannot be waited for together with a child).
//!
//! A tracer of this very process that is killed between its wait and the delivery of the signal
//! takes the signal with it, as it would take any other. Nothing here guards against that.
//!
//! On architectures without the assembly the signal is sent again until the
//! waiting thread has acknowledged it.

#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod arch;

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod arch;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "fallback.rs"]
mod arch;

mod alarm;
mod flags;
mod signal;
mod sync;

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;

use self::flags::Flags;
use crate::wait::{self, OWN_TRACEES, RawInfo, Report, Target};
use crate::{Result, Signal, Tid, Usage, ptrace};

pub use alarm::{Alarm, Ringing};
pub use signal::WakeSignal;

/// The addresses of the check-and-call section: for the test that delivers the
/// wake signal at each of its instructions.
#[doc(hidden)]
pub fn section() -> Option<std::ops::Range<usize>> {
    arch::section()
}

/// What a thread sleeps on, and what wakes it.
///
/// One thread [binds](Interrupter::bind) it and waits with it; any thread may
/// [interrupt](Interrupter::interrupt).
#[derive(Debug)]
pub struct Interrupter {
    flags: Flags,
    /// Set by the handler when it has blocked the wake signal; see [`Self::blocking`].
    deferred: AtomicU32,
    tid: AtomicI32,
    tgid: Tid,
    signal: WakeSignal,
}

thread_local! {
    /// The interrupter that the calling thread waits with, for the handler.
    static BOUND: Cell<*const Interrupter> = const { Cell::new(ptr::null()) };
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// A tracee's report.
    Report(Report),
    /// Somebody called [`Interrupter::interrupt`], or some other signal came.
    Interrupted,
    /// There is no tracee.
    NoTracees,
}

impl Interrupter {
    /// An interrupter that uses this signal. No thread is bound to it yet.
    pub fn new(signal: WakeSignal) -> Self {
        Interrupter {
            flags: Flags::new(),
            deferred: AtomicU32::new(0),
            tid: AtomicI32::new(0),
            tgid: Tid::current_process(),
            signal,
        }
    }

    /// Makes the calling thread the one that waits, until the guard is dropped.
    pub fn bind(&self) -> Bound<'_> {
        self.tid.store(Tid::current().as_raw(), Ordering::SeqCst);
        BOUND.set(self);
        Bound {
            interrupter: self,
            not_send: std::marker::PhantomData,
        }
    }

    /// The bound thread.
    pub fn thread(&self) -> Tid {
        Tid::from_raw(self.tid.load(Ordering::SeqCst))
    }

    /// The signal that wakes it.
    pub fn signal(&self) -> Signal {
        self.signal.signal()
    }

    /// The same, for an [`Alarm`].
    pub fn wake_signal(&self) -> WakeSignal {
        self.signal
    }

    /// Ends the present or the next wait of the bound thread.
    ///
    /// Several calls before it wakes are one. A system call is made only if the
    /// thread is really waiting.
    pub fn interrupt(&self) {
        if self.flags.raise() {
            self.send();
        }
    }

    fn send(&self) {
        let send = || self.signal.send(self.tgid, self.thread());
        arch::send(&self.flags.waiting, send);
    }

    /// Whether somebody has called [`interrupt`](Self::interrupt) since the last
    /// [`acknowledge`](Self::acknowledge).
    pub fn is_pending(&self) -> bool {
        self.flags.is_pending()
    }

    /// Forgets what was signalled so far. The caller looks at its queues *after*
    /// this.
    pub fn acknowledge(&self) -> bool {
        self.flags.acknowledge()
    }

    /// Makes one system call that [`interrupt`](Self::interrupt) ends.
    ///
    /// # Safety
    ///
    /// The arguments must be what the system call takes, and the call must not
    /// change anything of this process but what its pointers lead to.
    unsafe fn blocking(&self, number: libc::c_long, args: [usize; 6]) -> Result<usize> {
        self.flags.enter();
        // SAFETY: the caller vouches for the system call; the section reads
        // `pending` and nothing else.
        let result = unsafe { arch::check_and_call(&self.flags.pending, number, &args) };
        self.flags.leave();
        if self.deferred.load(Ordering::Relaxed) != 0 {
            self.deferred.store(0, Ordering::Relaxed);
            // The handler may have blocked the signal in this very context.
            self.signal.unblock();
        }
        outcome(result)
    }
}

/// Error numbers are the last page of the result's range.
fn outcome(result: isize) -> Result<usize> {
    if (-4095..0).contains(&result) {
        return Err(Errno::from_raw(-result as i32));
    }
    Ok(result as usize)
}

/// The right of the bound thread to wait.
#[derive(Debug)]
pub struct Bound<'a> {
    interrupter: &'a Interrupter,
    not_send: std::marker::PhantomData<*const ()>,
}

impl Bound<'_> {
    /// Waits for a report of the thread's own tracees.
    ///
    /// # Errors
    ///
    /// Those of waitid(2), but for `ECHILD` and `EINTR`.
    pub fn wait(&self, target: Target, usage: Usage) -> Result<Waited> {
        let (idtype, id) = target.raw();
        let mut info = RawInfo::new();
        let flags = match usage {
            Usage::Wanted => OWN_TRACEES | libc::WNOWAIT,
            Usage::Unwanted => OWN_TRACEES,
        };
        let args = [
            idtype as usize,
            id as usize,
            info.as_ptr() as usize,
            flags as usize,
            0,
            0,
        ];
        // SAFETY: waitid writes one siginfo_t to `info`, which outlives the call,
        // and nothing for the resource usage, which is null.
        let report = match unsafe { self.interrupter.blocking(libc::SYS_waitid, args) } {
            Ok(_) => info.decode(),
            Err(Errno::EINTR) => None,
            Err(Errno::ECHILD) => return Ok(Waited::NoTracees),
            Err(other) => return Err(other),
        };
        let report = match usage {
            Usage::Wanted => report.and_then(|seen| wait::take(seen, OWN_TRACEES)),
            Usage::Unwanted => report,
        };
        Ok(report.map_or(Waited::Interrupted, Waited::Report))
    }

    /// Sleeps until interrupted, or for this long.
    pub fn sleep(&self, limit: Option<Duration>) {
        let mut time = limit.map(|limit| libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(limit.subsec_nanos() as i32),
        });
        let time = time.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        let args = [0, 0, time as usize, 0, 0, 0];
        // SAFETY: ppoll with no descriptors reads the time, which outlives the
        // call, and changes no signal mask. How it ends does not matter.
        let _ = unsafe { self.interrupter.blocking(libc::SYS_ppoll, args) };
    }
}

impl Interrupter {
    /// [`ptrace::seize`], which an [`Alarm`] ends with `EINTR`. Only on the bound thread is
    /// it ended at all; on architectures without the assembly the kernel restarts it.
    ///
    /// [`interrupt`](Interrupter::interrupt) does not end it: under a storm of them nothing
    /// would ever be seized.
    pub fn seize(&self, tid: Tid, options: ptrace::Options) -> Result<()> {
        static NOBODY: AtomicU32 = AtomicU32::new(0);
        let args = [
            libc::PTRACE_SEIZE as usize,
            tid.as_raw() as usize,
            0,
            options.bits() as usize,
            0,
            0,
        ];
        // SAFETY: PTRACE_SEIZE takes numbers only; the section reads the flag.
        let result = unsafe { arch::check_and_call(&NOBODY, libc::SYS_ptrace, &args) };
        outcome(result).map(drop)
    }
}

impl Drop for Bound<'_> {
    fn drop(&mut self) {
        BOUND.set(ptr::null());
    }
}

/// Called by the handler when it did not interrupt the section itself: whether the
/// signal must be kept back until the interrupted context returns to it.
fn must_defer() -> bool {
    let bound = BOUND.get();
    if bound.is_null() {
        return false;
    }
    // SAFETY: `bind` stored a reference that its guard keeps alive, and the guard
    // cannot leave this thread, on which the handler runs.
    let bound = unsafe { &*bound };
    let waiting = bound.flags.is_waiting();
    if waiting {
        bound.deferred.store(1, Ordering::Relaxed);
        // The thread may be just before the check, where it now blocks the signal. An alarm
        // sets no flag, and without one the wait would begin, and nothing would end it.
        bound.flags.pending.store(1, Ordering::SeqCst);
    }
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc;

    /// A wake ends exactly one sleep, whether it comes before or during it.
    #[test]
    fn no_wake_is_lost() {
        const WAKES: usize = 20_000;
        let signal = WakeSignal::claim(None).expect("a free signal");
        let interrupter = Arc::new(Interrupter::new(signal));
        let (woken, wait) = mpsc::channel();
        let sleeper = {
            let interrupter = Arc::clone(&interrupter);
            std::thread::spawn(move || {
                let bound = interrupter.bind();
                for _ in 0..WAKES {
                    while !interrupter.acknowledge() {
                        bound.sleep(None);
                    }
                    woken.send(()).expect("the waker listens");
                }
            })
        };
        for _ in 0..WAKES {
            interrupter.interrupt();
            wait.recv().expect("the sleeper woke");
        }
        sleeper.join().expect("the sleeper ends");
    }

    /// An alarm, or a stranger's signal, that comes just before the section.
    #[test]
    fn a_signal_before_a_sleep_does_not_deafen() {
        let signal = WakeSignal::claim(None).expect("a free signal");
        let interrupter = Arc::new(Interrupter::new(signal));
        let bound = interrupter.bind();
        interrupter.flags.waiting.store(1, Ordering::SeqCst);
        signal.send(Tid::current_process(), Tid::current());
        let (woken, wait) = mpsc::channel();
        let waker = Arc::clone(&interrupter);
        let waker = std::thread::spawn(move || {
            let is_awake = || {
                if wait.recv_timeout(Duration::from_secs(60)).is_err() {
                    // Nothing else wakes the other thread.
                    eprintln!("a wake was lost");
                    std::process::abort();
                }
            };
            is_awake();
            for _ in 0..3 {
                std::thread::sleep(Duration::from_millis(20));
                waker.interrupt();
                is_awake();
            }
        });
        // It ends the section that it came before, whoever has sent it; but for a fallback, which
        // knows of no section.
        let marked = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
        bound.sleep((!marked).then(|| Duration::from_millis(1)));
        interrupter.acknowledge();
        woken.send(()).expect("the waker listens");
        // Two that come before it looks are one: each is answered before the next.
        for _ in 0..3 {
            while !interrupter.acknowledge() {
                bound.sleep(None);
            }
            woken.send(()).expect("the waker listens");
        }
        waker.join().expect("no panic");
    }

    #[test]
    fn no_tracees_is_said() {
        let signal = WakeSignal::claim(None).expect("a free signal");
        let interrupter = Interrupter::new(signal);
        let bound = interrupter.bind();
        assert_eq!(
            bound.wait(Target::All, Usage::Unwanted),
            Ok(Waited::NoTracees)
        );
        interrupter.interrupt();
        assert_eq!(
            bound.wait(Target::All, Usage::Unwanted),
            Ok(Waited::Interrupted)
        );
    }
}

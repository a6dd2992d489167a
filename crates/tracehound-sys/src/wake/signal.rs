//! The wake signal: which one it is, and its handler.

use nix::errno::Errno;

use super::{arch, must_defer};
use crate::{Result, SIGNAL_MAX, Signal, Tid};

/// A signal whose handler is ours.
///
/// The handler stays for the rest of the process's life: a wake that is still on
/// its way when a tracer ends must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeSignal(Signal);

/// What is tried when nothing was asked for: standard signals that programs
/// leave alone. (A real-time signal could fail with `EAGAIN`.)
const CANDIDATES: [Signal; 3] = [Signal::SIGURG, Signal::SIGSTKFLT, Signal::SIGPWR];

impl WakeSignal {
    /// Installs the handler for `wanted`, or for the first free signal of
    /// `SIGURG`, `SIGSTKFLT` and `SIGPWR`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the host has a handler there, or ignores the signal; `EINVAL` for
    /// a real-time signal or one that cannot be caught.
    pub fn claim(wanted: Option<Signal>) -> Result<Self> {
        if let Some(signal) = wanted {
            return claim_one(signal);
        }
        CANDIDATES
            .into_iter()
            .map(claim_one)
            .find(Result::is_ok)
            .unwrap_or(Err(Errno::EBUSY))
    }

    /// The signal.
    pub fn signal(self) -> Signal {
        self.0
    }

    /// Sends it to a thread. An error means that the thread is gone.
    pub(super) fn send(self, tgid: Tid, tid: Tid) {
        // SAFETY: tgkill takes numbers only.
        unsafe {
            libc::syscall(
                libc::SYS_tgkill,
                tgid.as_raw(),
                tid.as_raw(),
                self.0.as_raw(),
            )
        };
    }

    /// Takes it out of the calling thread's mask.
    pub(super) fn unblock(self) {
        crate::thread::unblock(&[self.0]);
    }
}

/// Who has a signal is asked of the kernel, so that no lock is needed, which a forked child
/// might find held.
fn claim_one(signal: Signal) -> Result<WakeSignal> {
    if signal.is_realtime() || !signal.is_valid() {
        return Err(Errno::EINVAL);
    }
    let present = current(signal)?;
    if present == libc::SIG_DFL {
        install(signal)?;
    } else if present != handler as *const () as libc::sighandler_t {
        // The host's, perhaps in place of ours.
        return Err(Errno::EBUSY);
    }
    Ok(WakeSignal(signal))
}

fn current(signal: Signal) -> Result<libc::sighandler_t> {
    // SAFETY: zero is a value of every field.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: sigaction without a new action only writes to `action`.
    let result = unsafe { libc::sigaction(signal.as_raw(), std::ptr::null(), &raw mut action) };
    Errno::result(result)?;
    Ok(action.sa_sigaction)
}

fn install(signal: Signal) -> Result<()> {
    // SAFETY: zero is a value of every field.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    // SA_ONSTACK: it may run on a thread with a small stack.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | arch::HANDLER_FLAGS;
    // SAFETY: both arguments point to live values of the right type; the handler
    // is async-signal-safe.
    unsafe {
        libc::sigfillset(&raw mut action.sa_mask);
        Errno::result(libc::sigaction(
            signal.as_raw(),
            &raw const action,
            std::ptr::null_mut(),
        ))?;
    }
    Ok(())
}

/// Moves the interrupted context out of the check-and-call section, or sends the
/// signal again for when that context has returned there.
extern "C" fn handler(
    signal: libc::c_int,
    _info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the kernel passes a ucontext_t which the handler may
    // change.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    if arch::leave_section(context) || !must_defer() {
        return;
    }
    debug_assert!(signal <= SIGNAL_MAX);
    let errno = Errno::last_raw();
    // SAFETY: sigaddset changes the mask it is given; gettid and tgkill take
    // numbers. All three are async-signal-safe.
    unsafe {
        libc::sigaddset(&raw mut context.uc_sigmask, signal);
        let tid = libc::syscall(libc::SYS_gettid);
        libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, signal);
    }
    Errno::set_raw(errno);
}

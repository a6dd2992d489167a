//! What several of the examples need.

pub mod interrupt;

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Ends this process as `status` says another one ended: with the same exit code, or
/// by the same signal, so that a shell cannot tell the two apart.
///
/// No core file is written: the one of interest is the other process's own.
pub fn end_like(status: ExitStatus) -> ! {
    if let Some(signal) = status.signal() {
        die_by(signal);
        // Still here, so the signal could not kill: say it as shells do.
        std::process::exit(128_i32.saturating_add(signal));
    }
    std::process::exit(status.code().unwrap_or(1))
}

/// Kills this process by the signal, whatever its disposition and mask were.
fn die_by(signal: i32) {
    // Not RLIMIT_CORE, which a core_pattern that is a pipe ignores. A failure costs a
    // core file and no more.
    let _ = nix::sys::prctl::set_dumpable(false);
    // SAFETY: the set is live and writable, and zero is a value of its integers;
    // SIG_DFL installs no handler; the calls refuse a number that is no signal.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::signal(signal, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::raise(signal);
    }
}

//! Signals in numbers, and out of place.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::{hear, number, say};

static CAUGHT: AtomicI32 = AtomicI32::new(0);

extern "C" fn count(_: libc::c_int) {
    CAUGHT.fetch_add(1, Ordering::SeqCst);
}

fn catch(signal: i32) {
    // SAFETY: the handler only adds to a number; zero is a value of every field.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
    }
}

/// `raise-often COUNT`: sends itself SIGUSR1 so often, says how often it came, and waits for a
/// line.
pub(crate) fn raise_often(args: &[String]) {
    catch(libc::SIGUSR1);
    say("ready");
    for _ in 0..number(args, 0) {
        // SAFETY: takes a number; there is a handler.
        unsafe { libc::raise(libc::SIGUSR1) };
    }
    say(&format!("caught {}", CAUGHT.load(Ordering::SeqCst)));
    hear();
}

/// `raise-orphaned SIGNAL`: in a session of its own, whose process group is therefore
/// orphaned, sends itself a signal. Ends with 3.
pub(crate) fn raise_orphaned(args: &[String]) {
    // SAFETY: takes nothing, and a number.
    unsafe {
        assert!(libc::setsid() > 0, "{}", std::io::Error::last_os_error());
        libc::raise(number(args, 0));
    }
    std::process::exit(3);
}

/// `read-interrupted RESTART`: a read that a signal with a handler interrupts. Says what
/// came of it: with `restart` the read goes on.
pub(crate) fn read_interrupted(args: &[String]) {
    // SAFETY: as in `catch`.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        if args.first().is_some_and(|arg| arg == "restart") {
            action.sa_flags = libc::SA_RESTART;
        }
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
    say("ready");
    let mut byte = 0_u8;
    // SAFETY: one byte is there to be written.
    let result = unsafe { libc::read(0, (&raw mut byte).cast(), 1) };
    let error = std::io::Error::last_os_error().raw_os_error();
    let caught = CAUGHT.load(Ordering::SeqCst);
    match result {
        -1 => say(&format!(
            "read failed {} caught {caught}",
            error.unwrap_or(0)
        )),
        n => say(&format!("read {n} caught {caught}")),
    }
}

/// `nap MILLISECONDS`: one nanosleep; says its result, whether time was left, and waits for
/// a line.
pub(crate) fn nap(args: &[String]) {
    let milliseconds = number(args, 0);
    let time = libc::timespec {
        tv_sec: i64::from(milliseconds / 1000),
        tv_nsec: i64::from(milliseconds % 1000) * 1_000_000,
    };
    let mut left = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    say("ready");
    // SAFETY: both times are live.
    let result = unsafe { libc::nanosleep(&raw const time, &raw mut left) };
    let is_left = left.tv_sec > 0 || left.tv_nsec > 0;
    say(&format!("slept {result} left {is_left}"));
    hear();
}

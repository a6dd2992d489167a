//! Becoming another program.

use std::ffi::CString;
use std::process::exit;

use crate::births::{argv, start_pausing};
use crate::{mark, pause};

pub(crate) fn exec(args: &[String]) {
    let (_strings, argv) = argv(args);
    // SAFETY: a string, and an array of strings that ends in null.
    unsafe { libc::execv(argv[0], argv.as_ptr()) };
    exit(127)
}

/// By the leader, while other threads pause.
pub(crate) fn exec_with_threads(args: &[String]) {
    start_pausing(2);
    exec(args)
}

/// By another thread, while the leader and a third one pause.
pub(crate) fn exec_from_thread(args: &[String]) {
    start_pausing(1);
    let args = args.to_vec();
    std::thread::spawn(move || exec(&args));
    pause()
}

/// One that fails, between two marks.
pub(crate) fn failed_exec() {
    let missing = CString::new("/nonexistent/program").expect("no NUL");
    let argv = [missing.as_ptr(), std::ptr::null()];
    mark(1, 0, 0);
    // SAFETY: a string, and an array of strings that ends in null.
    unsafe { libc::execv(missing.as_ptr(), argv.as_ptr()) };
    mark(2, 0, 0);
}

/// Two threads that mark 21 and 22, and become programs that end with these codes, at the
/// same time.
pub(crate) fn two_execs(args: &[String]) {
    for code in [21, 22] {
        let mut args = args.to_vec();
        args.extend(["exit".to_string(), code.to_string()]);
        std::thread::spawn(move || {
            mark(code, 0, 0);
            exec(&args)
        });
    }
    pause()
}

/// A leader that ends at SIGUSR2, and a thread that becomes another program at SIGUSR1,
/// whatever comes first.
pub(crate) fn exec_without_leader(args: &[String]) {
    let wait_for = |signal| {
        // SAFETY: zero is a value of a set; the set is live, the siginfo not asked for.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&raw mut set, signal);
            libc::sigwaitinfo(&raw const set, std::ptr::null_mut())
        }
    };
    // Blocked in both: neither takes the other's.
    crate::signals::block(&[libc::SIGUSR1, libc::SIGUSR2]);
    let args = args.to_vec();
    std::thread::spawn(move || {
        wait_for(libc::SIGUSR1);
        exec(&args)
    });
    crate::say("ready");
    wait_for(libc::SIGUSR2);
    // SAFETY: ends this thread only, which owns nothing that others need.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

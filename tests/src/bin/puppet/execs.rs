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

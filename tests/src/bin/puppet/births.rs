//! Making processes and threads in every way.

use std::ffi::{CString, c_int, c_void};
use std::process::exit;
use std::sync::{Arc, Barrier};

use crate::{mark, pause, say};

/// What children end with.
const CHILD_CODE: c_int = 7;

/// Waits for a child and ends as it did.
fn end_as(pid: c_int) -> ! {
    assert!(pid > 0, "{}", std::io::Error::last_os_error());
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    assert_eq!(waited, pid, "{}", std::io::Error::last_os_error());
    if libc::WIFSIGNALED(status) {
        exit(128 + libc::WTERMSIG(status));
    }
    exit(libc::WEXITSTATUS(status))
}

/// What a child does: something to be seen, and its end.
fn child() -> ! {
    mark(0xc, 0, 0);
    // SAFETY: ends the child at once.
    unsafe { libc::_exit(CHILD_CODE) }
}

extern "C" fn cloned_child(_: *mut c_void) -> c_int {
    child()
}

pub(crate) fn fork() {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => child(),
        pid => end_as(pid),
    }
}

/// Lets a child do something, and waits for its end, which is to be a good one.
pub(crate) fn fork_and_wait(work: impl FnOnce()) {
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        work();
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) }
    }
    let mut status = -1;
    // SAFETY: `status` outlives the call.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!((waited, status), (pid, 0));
}

/// The parent ends at once; the child pauses.
pub(crate) fn fork_and_leave() {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => pause(),
        _ => exit(0),
    }
}

pub(crate) fn forks(count: c_int) {
    (0..count).for_each(|_| fork_and_wait(|| {}));
}

/// `clone` with these flags, on a stack of its own.
fn clone_child(flags: c_int, f: extern "C" fn(*mut c_void) -> c_int, arg: *mut c_void) -> c_int {
    let mut stack = vec![0_u128; 8192];
    // SAFETY: the end of the stack, which is leaked and so outlives the child.
    unsafe {
        let top = stack.as_mut_ptr().add(8192);
        std::mem::forget(stack);
        libc::clone(f, top.cast(), flags, arg)
    }
}

pub(crate) fn clone(flags: c_int) {
    end_as(clone_child(flags, cloned_child, std::ptr::null_mut()))
}

const VFORK: c_int = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;

pub(crate) fn vfork() {
    end_as(clone_child(VFORK, cloned_child, std::ptr::null_mut()))
}

extern "C" fn exec_child(argv: *mut c_void) -> c_int {
    let argv = argv.cast::<*const libc::c_char>();
    // SAFETY: an array of strings that ends in null, made by `vfork_exec`.
    unsafe {
        libc::execv(*argv, argv);
        libc::_exit(127)
    }
}

/// The strings, and the array that exec takes of them.
pub(crate) fn argv(args: &[String]) -> (Vec<CString>, Vec<*const libc::c_char>) {
    let strings: Vec<CString> = args
        .iter()
        .map(|arg| CString::new(arg.as_str()).expect("no NUL"))
        .collect();
    let mut pointers: Vec<_> = strings.iter().map(|arg| arg.as_ptr()).collect();
    pointers.push(std::ptr::null());
    (strings, pointers)
}

pub(crate) fn vfork_exec(args: &[String]) {
    let (_strings, mut argv) = argv(args);
    end_as(clone_child(VFORK, exec_child, argv.as_mut_ptr().cast()))
}

pub(crate) fn clone3() {
    let mut args = [0_u64; 11];
    args[4] = libc::SIGCHLD as u64;
    // SAFETY: clone_args is eleven numbers, of which only exit_signal is set: a fork.
    match unsafe { libc::syscall(libc::SYS_clone3, args.as_mut_ptr(), size_of_val(&args)) } {
        0 => child(),
        pid => end_as(pid as c_int),
    }
}

pub(crate) fn posix_spawn(args: &[String]) {
    let (_strings, argv) = argv(args);
    let mut pid = 0;
    // SAFETY: strings, and arrays that end in null.
    let result = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            argv[0],
            std::ptr::null(),
            std::ptr::null(),
            argv.as_ptr().cast(),
            [std::ptr::null_mut()].as_ptr(),
        )
    };
    assert_eq!(result, 0);
    end_as(pid)
}

/// Threads that live a millisecond each.
pub(crate) fn short_threads(count: c_int) {
    let threads: Vec<_> = (0..count)
        .map(|_| std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_millis(1))))
        .collect();
    for thread in threads {
        thread.join().expect("a thread");
    }
}

/// Starts threads that pause; returns when all run.
pub(crate) fn start_pausing(count: c_int) {
    let barrier = Arc::new(Barrier::new(count as usize + 1));
    for _ in 0..count {
        let barrier = Arc::clone(&barrier);
        std::thread::spawn(move || {
            barrier.wait();
            pause()
        });
    }
    barrier.wait();
}

pub(crate) fn waiting_threads(count: c_int) {
    start_pausing(count);
    say("ready");
    pause()
}

/// exit_group while threads pause.
pub(crate) fn exit_with_threads(count: c_int) {
    start_pausing(count);
    exit(5)
}

/// exit_group(5), maybe before a thread has ended with 3.
pub(crate) fn exit_beside_a_thread_that_ends() {
    std::thread::spawn(|| {
        // SAFETY: ends this thread alone, which owns nothing.
        unsafe { libc::syscall(libc::SYS_exit, 3) };
    });
    exit(5)
}

/// Makes a thread, then a process.
pub(crate) fn thread_and_fork() {
    std::thread::spawn(|| mark(0x7, 0, 0))
        .join()
        .expect("a thread");
    fork()
}

//! Execs of processes with several threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use crate::groups::start_pausing;
use crate::{exec, hear, number, pause, say, wait_for_state};

/// `race-exec THREADS PROGRAM…`: so many threads exec at the same time.
pub(crate) fn race(args: &[String]) {
    let count = number(args, 0) as usize;
    let barrier = Arc::new(Barrier::new(count));
    for _ in 0..count {
        let (barrier, args) = (Arc::clone(&barrier), args[1..].to_vec());
        std::thread::spawn(move || {
            barrier.wait();
            exec(&args)
        });
    }
    pause()
}

/// `exec-when-told THREADS PROGRAM…`: makes threads that pause and one that execs when it
/// is told; says `ready TID` with that one's id.
pub(crate) fn when_told(args: &[String]) {
    start_pausing(number(args, 0));
    let args = args[1..].to_vec();
    std::thread::spawn(move || {
        // SAFETY: takes nothing.
        say(&format!("ready {}", unsafe { libc::gettid() }));
        hear();
        exec(&args)
    });
    pause()
}

/// `exec-often ROUNDS`: becomes itself again and again, by another thread each time, among
/// two that pause; then ends with 11.
pub(crate) fn often(args: &[String]) {
    let rounds = number(args, 0);
    if rounds == 0 {
        std::process::exit(11);
    }
    start_pausing(2);
    let own = std::env::current_exe().expect("a path");
    let own = own.to_str().expect("text").to_string();
    std::thread::spawn(move || exec(&[own, "exec-often".into(), (rounds - 1).to_string()]));
    pause()
}

/// `exec-over-fork PROGRAM…`: when it is told, the leader forks, and when it has stopped at that
/// another thread execs. The child says `child`, and ends. It says `ready` when both threads run.
pub(crate) fn over_fork(args: &[String]) {
    static RUNS: AtomicBool = AtomicBool::new(false);
    static FORKS: AtomicBool = AtomicBool::new(false);
    let args = args.to_vec();
    // SAFETY: takes nothing.
    let leader = unsafe { libc::getpid() };
    std::thread::spawn(move || {
        RUNS.store(true, Ordering::Release);
        while !FORKS.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        wait_for_state(leader, "t");
        exec(&args)
    });
    while !RUNS.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    say("ready");
    hear();
    FORKS.store(true, Ordering::Release);
    // Not fork(3), which has locks of the C library meanwhile that the other thread needs.
    // SAFETY: the child has its own memory, and calls what needs no locks.
    if unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } == 0 {
        say("child");
        // SAFETY: takes a number.
        unsafe { libc::_exit(0) };
    }
    pause()
}

/// `half-exec`: another thread execs a file that the kernel finds out to be no program when
/// there is no way back: it kills the process then.
pub(crate) fn half(args: &[String]) {
    let file = args[0].clone();
    std::thread::spawn(move || exec(&[file]));
    pause()
}

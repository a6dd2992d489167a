//! Threads that die together, or not.

use std::sync::{Arc, Barrier};

use crate::{end_thread, number, pause, say, wait_for_end};

/// Starts threads that pause; returns when all run.
pub(crate) fn start_pausing(count: i32) {
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

/// `dump DIRECTORY THREADS`: aborts where a core may be dumped, beside threads that pause.
pub(crate) fn dump(args: &[String]) {
    std::env::set_current_dir(&args[0]).expect("a directory");
    let limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    start_pausing(number(args, 1));
    // SAFETY: a limit that outlives the call; then the end.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
        libc::abort()
    }
}

/// A call that nothing here makes but for the filter.
const FORBIDDEN: libc::c_long = libc::SYS_getpriority;

/// Installs a filter for the calling thread that answers the forbidden call with `action`.
fn forbid(action: u32) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let statement = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        statement(LOAD, 0, 0, 0),
        statement(EQUAL, 0, 1, FORBIDDEN as u32),
        statement(RETURN, 0, 0, action),
        statement(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: numbers, and a filter that outlives the calls.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        let result = libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program);
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}

/// `seccomp WHAT THREADS`: a thread beside others that pause makes a call for which its
/// filter kills it (`thread`), or the process (`process`). The leader then says `alive` and
/// ends with 5.
pub(crate) fn seccomp(args: &[String]) {
    let action = match args[0].as_str() {
        "thread" => libc::SECCOMP_RET_KILL_THREAD,
        _ => libc::SECCOMP_RET_KILL_PROCESS,
    };
    start_pausing(number(args, 1));
    let tid = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // SAFETY: takes nothing.
        let own = unsafe { libc::gettid() };
        tid.0.send(own).expect("the leader waits");
        forbid(action);
        // SAFETY: takes numbers.
        unsafe { libc::syscall(FORBIDDEN, 0, 0) };
        end_thread(0)
    });
    let tid = tid.1.recv().expect("a thread");
    wait_for_end(tid);
    say("alive");
    std::process::exit(5);
}

//! Using the machine.

use crate::{number, pause, say};

fn usage(who: i32) -> libc::rusage {
    // SAFETY: zero is a value of every field; the structure outlives the call.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(who, &raw mut usage), 0);
        usage
    }
}

fn micros(usage: &libc::rusage) -> i64 {
    let of = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    of(usage.ru_utime) + of(usage.ru_stime)
}

fn burn(milliseconds: i32, bytes: usize) {
    let memory = std::hint::black_box(vec![1_u8; bytes]);
    let some = &memory[..memory.len().min(4096)];
    while micros(&usage(libc::RUSAGE_SELF)) < i64::from(milliseconds) * 1000 {
        std::hint::black_box(some.iter().map(|&byte| u64::from(byte)).sum::<u64>());
    }
}

/// `burn MILLISECONDS BYTES THEN`: takes so much time and memory: in a child (`child`), in
/// a thread (`thread`), or itself. Then says time, memory, faults and switches, and ends, or
/// pauses (`pause`).
pub(crate) fn burn_and(args: &[String]) {
    let (time, bytes) = (number(args, 0), number(args, 1) as usize);
    let mut who = libc::RUSAGE_SELF;
    match args[2].as_str() {
        "child" => {
            who = libc::RUSAGE_CHILDREN;
            // SAFETY: this process has one thread; the status is not asked for.
            unsafe {
                let pid = libc::fork();
                if pid == 0 {
                    burn(time, bytes);
                    libc::_exit(0);
                }
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
        }
        "thread" => {
            let thread = std::thread::spawn(move || burn(time, bytes));
            thread.join().expect("a thread");
        }
        _ => burn(time, bytes),
    }
    let used = usage(who);
    let numbers = [micros(&used), used.ru_maxrss, used.ru_minflt, used.ru_nvcsw];
    say(&numbers.map(|number| number.to_string()).join(" "));
    if args[2] == "pause" {
        pause();
    }
}

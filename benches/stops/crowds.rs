//! The traced programs that are many: idle processes and threads, forks, a pulse.
//!
//! A process that waits here dies with its parent: `PR_SET_PDEATHSIG`.

use std::hint::black_box;
use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, getppid, pause};

/// Makes idle processes and becomes one.
pub(crate) fn idle_processes(number: u64) {
    die_with_parent();
    for _ in 0..number {
        // SAFETY: there is one thread.
        match unsafe { fork() } {
            Ok(ForkResult::Parent { .. }) => {}
            Ok(ForkResult::Child) => {
                die_with_parent();
                wait_for_ever();
            }
            Err(error) => {
                eprintln!("fork: {error}");
                break;
            }
        }
    }
    say_ready();
    wait_for_ever();
}

/// Makes idle threads and becomes one.
pub(crate) fn idle_threads(number: u64) {
    die_with_parent();
    for _ in 0..number {
        let thread = std::thread::Builder::new().stack_size(16 * 1024);
        if let Err(error) = thread.spawn(|| wait_for_ever()) {
            eprintln!("thread: {error}");
            break;
        }
    }
    say_ready();
    wait_for_ever();
}

/// Forks children that end at once, and reaps each before the next.
pub(crate) fn forks(times: u64) {
    for _ in 0..times {
        // SAFETY: there is one thread.
        match unsafe { fork() } {
            Ok(ForkResult::Parent { child }) => drop(waitpid(child, None)),
            // SAFETY: it takes a number and does not return.
            Ok(ForkResult::Child) => unsafe { libc::_exit(0) },
            Err(error) => {
                eprintln!("fork: {error}");
                break;
            }
        }
    }
}

/// Makes a call each millisecond and notes how long it took: two stops, and what the tracer
/// was late for them.
pub(crate) fn pulse(times: u64) {
    let mut taken = Vec::new();
    for _ in 0..times {
        std::thread::sleep(Duration::from_millis(1));
        let start = Instant::now();
        black_box(getppid());
        taken.push(start.elapsed().as_nanos());
    }
    taken.sort_unstable();
    let at = |part: usize| taken.get(taken.len() * part / 100).copied().unwrap_or(0) as f64 / 1e3;
    println!("{} {}", at(50), at(99));
}

/// Nobody else would end it if the benchmark were killed.
pub(crate) fn die_with_parent() {
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
}

fn say_ready() {
    println!("ready");
    let _ = stdout().flush();
}

/// Sleeps.
pub(crate) fn wait_for_ever() -> ! {
    loop {
        pause();
    }
}

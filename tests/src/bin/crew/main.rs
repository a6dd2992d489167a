//! Processes of several threads, and several processes, to be traced: `crew COMMAND
//! [ARGUMENT…]` brings about a situation that one thread cannot.
//!
//! Where a test has to know that something has happened, it is told by a line; where the
//! crew has to wait for a test, it waits for a line.

mod births;
mod execs;
mod groups;
mod leaderless;
mod namespaces;
mod pager;
mod resources;
mod signals;

use std::io::{BufRead, Write};
use std::time::Duration;

/// Says a line, at once.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever listened may be gone.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Waits for a line of the test.
pub(crate) fn hear() -> String {
    let mut line = String::new();
    // At the end of the input there is nothing more to wait for.
    let _ = std::io::stdin().lock().read_line(&mut line);
    line.trim_end().to_string()
}

/// Sleeps until a signal ends the process.
pub(crate) fn pause() -> ! {
    loop {
        // SAFETY: takes nothing and touches nothing.
        unsafe { libc::pause() };
    }
}

/// Ends the calling thread, and no other.
pub(crate) fn end_thread(code: i32) -> ! {
    // SAFETY: the stack of this thread is not used by others.
    unsafe { libc::syscall(libc::SYS_exit, code) };
    unreachable!("it has ended")
}

/// Waits until a thread of this process is in a state.
pub(crate) fn wait_for_state(tid: i32, state: &str) {
    let path = format!("/proc/self/task/{tid}/stat");
    loop {
        let stat = std::fs::read_to_string(&path).unwrap_or_default();
        let rest = stat.rsplit(") ").next().unwrap_or_default();
        if rest.starts_with(state) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until a thread of this process is there no more.
pub(crate) fn wait_for_end(tid: i32) {
    while std::fs::exists(format!("/proc/self/task/{tid}")).unwrap_or(false) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn number(args: &[String], at: usize) -> i32 {
    let arg = args.get(at).and_then(|arg| arg.parse().ok());
    arg.expect("a number")
}

/// Becomes another program.
pub(crate) fn exec(args: &[String]) -> ! {
    use std::os::unix::process::CommandExt;
    let error = std::process::Command::new(&args[0]).args(&args[1..]).exec();
    panic!("{}: {error}", args[0]);
}

fn main() {
    // Whatever becomes of the test, this ends.
    // SAFETY: takes a number.
    unsafe { libc::alarm(120) };
    let all: Vec<String> = std::env::args().skip(1).collect();
    let (command, args) = all.split_first().expect("a command");
    match command.as_str() {
        "leaderless" => leaderless::leaderless(args),
        "dump" => groups::dump(args),
        "seccomp" => groups::seccomp(args),
        "threads" => {
            groups::start_pausing(number(args, 0));
            say("ready");
            pause();
        }
        "raise-often" => signals::raise_often(args),
        "raise-orphaned" => signals::raise_orphaned(args),
        "read-interrupted" => signals::read_interrupted(args),
        "nap" => signals::nap(args),
        "pager" => pager::pager(),
        "stalled-exec" => pager::stalled_exec(args),
        "burn" => resources::burn_and(args),
        "race-exec" => execs::race(args),
        "exec-when-told" => execs::when_told(args),
        "exec-often" => execs::often(args),
        "exec-over-fork" => execs::over_fork(args),
        "half-exec" => execs::half(args),
        "namespace" => namespaces::nested(args),
        "init-dies" => namespaces::init_dies(args),
        "siblings" => births::siblings(args),
        other => panic!("no such command: {other}"),
    }
}

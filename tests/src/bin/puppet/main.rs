//! A program to be traced: `puppet COMMAND [ARGUMENT…]` does one thing that tests look at.
//!
//! Where a test has to know that something has happened, the puppet says so: by a line on
//! its output, or by a `getppid` whose arguments, which the kernel ignores, are for the
//! tracer.

mod births;
mod execs;
mod filters;
mod memory;
mod registers;
mod signals;
mod steps;

use std::io::Write;
use std::process::exit;

/// Says a line, at once.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("an output");
}

/// A system call that does nothing, for a tracer to see.
pub(crate) fn mark(a: usize, b: usize, c: usize) {
    // SAFETY: getppid takes no arguments and touches nothing.
    unsafe { libc::syscall(libc::SYS_getppid, a, b, c) };
}

/// A system call that no kernel has.
fn unknown_call() {
    // SAFETY: there is no such call, and so nothing that it does.
    unsafe { libc::syscall(99_999, 1, 2, 3, 4, 5, 6) };
}

/// Sleeps until a signal ends the process.
pub(crate) fn pause() -> ! {
    end_if_forgotten();
    loop {
        // SAFETY: takes nothing and touches nothing.
        unsafe { libc::pause() };
    }
}

/// The process that this is, in the way a child of vfork may ask.
pub(crate) fn own_pid() -> i32 {
    // SAFETY: takes nothing and touches nothing.
    unsafe { libc::getpid() }
}

/// What a program sees of how it was started.
fn report(args: &[String]) {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    say(&format!("args={}", args.join(",")));
    let name = std::env::args().next().unwrap_or_default();
    say(&format!("name={name}"));
    let directory = std::env::current_dir().expect("a directory");
    say(&format!("dir={}", directory.display()));
    // SAFETY: these take and give numbers.
    let (uid, gid, groups, group) = unsafe {
        let groups = libc::getgroups(0, std::ptr::null_mut());
        (libc::geteuid(), libc::getegid(), groups, libc::getpgrp())
    };
    say(&format!("uid={uid} gid={gid} groups={groups}"));
    say(&format!("leads={}", group == own_pid()));
    for (key, value) in std::env::vars_os() {
        say(&format!("env:{}={}", key.display(), value.display()));
    }
}

/// Copies the input to the output, and says so on the third stream.
fn cat() {
    let copied = std::io::copy(&mut std::io::stdin(), &mut std::io::stdout());
    eprintln!("copied {}", copied.expect("a copy"));
}

fn number(args: &[String], at: usize) -> i32 {
    args.get(at)
        .and_then(|arg| arg.parse().ok())
        .expect("a number")
}

/// A puppet that is forgotten ends by itself; so does a child of it that pauses.
fn end_if_forgotten() {
    const SECONDS: u32 = 120;
    // SAFETY: takes a number; the signal's default ends the process.
    unsafe { libc::alarm(SECONDS) };
}

fn main() {
    end_if_forgotten();
    let all: Vec<String> = std::env::args().skip(1).collect();
    let (command, args) = all.split_first().expect("a command");
    match command.as_str() {
        "exit" => exit(number(args, 0)),
        "pause" => pause(),
        "say-and-pause" => {
            say("ready");
            pause()
        }
        "report" => report(args),
        "cat" => cat(),
        // Makes more marks than anybody waits for, and then rests: one that is left over
        // must not keep a CPU busy.
        "marks" => {
            (0..100_000).for_each(|_| mark(1, 2, 3));
            pause()
        }
        // Makes so many marks.
        "mark" => (0..number(args, 0)).for_each(|n| mark(n as usize, 0, 0)),
        // Sleeps so often, for so many milliseconds, and makes a mark after each.
        "nap" => (0..number(args, 0)).for_each(|n| {
            std::thread::sleep(std::time::Duration::from_millis(number(args, 1) as u64));
            mark(n as usize, 0, 0);
        }),
        // The same number for the kernel and, unless a tracer meddles, for the program.
        "say-parent" => say(&format!("{}", std::os::unix::process::parent_id())),
        "unknown-call" => unknown_call(),
        "raise" => signals::raise(number(args, 0)),
        "catch" => signals::catch(args),
        "queue" => signals::queue_while_blocked(),
        "block" => signals::block_a_while(number(args, 0)),
        "pending" => signals::pending(number(args, 0)),
        "parent" => signals::parent_of_a_pausing_child(),
        "raise-between" => signals::raise_between_marks(),
        "breakpoint" => signals::breakpoint(),
        "forge-trap" => signals::forge_trap(number(args, 0)),
        "fault" => signals::fault(),
        "dump" => signals::dump(args),
        "fork" => births::fork(),
        "mark-and-fork" => {
            mark(1, 0, 0);
            births::fork();
        }
        "fork-orphan" => births::fork_and_leave(),
        "forks" => births::forks(number(args, 0)),
        "vfork" => births::vfork(),
        "vfork-exec" => births::vfork_exec(args),
        "clone" => births::clone(0),
        "clone-untraced" => births::clone(libc::CLONE_UNTRACED | libc::SIGCHLD),
        "clone3" => births::clone3(),
        "posix-spawn" => births::posix_spawn(args),
        "threads" => births::short_threads(number(args, 0)),
        "waiting-threads" => births::waiting_threads(number(args, 0)),
        "exit-with-threads" => births::exit_with_threads(number(args, 0)),
        "exit-beside-a-thread-that-ends" => births::exit_beside_a_thread_that_ends(),
        "thread-and-fork" => births::thread_and_fork(),
        "exec" => execs::exec(args),
        "exec-with-threads" => execs::exec_with_threads(args),
        "exec-from-thread" => execs::exec_from_thread(args),
        "two-execs" => execs::two_execs(args),
        "exec-without-leader" => execs::exec_without_leader(args),
        "failed-exec" => execs::failed_exec(),
        "memory" => memory::show(),
        "vectors" => registers::vectors(),
        "watched" => registers::watched(),
        "watched-elsewhere" => registers::watched_elsewhere(),
        "filters" => filters::install_two(),
        "ask-tracer" => filters::ask_tracer(),
        "call-on-demand" => filters::call_on_demand(args.first().map_or("self", |arg| arg)),
        "x32-call" => filters::x32_call(),
        "dispatch" => filters::dispatch(true),
        "dispatch-by-tracer" => filters::dispatch(false),
        "rseq" => filters::rseq(),
        "step" => steps::known_instructions(),
        "step-handler" => steps::into_a_handler(),
        "old-calls" => steps::old_calls(),
        other => panic!("no such command: {other}"),
    }
}

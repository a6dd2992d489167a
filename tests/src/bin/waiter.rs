//! A tracer of the smallest kind, to be traced itself: one thread waits with an
//! `Interrupter` for reports of one tracee, a second one interrupts it when told to.
//!
//! Says `section START END TRACEE` at first. Then, in each round: makes a getppid(2), which
//! marks the round's begin; waits until it has been woken once and has had one report, and
//! says `woken N` and `report N`, where N is how often a wait of this round ended without a
//! report.
//!
//! Each byte on the standard input is a wake, and answered with `sent`. With `handler` as
//! its argument it has a handler of SIGCHLD. With `alarm` it may be woken more than once in a
//! round, and says `asked` before each wake instead.

use std::io::{Read, Write};
use std::sync::Arc;

use tracehound_sys::ptrace::{self, Options, ResumeKind};
use tracehound_sys::wait::Target;
use tracehound_sys::wake::{self, Bound, Interrupter, Waited, WakeSignal};
use tracehound_sys::{Tid, Usage, thread};

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

extern "C" fn nothing(_signal: libc::c_int) {}

fn handle_sigchld() {
    // SAFETY: zero is a value of every field.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the action is live, its handler does nothing.
    unsafe { libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut()) };
}

/// A process that does nothing.
fn child() -> Tid {
    // SAFETY: there is no other thread; the child makes system calls only.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        loop {
            // SAFETY: takes nothing.
            unsafe { libc::pause() };
        }
    }
    Tid::from_raw(pid)
}

fn round(bound: &Bound<'_>, interrupter: &Interrupter, once: bool) {
    let (mut ended, mut woken, mut reported) = (0, false, false);
    // SAFETY: takes nothing.
    unsafe { libc::syscall(libc::SYS_getppid) };
    while !(woken && reported) {
        match bound.wait(Target::All, Usage::Unwanted).expect("waitid") {
            Waited::Report(report) => {
                assert!(!reported, "one report is expected");
                reported = true;
                ptrace::resume(report.tid, ResumeKind::Cont, None).expect("it is stopped");
                say(&format!("report {ended}"));
            }
            Waited::Interrupted => ended += 1,
            Waited::NoTracees => panic!("there is a tracee"),
        }
        if interrupter.acknowledge() {
            assert!(!woken || !once, "one wake is expected");
            woken = true;
            say(&format!("woken {ended}"));
        }
    }
}

fn main() {
    let how = std::env::args().nth(1).unwrap_or_default();
    if how == "handler" {
        handle_sigchld();
    }
    let tracee = child();
    ptrace::seize(tracee, Options::EXITKILL).expect("a child of ours");
    let signal = WakeSignal::claim(None).expect("a free signal");
    let interrupter = Arc::new(Interrupter::new(signal));
    let waker = Arc::clone(&interrupter);
    let alarmed = how == "alarm";
    std::thread::spawn(move || {
        // So that signals to the process go to the thread that waits.
        thread::block_all_but(&[]);
        for _ in std::io::stdin().lock().bytes() {
            if alarmed {
                say("asked");
            }
            waker.interrupt();
            if !alarmed {
                say("sent");
            }
        }
        std::process::exit(0);
    });
    let bound = interrupter.bind();
    let section = wake::section().unwrap_or_default();
    say(&format!(
        "section {} {} {tracee}",
        section.start, section.end
    ));
    loop {
        round(&bound, &interrupter, !alarmed);
    }
}

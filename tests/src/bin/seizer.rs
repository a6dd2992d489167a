//! Another tracer, of the smallest kind: `seizer TID…` seizes threads, says `seized`, and
//! lets them go on at every stop. It says `exec TID` for each exec and `end TID` for each
//! death, and ends when it has no tracee left, or its input ends. `seizer hold-exits TID…` holds
//! them in their exit stops, and says `exit TID`.

use std::io::{Read, Write};

use tracehound_sys::Tid;
use tracehound_sys::ptrace::{self, Options, ResumeKind};
use tracehound_sys::wait::{OWN_TRACEES, StopKind, Target, WaitStatus, poll};

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn main() {
    let mut args = std::env::args().skip(1).peekable();
    let holds = args.next_if(|first| first == "hold-exits").is_some();
    let exits = if holds {
        Options::TRACEEXIT
    } else {
        Options::empty()
    };
    for tid in args {
        let tid = Tid::from_raw(tid.parse().expect("a number"));
        ptrace::seize(tid, Options::TRACEEXEC | exits).expect("seized");
    }
    say("seized");
    std::thread::spawn(|| {
        for _ in std::io::stdin().lock().bytes() {}
        std::process::exit(0);
    });
    loop {
        match poll(Target::All, OWN_TRACEES) {
            Ok(Some(report)) => match report.status {
                WaitStatus::Stopped(stop) if stop.kind() == StopKind::Exit => {
                    say(&format!("exit {}", report.tid));
                }
                WaitStatus::Stopped(stop) => {
                    let signal = match stop.kind() {
                        StopKind::Signal(signal) => Some(signal),
                        _ => None,
                    };
                    if stop.kind() == StopKind::Exec {
                        say(&format!("exec {}", report.tid));
                    }
                    // An error: it was killed.
                    let _ = ptrace::resume(report.tid, ResumeKind::Cont, signal);
                }
                _ => say(&format!("end {}", report.tid)),
            },
            Ok(None) => std::thread::sleep(std::time::Duration::from_millis(1)),
            Err(_) => return,
        }
    }
}

//! Other libraries for tracers, each in its fastest correct use.
//!
//! What they tell at each stop of the same program is what our own cases tell: which call
//! it is, with its arguments, and its result. One that only has the registers for this is
//! compared with the loop that reads them.

use std::fmt::{Debug, Display};
use std::hint::black_box;
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use pete::{Ptracer, Restart, Stop};

use crate::cases::Case;
use crate::cases::bare::{FLOOR_INFO, FLOOR_REGS};
use crate::floor;
use crate::plan::Plan;
use crate::sample::Sample;
use crate::workload::{LOADER_PATH, Workload};

pub(super) const SAFEPTRACE_SYNC: &str = "safeptrace 0.4, synchronous";
pub(super) const SAFEPTRACE: &str = "safeptrace 0.5, async";
pub(super) const PETE: &str = "pete 0.13";
pub(super) const PETE_BUSY: &str = "pete 0.13, never sleeping";

pub(super) const CASES: &[Case] = &[
    Case {
        name: SAFEPTRACE_SYNC,
        baseline: Some(FLOOR_REGS),
        goal: None,
        run: synchronous,
    },
    Case {
        name: SAFEPTRACE,
        baseline: Some(FLOOR_INFO),
        goal: None,
        run: asynchronous,
    },
    Case {
        name: PETE,
        baseline: Some(FLOOR_REGS),
        goal: None,
        run: |plan| polling(plan, None),
    },
    Case {
        name: PETE_BUSY,
        baseline: Some(FLOOR_REGS),
        goal: None,
        run: |plan| polling(plan, Some(Duration::ZERO)),
    },
];

/// One thread that blocks in the wait for its only tracee: what safeptrace is without its
/// feature `notifier`. With it the blocking wait takes ten times as long, and the features
/// of a crate are the same for all who use it; so this is the version before.
fn synchronous(plan: &Plan) -> io::Result<Sample> {
    use safeptrace_plain::{Event, Pid, Stopped, Wait};

    let pid = Pid::from_raw(floor::spawn_held(Workload::Calls(plan.calls))?);
    let mut tracee = Stopped::new_unchecked(pid);
    let mut stops = 0;
    let start = Instant::now();
    loop {
        let running = tracee.syscall(None).map_err(as_io)?;
        tracee = match running.wait().map_err(as_io)? {
            Wait::Stopped(tracee, Event::Syscall) => tracee,
            Wait::Stopped(_, event) => return Err(unexpected(&event)),
            Wait::Exited(..) => return Ok(Sample::new(stops, start.elapsed())),
        };
        black_box(tracee.getregs().map_err(as_io)?);
        stops += 1;
    }
}

/// A future on the thread that attached, woken by a thread of the crate's that waits for
/// this tracee alone. (In a tokio runtime it is a little slower.)
fn asynchronous(plan: &Plan) -> io::Result<Sample> {
    use safeptrace::{Event, Pid, Stopped, Wait};

    let pid = Pid::from_raw(floor::spawn_held(Workload::Calls(plan.calls))?);
    let mut tracee = Stopped::try_new_current_unchecked(pid).map_err(as_io)?;
    block_on(async {
        let mut stops = 0;
        let start = Instant::now();
        loop {
            let running = tracee.syscall(None).map_err(as_io)?;
            tracee = match running.next_state().await.map_err(as_io)? {
                Wait::Stopped(tracee, Event::Syscall) => tracee,
                Wait::Stopped(_, event) => return Err(unexpected(&event)),
                Wait::Exited(..) => return Ok(Sample::new(stops, start.elapsed())),
            };
            black_box(tracee.getsyscallinfo().map_err(as_io)?);
            stops += 1;
        }
    })
}

/// It polls its tracees and sleeps between two polls, each time twice as long, beginning
/// with a microsecond; on Linux a sleep lasts 50 µs at least, so no other number would be
/// better, but zero: then it never sleeps, and uses the CPU up while it waits.
fn polling(plan: &Plan, delay: Option<Duration>) -> io::Result<Sample> {
    let [program, args @ ..] = Workload::Calls(plan.calls).command_line()?;
    let mut command = Command::new(program);
    command.args(args).env_remove(LOADER_PATH);
    let mut tracer = Ptracer::new();
    if let Some(delay) = delay {
        tracer.set_poll_delay(delay);
    }
    let mut child = tracer.spawn(command).map_err(as_io)?;
    // The stop after the exec.
    let mut next = tracer.wait().map_err(as_io)?;
    let mut stops = 0;
    let start = Instant::now();
    while let Some(tracee) = next {
        tracer.restart(tracee, Restart::Syscall).map_err(as_io)?;
        next = tracer.wait().map_err(as_io)?;
        if let Some(tracee) = &next
            && matches!(tracee.stop, Stop::SyscallEnter | Stop::SyscallExit)
        {
            black_box(tracee.registers().map_err(as_io)?);
            stops += 1;
        }
    }
    let time = start.elapsed();
    child.wait()?;
    Ok(Sample::new(stops, time))
}

fn as_io(error: impl Display) -> io::Error {
    io::Error::other(error.to_string())
}

fn unexpected(event: &impl Debug) -> io::Error {
    io::Error::other(format!("unexpected stop: {event:?}"))
}

//! The traced programs: this executable, started again with a special argument.

use std::ffi::OsString;
use std::hint::black_box;
use std::io;

use nix::sys::signal::{Signal, raise};

use crate::{crowds, machine};

/// The first argument of a traced program.
const MARK: &str = "--workload";

/// What `cargo bench` tells the dynamic loader, which makes it search dozens of
/// directories. The traced programs are started without it.
pub(crate) const LOADER_PATH: &str = "LD_LIBRARY_PATH";

/// The signal that a program raises when it has come through the dynamic loader, which
/// takes hundreds of thousands of instructions. Ignored by default.
pub(crate) const READY: i32 = libc::SIGWINCH;

/// What a traced program does before it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Workload {
    /// The cheapest system call, so many times: two stops each.
    Calls(u64),
    /// The same on another CPU than the tracer's.
    CallsElsewhere(u64),
    /// Uses the CPU up until it is killed.
    Hog,
    /// Sleeps until it is killed.
    Sleep,
    /// So many idle processes, children of one.
    IdleProcesses(u64),
    /// So many idle threads.
    IdleThreads(u64),
    /// So many children, forked and reaped one after another.
    Forks(u64),
    /// A call each millisecond, so many times, then prints how long each took.
    Pulse(u64),
    /// [`READY`], then a loop of a few instructions, so many times.
    Spin(u64),
}

impl Workload {
    /// The program and its arguments.
    pub(crate) fn command_line(self) -> io::Result<[OsString; 4]> {
        let (what, times) = match self {
            Workload::Calls(times) => ("calls", times),
            Workload::CallsElsewhere(times) => ("calls-elsewhere", times),
            Workload::Hog => ("hog", 0),
            Workload::Sleep => ("sleep", 0),
            Workload::IdleProcesses(number) => ("idle-processes", number),
            Workload::IdleThreads(number) => ("idle-threads", number),
            Workload::Forks(times) => ("forks", times),
            Workload::Pulse(times) => ("pulse", times),
            Workload::Spin(times) => ("spin", times),
        };
        let program = std::env::current_exe()?.into_os_string();
        Ok([program, MARK.into(), what.into(), times.to_string().into()])
    }

    fn run(self) {
        match self {
            Workload::Calls(times) => {
                for _ in 0..times {
                    // No C library answers this one without asking the kernel.
                    black_box(nix::unistd::getppid());
                }
            }
            Workload::CallsElsewhere(times) => {
                // Checked before by whoever asked for it.
                let _ = machine::leave_this_cpu();
                Workload::Calls(times).run();
            }
            Workload::Hog => {
                crowds::die_with_parent();
                loop {
                    black_box(0);
                }
            }
            Workload::Sleep => crowds::wait_for_ever(),
            Workload::IdleProcesses(number) => crowds::idle_processes(number),
            Workload::IdleThreads(number) => crowds::idle_threads(number),
            Workload::Forks(times) => crowds::forks(times),
            Workload::Pulse(times) => crowds::pulse(times),
            Workload::Spin(times) => {
                // It cannot fail for a signal that exists.
                let _ = raise(Signal::SIGWINCH);
                for i in 0..times {
                    black_box(i);
                }
            }
        }
    }
}

/// Does what a traced program does, if this process was started as one.
pub(crate) fn run_if_asked() -> bool {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some(MARK) {
        return false;
    }
    let what = args.next().unwrap_or_default();
    let times = args
        .next()
        .and_then(|times| times.parse().ok())
        .unwrap_or(0);
    match what.as_str() {
        "spin" => Workload::Spin(times).run(),
        "calls-elsewhere" => Workload::CallsElsewhere(times).run(),
        "hog" => Workload::Hog.run(),
        "sleep" => Workload::Sleep.run(),
        "idle-processes" => Workload::IdleProcesses(times).run(),
        "idle-threads" => Workload::IdleThreads(times).run(),
        "forks" => Workload::Forks(times).run(),
        "pulse" => Workload::Pulse(times).run(),
        _ => Workload::Calls(times).run(),
    }
    true
}

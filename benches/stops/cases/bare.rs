//! The floor: what the kernel takes for one tracee, whoever traces.

use std::io;
use std::time::Instant;

use crate::cases::Case;
use crate::floor::{self, Resume, Seen};
use crate::sample::Sample;
use crate::workload::Workload;

/// The loop that only waits and resumes.
pub(crate) const FLOOR: &str = "floor";
/// The loop that asks at each stop which system call it is.
pub(super) const FLOOR_INFO: &str = "floor + info";

/// The loop that reads the registers at each stop.
pub(super) const FLOOR_REGS: &str = "floor + registers";

pub(super) const CASES: &[Case] = &[
    Case {
        name: FLOOR,
        baseline: None,
        goal: None,
        run: |plan| run(Workload::Calls(plan.calls), |_| Ok(())),
    },
    Case {
        name: FLOOR_INFO,
        baseline: Some(FLOOR),
        goal: None,
        run: |plan| run(Workload::Calls(plan.calls), floor::get_syscall_info),
    },
    Case {
        name: FLOOR_REGS,
        baseline: Some(FLOOR),
        goal: None,
        run: |plan| run(Workload::Calls(plan.calls), floor::get_registers),
    },
];

/// Traces the program with the bare loop, which does this at each stop.
pub(super) fn run(
    program: Workload,
    at_stop: impl Fn(floor::Pid) -> io::Result<()>,
) -> io::Result<Sample> {
    let tracee = floor::spawn_held(program)?;
    let mut stops = 0;
    let start = Instant::now();
    floor::serve(&[tracee], Resume::Syscall, |seen| match seen {
        Seen::Stop(pid) => {
            stops += 1;
            at_stop(pid)
        }
        Seen::Death => Ok(()),
    })?;
    Ok(Sample::new(stops, start.elapsed()))
}

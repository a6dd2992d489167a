//! The floor: what the kernel takes for one tracee, whoever traces.

use std::io;
use std::time::Instant;

use crate::cases::Case;
use crate::floor::{self, Resume, Seen};
use crate::plan::Plan;
use crate::sample::Sample;
use crate::workload::Workload;

/// The loop that only waits and resumes.
pub(super) const FLOOR: &str = "floor";
/// The loop that asks at each stop which system call it is.
pub(super) const FLOOR_INFO: &str = "floor + info";

pub(super) const CASES: &[Case] = &[
    Case {
        name: FLOOR,
        baseline: None,
        goal: None,
        run: |plan| run(plan, |_| Ok(())),
    },
    Case {
        name: FLOOR_INFO,
        baseline: Some(FLOOR),
        goal: None,
        run: |plan| run(plan, floor::get_syscall_info),
    },
];

fn run(plan: &Plan, at_stop: impl Fn(floor::Pid) -> io::Result<()>) -> io::Result<Sample> {
    let tracee = floor::spawn_held(Workload::Calls(plan.calls))?;
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

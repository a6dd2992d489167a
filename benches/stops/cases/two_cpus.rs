//! Tracer and tracee on two CPUs: the tracer on the one that all else uses.

use std::io;

use crate::cases::task::Wants;
use crate::cases::{Case, bare, host, pinned, task};
use crate::floor;
use crate::machine;
use crate::plan::Plan;
use crate::workload::Workload;

const FLOOR: &str = "floor, two CPUs";
const FLOOR_INFO: &str = "floor + info, two CPUs";

pub(super) const CASES: &[Case] = &[
    Case {
        name: FLOOR,
        baseline: None,
        goal: None,
        run: |plan| bare::run(program(plan)?, |_| Ok(())),
    },
    Case {
        name: FLOOR_INFO,
        baseline: None,
        goal: None,
        run: |plan| bare::run(program(plan)?, floor::get_syscall_info),
    },
    Case {
        name: "pinned task, two CPUs",
        baseline: Some(FLOOR_INFO),
        goal: Some(0.80),
        run: |plan| pinned::run(program(plan)?),
    },
    Case {
        name: "task, current-thread, two CPUs",
        baseline: Some(FLOOR),
        goal: Some(1.0),
        run: |plan| task::run(&host::current_thread()?, program(plan)?, Wants::Event),
    },
    Case {
        name: "task, multi-thread, two CPUs",
        baseline: Some(FLOOR),
        goal: Some(1.0),
        run: |plan| task::run(&host::multi_thread()?, program(plan)?, Wants::Event),
    },
];

fn program(plan: &Plan) -> io::Result<Workload> {
    if !machine::has_other_cpu() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "one CPU"));
    }
    Ok(Workload::CallsElsewhere(plan.calls / 2))
}

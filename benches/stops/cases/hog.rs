//! Everything beside a program that uses the same CPU up.

use std::io;
use std::process::{Child, Command};

use crate::cases::task::Wants;
use crate::cases::{Case, bare, host, pinned, task};
use crate::floor;
use crate::plan::Plan;
use crate::sample::Sample;
use crate::workload::Workload;

const FLOOR: &str = "floor, beside a hog";
const FLOOR_INFO: &str = "floor + info, beside a hog";

pub(super) const CASES: &[Case] = &[
    Case {
        name: FLOOR,
        baseline: None,
        goal: None,
        run: |plan| beside(|| bare::run(program(plan), |_| Ok(()))),
    },
    Case {
        name: FLOOR_INFO,
        baseline: None,
        goal: None,
        run: |plan| beside(|| bare::run(program(plan), floor::get_syscall_info)),
    },
    Case {
        name: "pinned task, beside a hog",
        baseline: Some(FLOOR_INFO),
        goal: Some(1.1),
        run: |plan| beside(|| pinned::run(program(plan))),
    },
    Case {
        name: "task, beside a hog",
        baseline: Some(FLOOR),
        goal: Some(3.2),
        run: |plan| beside(|| task::run(&host::current_thread()?, program(plan), Wants::Event)),
    },
];

fn program(plan: &Plan) -> Workload {
    Workload::Calls(plan.calls)
}

/// Killed in the end.
struct Hog(Child);

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn beside(run: impl FnOnce() -> io::Result<Sample>) -> io::Result<Sample> {
    let [program, args @ ..] = Workload::Hog.command_line()?;
    let _hog = Hog(Command::new(program).args(args).spawn()?);
    run()
}

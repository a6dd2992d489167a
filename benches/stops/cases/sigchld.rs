//! A host that handles SIGCHLD: without `SA_NOCLDSTOP` each stop runs its handler.

use std::io;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use tracehound::set_nocldstop;

use crate::cases::bare::FLOOR_INFO;
use crate::cases::{Case, host, pinned};
use crate::plan::Plan;
use crate::sample::Sample;
use crate::workload::Workload;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "pinned task, SIGCHLD handled",
        baseline: Some(FLOOR_INFO),
        goal: None,
        run: |plan| run(plan, || Ok(())),
    },
    Case {
        name: "pinned task, SIGCHLD handled, SA_NOCLDSTOP",
        baseline: Some(FLOOR_INFO),
        goal: Some(1.08),
        run: |plan| run(plan, || Ok(set_nocldstop().map(drop)?)),
    },
];

extern "C" fn handler(_: i32) {}

/// Puts back what was done at SIGCHLD.
struct Restored(SigAction);

impl Drop for Restored {
    fn drop(&mut self) {
        // SAFETY: this action was there before.
        let _ = unsafe { sigaction(Signal::SIGCHLD, &self.0) };
    }
}

fn run(plan: &Plan, prepare: fn() -> io::Result<()>) -> io::Result<Sample> {
    let action = SigAction::new(
        SigHandler::Handler(handler),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing, which is safe at any point of any thread.
    let _restored = Restored(unsafe { sigaction(Signal::SIGCHLD, &action) }?);
    prepare()?;
    host::with_tracer(&host::current_thread()?, async |tracer| {
        pinned::measure(tracer, Workload::Calls(plan.calls / 4)).await
    })
}

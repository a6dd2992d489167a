//! What the old texts on ptrace left open, asked of the running kernel.
//!
//! Each test names its question in plain words. Those that make ptrace(2) requests by
//! themselves show what the kernel does; the others, what a user of tracehound sees. The
//! answers are written down in the guide, page `open_questions`.

mod exec;
mod job_control;
mod signals;
mod steps;
mod waiting;

use std::time::Duration;

use tracehound::{Errno, Tid};
use tracehound_sys::ptrace::{self, Options};
use tracehound_sys::wait::{self, Report, Target, WaitStatus};
use tracehound_tests::{Ward, soon, state, until};

const KEEPER: &str = env!("CARGO_BIN_EXE_keeper");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");
const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

/// What a wait of this thread takes, if there is anything.
fn poll(tid: Tid, flags: i32) -> Result<Option<WaitStatus>, Errno> {
    let report = wait::poll(Target::One(tid), flags)?;
    Ok(report.map(|Report { tid: who, status }| {
        assert_eq!(who, tid);
        status
    }))
}

/// What a wait of this thread takes, when it comes.
async fn report(tid: Tid, flags: i32) -> WaitStatus {
    let come = async {
        loop {
            match poll(tid, flags).expect("a child") {
                Some(status) => break status,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    soon("a report", come).await
}

/// A program whose real parent waits for nothing, seized by this thread.
async fn seized(program: &[&str]) -> Ward {
    let command = [KEEPER, "hold"].into_iter().chain(program.iter().copied());
    let ward = Ward::start(command).await;
    until("it pauses", || state(ward.pid()) == Some('S')).await;
    ptrace::seize(ward.pid(), Options::empty()).expect("permitted");
    ward
}

/// Interrupts a tracee of this thread, and leaves its report where it is.
async fn interrupted(tid: Tid) {
    ptrace::interrupt(tid).expect("it runs");
    until("it stops", || state(tid) == Some('t')).await;
}

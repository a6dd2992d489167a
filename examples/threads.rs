//! `threads PID` stops every thread of a process, shows where each is, steps one of them
//! while the others stay put, and lets all run on.

use std::time::Duration;

use clap::Parser;
use tokio::time::timeout;
use tracehound::{Event, Process, Result, Tid, Tracee, Tracer};

/// Shows the threads of a process, and steps one of them ten times.
#[derive(Parser)]
struct Args {
    pid: i32,
}

/// One instruction; gives whether that was what stopped the thread.
async fn step(thread: &mut Tracee) -> Result<bool> {
    thread.step().await?;
    if let Ok(event) = timeout(Duration::from_millis(100), thread.wait()).await {
        return Ok(matches!(event, Some(Event::Step)));
    }
    // It goes on with the system call that it sleeps in.
    thread.control().interrupt().await?;
    Ok(matches!(thread.wait().await, Some(Event::Step)))
}

/// Ten steps; gives whether the thread made them.
async fn walk(process: &mut Process, tid: Tid) -> Result<bool> {
    let thread = process.thread(tid)?;
    for count in 1..=10 {
        if !step(thread).await? {
            return Ok(false);
        }
        let ip = thread.getregs().await?.instruction_pointer();
        println!("step {count:2} of {tid}: ip {ip:#018x}");
    }
    Ok(true)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut process = Tracer::new()?.attach(Args::parse().pid).await?;
    process.stop_all().await?;
    let mut tids = Vec::new();
    for thread in process.threads() {
        let (tid, regs) = (thread.tid(), thread.getregs().await?);
        let (ip, sp) = (regs.instruction_pointer(), regs.stack_pointer());
        println!("{tid:7} ip {ip:#018x} sp {sp:#018x}");
        // On x86 there is no call number outside of a call: rather those.
        tids.push((regs.syscall_number() != u64::MAX, tid));
    }
    tids.sort();
    for (_, tid) in tids.into_iter().take(8) {
        if walk(&mut process, tid).await? {
            break;
        }
    }
    process.resume_all().await?;
    process.detach().await
}

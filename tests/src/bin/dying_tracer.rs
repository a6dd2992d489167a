//! A tracer that dies: `dying_tracer MODE PROGRAM…` traces a program, says its id, and
//! dies of SIGKILL when its input ends.
//!
//! Modes: `run-on` and `exit-kill` with a running tracee; `exit-kill-later` and
//! `run-on-later` the same, changed in its first stop; `held` with one that is held in its
//! first stop; `stopped` with one in a group-stop that is listened to; `drop` with one whose
//! child, which is to be killed then, is dropped just before.

use futures::StreamExt;
use tokio::io::AsyncReadExt;
use tracehound::requests::Options;
use tracehound::{Command, Event, Result, Signal, Tracer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mode = args.next().expect("a mode");
    let mut command = Command::new(args.next().expect("a program"));
    let exit_kill = matches!(mode.as_str(), "exit-kill" | "run-on-later");
    command.args(args).exit_kill(exit_kill);
    command.kill_on_drop(mode == "drop");
    let tracer = Tracer::new()?;
    let (mut tracee, child) = tracer.spawn(command).await?;
    tracee.next().await;
    match mode.as_str() {
        "held" => {}
        "exit-kill-later" | "run-on-later" => {
            let toggled = tracee.options() ^ Options::EXITKILL;
            tracee.set_options(toggled).await?;
            tracee.cont().await?;
        }
        "stopped" => {
            while !matches!(tracee.next().await, Some(Event::GroupStop(_))) {}
            tracee.listen().await?;
        }
        _ => tracee.cont().await?,
    }
    println!("{}", child.id());
    // Whoever started this one tells it when to die.
    let _ = tokio::io::stdin().read(&mut [0]).await;
    drop(child);
    tracehound_sys::signal_process(tracehound::Tid::current_process(), Signal::SIGKILL)
        .expect("a process can kill itself");
    unreachable!("it is dead")
}

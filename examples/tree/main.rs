//! Shows the processes and threads of a command as a tree that lives.
//!
//! ```text
//! tree [-o FILE] [--lines] [--] COMMAND [ARG…]
//! ```
//!
//! On a terminal the tree is drawn on standard error and drawn again at each change, and
//! what the command writes there appears above it. Elsewhere each fork, exec and end is a line.
//! With its end comes what a process has used, with its children: time on a CPU and the most
//! memory at a time.
//!
//! Each tracee has a task of its own (`watch.rs`) on the tracer thread, which reports what
//! happens; what is known of them all is the `model`, shown as `lines` or on a `screen`.

mod capture;
mod lines;
mod model;
mod run;
mod screen;
mod text;
mod view;
mod watch;

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};

use clap::Parser;
use tokio::runtime::Builder;

/// Shows the processes and threads of a command as they fork, exec and end.
#[derive(Parser)]
struct Args {
    /// Write lines to a file
    #[arg(short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write lines also on a terminal: for a command that uses it by itself
    #[arg(long)]
    lines: bool,
    /// The program to run and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = Builder::new_current_thread().enable_all().build();
    let ending = runtime
        .map_err(|error| text::reason(&error))
        .and_then(|runtime| runtime.block_on(run::run(&args)));
    match ending {
        Ok(run::Ending::Like(status)) => tracehound_examples::end_like(status),
        Ok(run::Ending::Interrupted(signal)) => {
            tracehound_examples::end_like(ExitStatus::from_raw(signal))
        }
        Err(error) => {
            eprintln!("tree: {error}");
            ExitCode::FAILURE
        }
    }
}

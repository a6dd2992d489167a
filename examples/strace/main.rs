//! strace, in the words of tracehound: prints the system calls and signals of a command
//! and all that comes of it, or of processes that run already.
//!
//! ```text
//! strace [-f] [-p PID]… [-e trace=NAME,…] [--seccomp-bpf] [-c] [-o FILE] [--remote]
//!     [--] COMMAND [ARG…]
//! ```
//!
//! Each tracee has a task of its own (`life.rs`), which asks for one event after the other
//! and makes lines of them (`decode/`). The tasks run on the tracer thread, or with
//! `--remote` as ordinary tasks; their code is the same.

mod decode;
mod life;
mod options;
mod output;
mod run;
mod seccomp;
mod session;
mod summary;

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use options::Options;
use run::Ending;

fn main() -> ExitCode {
    let options = Options::parse();
    let ending = runtime(&options)
        .map_err(|error| decode::reason(&error))
        .and_then(|runtime| runtime.block_on(run::run(&options)));
    match ending {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Like(status)) => tracehound_examples::end_like(status),
        Ok(Ending::Interrupted(signal)) => {
            tracehound_examples::end_like(ExitStatus::from_raw(signal))
        }
        Err(error) => {
            eprintln!("strace: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Pinned tasks need a runtime for nothing but the signals and the end.
fn runtime(options: &Options) -> std::io::Result<Runtime> {
    match options.remote {
        true => Builder::new_multi_thread(),
        false => Builder::new_current_thread(),
    }
    .enable_all()
    .build()
}

//! From the command to its end.

use std::io;
use std::path::Path;
use std::process::ExitStatus;

use tokio::sync::mpsc;
use tracehound::{Command, Error, Tracer};
use tracehound_examples::interrupt::{self, Interrupts};

use crate::view::View;
use crate::watch::watch;
use crate::{Args, text};

/// How the program ends.
pub(crate) enum Ending {
    /// As the command did.
    Like(ExitStatus),
    /// By the signal that told it to.
    Interrupted(i32),
}

/// Reports that wait to be shown.
const REPORTS: usize = 256;

/// Traces the command to its end. An error is a text for the user.
pub(crate) async fn run(args: &Args) -> Result<Ending, String> {
    let (program, rest) = args.command.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command.args(rest).resource_usage(true);
    let view = match &args.output {
        Some(path) => View::file(path).map_err(|error| about(path, &error))?,
        None if args.lines => View::lines(),
        None => View::terminal(&mut command).map_err(|error| text::reason(&error))?,
    };
    let ignored = interrupt::ignored();
    let mut interrupts = Interrupts::new(&ignored).map_err(|error| text::reason(&error))?;
    interrupt::restore_in(&mut command, &ignored);

    let tracer = Tracer::new().map_err(|error| error.to_string())?;
    let (reports, reported) = mpsc::channel(REPORTS);
    let logic = move |tracee| watch(tracee, reports.clone());
    // Both end when the last tracee has: nobody is left who could report.
    let traced = async { tokio::join!(tracer.trace(command, logic), view.show(reported)).0 };
    let status = tokio::select! {
        status = traced => status,
        signal = asked_to_end(&mut interrupts) => {
            // What is left runs on. Another signal ends this at once.
            tokio::select! {
                _ = tracer.shutdown() => {}
                _ = interrupts.next() => {}
            }
            return Ok(Ending::Interrupted(signal));
        }
    };
    status.map(Ending::Like).map_err(|error| match error {
        Error::Spawn(source) => about(Path::new(program), &source),
        other => other.to_string(),
    })
}

/// Waits until this program is to end before the command. The first SIGINT or SIGQUIT is
/// the command's, which got it from the terminal as well, and may end by it or not.
async fn asked_to_end(interrupts: &mut Interrupts) -> i32 {
    let first = interrupts.next().await;
    match first {
        libc::SIGINT | libc::SIGQUIT => interrupts.next().await,
        other => other,
    }
}

/// `NAME: No such file or directory`.
fn about(name: &Path, error: &io::Error) -> String {
    format!("{}: {}", name.display(), text::reason(error))
}

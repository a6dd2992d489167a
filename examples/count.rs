//! Counts the stops of a program and all that it starts, and what one stop costs.
//!
//! ```text
//! count [--remote] [--step] [--cpu N] [--] COMMAND [ARG…]
//! ```
//!
//! Nothing is done at a stop, so the figure is what tracehound itself takes.

use std::ffi::OsString;
use std::process::ExitStatus;
use std::time::Instant;

use clap::Parser;
use futures::StreamExt;
use tokio::sync::mpsc;
use tracehound::{Command, Errno, Error, Event, ResumeMode, Tracee, Tracer};

/// Counts the system call stops of a command and all its children.
#[derive(Parser)]
struct Args {
    /// Run the logic in ordinary tokio tasks, not on the tracer thread
    #[arg(long)]
    remote: bool,
    /// Stop after each instruction, not at system calls
    #[arg(long)]
    step: bool,
    /// Run the tracer thread and the command on this CPU alone
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
    /// The program to run and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What the task of one tracee saw.
struct Life {
    stops: u64,
    resumed: Instant,
    ended: Instant,
}

/// Where the tasks report to. They all have ended when the last clone is dropped.
type Report = mpsc::UnboundedSender<Life>;

/// The life of one tracee. The same code runs pinned and in an ordinary task.
async fn watch(mut tracee: Tracee, step: bool, report: Report) {
    let mut stops = 0;
    let mut resumed = Instant::now();
    while let Some(event) = tracee.next().await {
        match event {
            Event::Started(_) => resumed = Instant::now(),
            Event::SyscallEnter(_) | Event::SyscallExit(_) if !step => stops += 1,
            Event::Step if step => stops += 1,
            other => {
                // `Tracer::trace` has taken it already if the logic is pinned.
                let birth = other.birth().and_then(|birth| tracee.take_child(birth));
                if let Some(child) = birth {
                    watch_remotely(child, step, report.clone());
                }
            }
        }
    }
    let ended = Instant::now();
    // Nobody listens any more only if the count is given up.
    let _ = report.send(Life {
        stops,
        resumed,
        ended,
    });
}

fn watch_remotely(tracee: Tracee, step: bool, report: Report) {
    tokio::spawn(watch(tracee, step, report));
}

async fn run(args: &Args, report: Report) -> tracehound::Result<ExitStatus> {
    let step = args.step;
    let (program, rest) = match args.command.split_first() {
        Some((program, rest)) => (program, rest),
        None => return Err(Error::InvalidArgument("no command")),
    };
    let mut command = Command::new(program);
    command.args(rest).resume_mode(if step {
        ResumeMode::Step
    } else {
        ResumeMode::Syscall
    });
    let mut builder = Tracer::builder();
    if let Some(cpu) = args.cpu {
        builder.cpus([cpu]);
        command.on_tracers_cpu(true);
    }
    let tracer = builder.build()?;
    if args.remote {
        let (tracee, mut child) = tracer.spawn(command).await?;
        watch_remotely(tracee, step, report);
        child.wait().await
    } else {
        let logic = move |tracee| watch(tracee, step, report.clone());
        tracer.trace(command, logic).await
    }
}

/// Takes the reports in, and sums them up when all tasks have ended.
async fn sum(mut reports: mpsc::UnboundedReceiver<Life>) -> Option<Life> {
    let mut sum = reports.recv().await?;
    while let Some(life) = reports.recv().await {
        sum.stops += life.stops;
        sum.resumed = sum.resumed.min(life.resumed);
        sum.ended = sum.ended.max(life.ended);
    }
    Some(sum)
}

fn print(sum: &Life) {
    let stops = sum.stops;
    let seconds = (sum.ended - sum.resumed).as_secs_f64();
    let each = seconds * 1e6 / stops.max(1) as f64;
    eprintln!("stops {stops} seconds {seconds:.6} us_per_stop {each:.3}");
}

fn fail(args: &Args, error: &Error) -> ! {
    match error {
        Error::Spawn(source) => {
            let name = args.command.first().map(|name| name.to_string_lossy());
            let reason = match source.raw_os_error() {
                Some(errno) => Errno::from_raw(errno).desc().to_owned(),
                None => source.to_string(),
            };
            eprintln!("count: {}: {reason}", name.unwrap_or_default());
        }
        other => eprintln!("count: {other}"),
    }
    std::process::exit(1)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args = Args::parse();
    let (report, reports) = mpsc::unbounded_channel();
    let (status, sum) = tokio::join!(run(&args, report), sum(reports));
    let status = match status {
        Ok(status) => status,
        Err(error) => fail(&args, &error),
    };
    if let Some(sum) = sum {
        print(&sum);
    }
    tracehound_examples::end_like(status)
}

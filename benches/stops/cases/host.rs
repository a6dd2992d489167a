//! What the cases of tracehound share: a host program, and the logic of a tracer.

use std::hint::black_box;
use std::io::{self, BufRead, BufReader};
use std::process;

use futures::StreamExt;
use tokio::runtime::{Builder, Runtime};
use tracehound::{Child, Command, Event, PinnedError, ResumeMode, Tracee, Tracer};

use crate::workload::{LOADER_PATH, Workload};

/// A runtime with one thread.
pub(super) fn current_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// A runtime with two threads beside the main one.
pub(super) fn multi_thread() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

/// Runs the work in the runtime, with a tracer that has one thread. No thread of either
/// is left behind to disturb the next case.
pub(super) fn with_tracer<T>(
    runtime: &Runtime,
    work: impl AsyncFnOnce(&Tracer) -> io::Result<T>,
) -> io::Result<T> {
    runtime.block_on(async {
        let tracer = Tracer::builder().threads(1).build()?;
        let result = work(&tracer).await;
        tracer.shutdown().await?;
        result
    })
}

/// The program, as a command.
pub(super) fn command(workload: Workload, mode: ResumeMode) -> io::Result<Command> {
    let [program, args @ ..] = workload.command_line()?;
    let mut command = Command::new(program);
    command.args(args).env_remove(LOADER_PATH).resume_mode(mode);
    Ok(command)
}

/// Starts the program, held before its first instruction.
pub(super) async fn spawn(
    tracer: &Tracer,
    workload: Workload,
    mode: ResumeMode,
) -> io::Result<(Tracee, Child)> {
    Ok(tracer.spawn(command(workload, mode)?).await?)
}

/// A process with many idle threads, to attach to; killed in the end.
pub(super) struct Crowd(process::Child);

impl Crowd {
    /// One that has made them all.
    pub(super) fn start(threads: u64) -> io::Result<Crowd> {
        let [program, args @ ..] = Workload::IdleThreads(threads).command_line()?;
        let mut command = process::Command::new(program);
        command.args(args).env_remove(LOADER_PATH);
        let mut crowd = Crowd(command.stdout(process::Stdio::piped()).spawn()?);
        let output = crowd.0.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        BufReader::new(output).read_line(&mut String::new())?;
        Ok(crowd)
    }

    pub(super) fn pid(&self) -> io::Result<i32> {
        i32::try_from(self.0.id()).map_err(io::Error::other)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The error of a pinned task that did not come to its end.
pub(super) fn ended_early(error: PinnedError) -> io::Error {
    io::Error::other(error.to_string())
}

/// The life of one tracee: looks at what the event carries, and counts. The same code
/// for every place where a task can run.
pub(super) async fn watch(mut tracee: Tracee) -> u64 {
    let mut stops = 0;
    while let Some(event) = tracee.next().await {
        stops += u64::from(is_counted(&event));
    }
    stops
}

/// Whether this is a stop that the loops of the floor count. Reads what they leave
/// unread: the number and arguments of a call, or its result.
pub(super) fn is_counted(event: &Event) -> bool {
    match event {
        Event::SyscallEnter(enter) => {
            black_box((enter.call.nr, enter.call.args));
            true
        }
        Event::SyscallExit(exit) => {
            black_box((exit.value, exit.is_error));
            true
        }
        Event::Step => true,
        _ => false,
    }
}

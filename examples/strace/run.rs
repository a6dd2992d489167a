//! From the options to the end: attaching, starting, waiting, letting go.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracehound::{Child, Command, Error, Follow, ResumeMode, Tracer};

use crate::decode;
use crate::options::Options;
use crate::output::Output;
use crate::seccomp;
use crate::session::{Alive, Session};
use tracehound_examples::interrupt::{self, Interrupts};

/// How the program ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// There was no command: everything attached to has ended.
    Done,
    /// As the command did.
    Like(ExitStatus),
    /// By the signal that told it to.
    Interrupted(i32),
}

/// Lines are not kept back longer than this.
const FLUSH: Duration = Duration::from_millis(100);

/// Does what the options say. An error is a text for the user.
pub(crate) async fn run(options: &Options) -> Result<Ending, String> {
    let output = match &options.output {
        Some(path) => Output::file(path).map_err(|error| about(path.as_os_str(), &error))?,
        None => Output::stderr(),
    };
    let session = Arc::new(Session::new(options, output));
    if let Some(warning) = options.warning() {
        eprintln!("strace: {warning}");
    }
    let ignored = interrupt::ignored();
    let mut interrupts = Interrupts::new(&ignored).map_err(|error| decode::reason(&error))?;
    let tracer = Tracer::new().map_err(|error| error.to_string())?;
    let (alive, mut all_ended) = mpsc::channel(1);

    let traced = async {
        let child = start(options, &tracer, &session, alive, &ignored).await?;
        flush_until(&session, all_ended.recv()).await;
        let Some(mut child) = child else {
            return Ok(Ending::Done);
        };
        let status = child.wait().await.map_err(|error| error.to_string())?;
        match session.start_error() {
            Some(error) => Err(about(options.program(), &error)),
            None => Ok(Ending::Like(status)),
        }
    };
    let ending = tokio::select! {
        ending = traced => ending,
        signal = interrupts.next() => Ok(Ending::Interrupted(signal)),
    };
    let let_go = async {
        // It fails only in a forked child, which this is not.
        let _ = tracer.shutdown().await;
        while all_ended.recv().await.is_some() {}
    };
    tokio::select! {
        () = let_go => {}
        // The second signal: the kernel detaches what is left when the program ends.
        _ = interrupts.next() => {}
    }
    if ending.is_ok() {
        session.write_table();
    }
    session.flush();
    if let Ok(Ending::Interrupted(_)) = ending {
        for pid in &options.attach {
            session.notice(&format!("Process {pid} detached"));
        }
    }
    ending
}

/// Attaches, and starts the command if there is one.
async fn start(
    options: &Options,
    tracer: &Tracer,
    session: &Arc<Session>,
    alive: Alive,
    ignored: &[i32],
) -> Result<Option<Child>, String> {
    let follow = match options.follow {
        true => Follow::Everything,
        false => Follow::Nothing,
    };
    for pid in &options.attach {
        let attach = tracer.attach(*pid).follow(follow);
        let process = attach.resume_mode(ResumeMode::Syscall).await;
        let process = process.map_err(|error| format!("attach to {pid}: {error}"))?;
        session.notice(&format!("Process {pid} attached"));
        for thread in process.into_threads() {
            session.watch(thread, alive.clone());
        }
    }
    let Some((program, args)) = options.command.split_first() else {
        return Ok(None);
    };
    // A file that is missing is found out before anything is traced. Names without a slash
    // are looked for in PATH by the spawn.
    if program.as_bytes().contains(&b'/') {
        std::fs::metadata(program).map_err(|error| about(program, &error))?;
    }
    let mut command = Command::new(program);
    command
        .args(args)
        .follow(follow)
        .resume_mode(ResumeMode::Syscall)
        .stop_before_exec(true);
    if let Some(filter) = options.seccomp_filter() {
        // Without a tracer the calls of what has the filter would fail.
        command.follow(Follow::Everything);
        seccomp::install(&mut command, filter);
    }
    interrupt::restore_in(&mut command, ignored);
    let spawned = tracer.spawn(command).await;
    let (tracee, child) = spawned.map_err(|error| match error {
        Error::Spawn(source) => about(program, &source),
        other => other.to_string(),
    })?;
    session.watch(tracee, alive);
    Ok(Some(child))
}

/// Waits, and flushes the output now and then: somebody may be reading it.
async fn flush_until<T>(session: &Session, event: impl Future<Output = T>) -> T {
    let mut event = pin!(event);
    loop {
        match tokio::time::timeout(FLUSH, &mut event).await {
            Ok(value) => return value,
            Err(_) => session.flush(),
        }
    }
}

/// `NAME: No such file or directory`.
fn about(name: &OsStr, error: &io::Error) -> String {
    format!("{}: {}", name.display(), decode::reason(error))
}

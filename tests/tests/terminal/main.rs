//! Job control in interactive shells on real terminals: with the shell or its job traced,
//! and with a tracer as the job, everything is as untraced.

mod shell;

use std::collections::HashSet;

use futures::FutureExt;
use futures::future::BoxFuture;
use tracehound::{Tid, Tracee, Tracer};
use tracehound_tests::{is_traced, new_tracer, soon, state, until};

use shell::{Kind, Shell, members, traced};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const STRACE: &str = env!("CARGO_BIN_EXE_strace");
const TREE: &str = env!("CARGO_BIN_EXE_tree");

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_Z: &str = "\x1a";
const CTRL_BACKSLASH: &str = "\x1c";

/// What is traced, and from when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    Nothing,
    /// A tracer that the shell itself has started watches its job.
    FromTheShell(&'static [&'static str]),
    /// The shell and all its jobs, from its first instruction.
    ShellFromBirth,
    /// The same, once it has asked for the first line.
    Shell,
    /// Each process of the job, while it runs.
    RunningJob,
    /// The same, once it has been stopped.
    StoppedJob,
}

/// Where the logic of the tracees runs.
#[derive(Clone, Copy, Debug)]
enum Place {
    Pinned,
    Task,
}

/// Goes along with all its events, and with those of all that come of it.
async fn watch(mut tracee: Tracee, place: Place) {
    use futures::StreamExt;
    while let Some(event) = tracee.next().await {
        if let Some(child) = event.birth().and_then(|birth| tracee.take_child(birth)) {
            start_watch(child, place);
        }
    }
}

fn start_watch(tracee: Tracee, place: Place) {
    match place {
        Place::Pinned => drop(tracee.spawn_pinned(move |tracee| watch(tracee, place))),
        Place::Task => {
            let watch: BoxFuture<'_, ()> = watch(tracee, place).boxed();
            drop(tokio::spawn(watch));
        }
    }
}

/// A shell in which something is played, and who watches it.
struct Stage {
    shell: Shell,
    tracer: Tracer,
    place: Place,
    watch: Watch,
    attached: HashSet<Tid>,
    /// All that was seen.
    seen: Vec<String>,
}

impl Stage {
    async fn set(tracer: &Tracer, kind: Kind, place: Place, watch: Watch) -> Stage {
        let shell = match watch {
            Watch::ShellFromBirth => {
                Shell::start_traced(kind, tracer, |tracee| start_watch(tracee, place)).await
            }
            // A child of this test that is attached to must not be waited for by anyone else
            // than its tracer; so it is let go first.
            Watch::Shell => Shell::start_traced(kind, tracer, drop).await,
            Watch::FromTheShell(command) => Shell::start(kind, &command.join(" ")).await,
            _ => Shell::start(kind, "").await,
        };
        let mut stage = Stage {
            shell,
            tracer: tracer.clone(),
            place,
            watch,
            attached: HashSet::new(),
            seen: Vec::new(),
        };
        if watch == Watch::Shell {
            assert!(!is_traced(stage.shell.pid));
            stage.attach(stage.shell.pid).await;
        }
        stage
    }

    /// Attaches to a process, once.
    async fn attach(&mut self, pid: Tid) {
        if !self.attached.insert(pid) {
            return;
        }
        let attach = self.tracer.attach(pid).own_child(pid == self.shell.pid);
        let process = soon("attach", attach).await.expect("permitted");
        for thread in process.into_threads() {
            start_watch(thread, self.place);
        }
    }

    /// Attaches to a job, if that is to be done at this moment, and sees that it is traced.
    async fn moment(&mut self, moment: Watch, group: Tid) {
        if self.watch == moment {
            for pid in members(group) {
                self.attach(pid).await;
            }
        }
        let untraced = members(group).len() - traced(group).len();
        match self.watch {
            Watch::Nothing => assert!(traced(group).is_empty()),
            Watch::FromTheShell(_) => assert!(!traced(group).is_empty()),
            Watch::StoppedJob if moment == Watch::RunningJob => {}
            _ => assert_eq!(untraced, 0),
        }
    }

    /// Types a command that becomes a job in the foreground and says "ready".
    async fn start_job(&mut self, command: &str) -> Tid {
        self.shell.type_in(&format!("{command}\n"));
        let group = self.shell.job_in_front().await;
        self.shell.shows("ready\r\n").await;
        self.shell.runs(group).await;
        self.moment(Watch::RunningJob, group).await;
        group
    }

    /// `^Z`.
    async fn stop_job(&mut self, group: Tid) {
        self.shell.type_in(CTRL_Z);
        let shown = self.shell.prompt().await;
        self.seen.push(shown);
        self.shell.is_stopped(group).await;
        self.moment(Watch::StoppedJob, group).await;
        self.stays_stopped(group).await;
    }

    /// It has stopped for good: the shell can do other things, and finds it so.
    async fn stays_stopped(&mut self, group: Tid) {
        let echo = self.shell.line("echo an other command").await;
        self.seen.push(echo);
        let jobs = self.shell.jobs("Stopped").await;
        self.seen.push(jobs);
        self.shell.is_stopped(group).await;
    }

    /// `fg`.
    async fn fore(&mut self, group: Tid) {
        self.shell.type_in("fg\n");
        // The shell says what it continues. `^Z` would drop what is still to be read.
        let shown = self.shell.shows("\r\n").await;
        self.seen.push(shown);
        assert_eq!(self.shell.job_in_front().await, group);
        self.shell.waits().await;
    }

    /// `bg`.
    async fn back(&mut self, group: Tid) {
        let shown = self.shell.line("bg").await;
        self.seen.push(shown);
        let jobs = self.shell.jobs("Running").await;
        self.seen.push(jobs);
        self.shell.runs(group).await;
    }

    /// A key that ends the job.
    async fn end_job(&mut self, key: &str, group: Tid) {
        self.shell.type_in(key);
        let shown = self.shell.prompt().await;
        self.seen.push(shown);
        let status = self.shell.line("echo $?").await;
        self.seen.push(status);
        until("all of it has ended", || {
            // A process that nobody has taken note of yet has ended, too.
            let ended = |pid: &Tid| matches!(state(*pid), None | Some('Z' | 'X'));
            members(group).iter().all(ended)
        })
        .await;
        let jobs = self.shell.line("jobs").await;
        self.seen.push(jobs);
    }

    /// A job that sleeps is stopped, continued in both ways, and ended.
    async fn sleeping(&mut self, command: &str, end: &str) {
        let group = self.start_job(command).await;
        for _ in 0..2 {
            self.stop_job(group).await;
            self.back(group).await;
            self.fore(group).await;
            self.shell.runs(group).await;
            self.stop_job(group).await;
            self.fore(group).await;
            self.shell.runs(group).await;
        }
        self.end_job(end, group).await;
    }

    /// A job that reads from the terminal is stopped when it is not its turn.
    async fn reading(&mut self) {
        self.shell.line(&format!("$T {PUPPET} cat &")).await;
        let jobs = self.shell.jobs("Stopped").await;
        self.seen.push(jobs);
        self.fore_and_read("first").await;
        let group = self.shell.job_in_front().await;
        self.moment(Watch::RunningJob, group).await;
        self.stop_job(group).await;
        // It goes on, until it tries to read.
        self.shell.line("bg").await;
        self.shell.is_stopped(group).await;
        let jobs = self.shell.jobs("Stopped").await;
        self.seen.push(jobs);
        self.fore_and_read("second").await;
        self.end_job(CTRL_D, group).await;
    }

    async fn fore_and_read(&mut self, text: &str) {
        self.shell.type_in("fg\n");
        self.shell.job_in_front().await;
        self.shell.type_in(&format!("{text}\n"));
        let shown = self.shell.shows(&format!("{text}\r\n")).await;
        self.seen.push(shown);
    }

    /// The shell is left; gives what was seen.
    async fn leave(self) -> Vec<String> {
        self.shell.leave().await;
        self.seen
    }
}

/// All that is played, in one shell.
async fn play(tracer: &Tracer, kind: Kind, place: Place, watch: Watch) -> Vec<String> {
    let mut stage = Stage::set(tracer, kind, place, watch).await;
    let sleeper = format!("$T {PUPPET} say-and-pause");
    stage.sleeping(&sleeper, CTRL_C).await;
    stage.sleeping(&sleeper, CTRL_BACKSLASH).await;
    let script = format!("{PUPPET} say-and-pause; exit 3");
    stage
        .sleeping(&format!("$T sh -c '{script}' | cat"), CTRL_C)
        .await;
    stage.reading().await;
    stage.leave().await
}

/// Watched like this, it is as untraced.
async fn as_untraced(watch: Watch) {
    for kind in Kind::all() {
        for place in [Place::Pinned, Place::Task] {
            let tracer = new_tracer();
            let untraced = play(&tracer, kind, place, Watch::Nothing).await;
            let traced = play(&tracer, kind, place, watch).await;
            for (traced, untraced) in traced.iter().zip(&untraced) {
                assert_eq!(traced, untraced, "{kind:?}, {place:?}, {watch:?}");
            }
            assert_eq!(traced.len(), untraced.len());
            soon("shutdown", tracer.shutdown()).await.expect("shutdown");
        }
    }
}

// Scenario 33
#[tokio::test]
async fn a_shell_traced_from_its_birth() {
    as_untraced(Watch::ShellFromBirth).await;
}

// Scenario 33
#[tokio::test]
async fn a_shell_attached_to() {
    as_untraced(Watch::Shell).await;
}

// Scenario 33
#[tokio::test]
async fn a_job_attached_to_while_it_runs() {
    as_untraced(Watch::RunningJob).await;
}

// Scenario 33
#[tokio::test]
async fn a_job_attached_to_while_it_is_stopped() {
    as_untraced(Watch::StoppedJob).await;
}

// Scenario 33
#[tokio::test]
async fn a_tracer_is_the_job() {
    const STRACE_F: &[&str] = &[STRACE, "-f", "-o", "/dev/null", "--"];
    const STRACE_REMOTE: &[&str] = &[STRACE, "-f", "--remote", "-o", "/dev/null", "--"];
    const TREE_O: &[&str] = &[TREE, "-o", "/dev/null", "--"];
    for tracer in [STRACE_F, STRACE_REMOTE, TREE_O] {
        as_untraced(Watch::FromTheShell(tracer)).await;
    }
}

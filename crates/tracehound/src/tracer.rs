//! The tracer: what starts and ends the tracer threads, and what gives them work.

use std::borrow::BorrowMut;
use std::fmt;
use std::future::Future;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracehound_sys::spawn::Launch;
use tracehound_sys::{ForkGuard, Tid, proc, seccomp};

use crate::attach::{Attach, AttachThread};
use crate::builder::TracerBuilder;
use crate::child::{Child, ChildCell};
use crate::command::{Command, Pipes};
use crate::error::{Error, Result};
use crate::guard::Guard;
use crate::let_go::LetGo;
use crate::metrics::Metrics;
use crate::shard::{self, LaunchPlan, Launched, Local, Shard, TreeId, TreePlan};
use crate::spawner;
use crate::tracee::Tracee;
use crate::watchdog::Watchdog;

/// Traces processes.
///
/// A tracer owns one or more tracer threads. It is cheap to clone, and usable from any
/// thread and task. It ends when the last handle is dropped (a `Tracer`, a
/// [`Tracee`], a [`Child`], a task that has one), or by
/// [`shutdown`](Tracer::shutdown); whatever is traced then runs on untraced, or is
/// [killed](TracerBuilder::let_go). A program may have several of them, started and ended at
/// any time.
///
/// ```
/// use futures::StreamExt;
/// use tracehound::{Command, Event, Tracer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tracehound::Result<()> {
/// let tracer = Tracer::new()?;
/// let (mut tracee, mut child) = tracer.spawn(Command::new("true")).await?;
/// while let Some(event) = tracee.next().await {
///     if let Event::Exited(exited) = event {
///         assert_eq!(exited.code, 0);
///     }
/// }
/// assert!(child.wait().await?.success());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tracer {
    pub(crate) handles: Arc<Handles>,
}

/// What ends the tracer when the last one lets go of it.
pub(crate) struct Handles {
    pub(crate) first: Arc<Shard>,
    pub(crate) others: Vec<Arc<Shard>>,
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) user: Mutex<Option<spawner::User>>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) watchdog: Arc<Watchdog>,
    pub(crate) fork_guard: Arc<ForkGuard>,
}

impl Handles {
    fn shards(&self) -> impl Iterator<Item = &Arc<Shard>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Whether there is one tracer thread.
    pub(crate) fn is_single(&self) -> bool {
        self.others.is_empty()
    }

    /// The shard with this tracer thread.
    pub(crate) fn shard_of(&self, thread: Tid) -> Option<Arc<Shard>> {
        self.shards()
            .find(|shard| shard.thread() == thread)
            .cloned()
    }

    pub(crate) fn start(&self) -> Result<()> {
        let runtime = Handle::try_current().ok();
        for shard in self.shards() {
            let thread = shard::start(shard, runtime.clone())?;
            self.threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(thread);
            if let Some(runtime) = &runtime {
                runtime.spawn(watch_runtime(Arc::clone(shard)));
            }
        }
        Ok(())
    }

    /// Has the tracer threads watched: there are tasks on them.
    pub(crate) fn watch_tasks(&self) {
        if let Err(error) = self.watchdog.start(self.shards().cloned().collect()) {
            tracing::warn!(%error, "tasks that block their tracer thread will not be reported");
        }
    }

    /// The threads for what a tracee may hold up.
    pub(crate) fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// Ends the tracer threads; without anything said, what was said at the start holds for
    /// the tracees.
    fn close(&self, how: Option<LetGo>) {
        self.guard.close();
        for shard in self.shards() {
            // An error: it has ended, or this is a forked child.
            let _ = shard.run(move |local| local.close(how));
        }
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        if self.fork_guard.is_forked() {
            // Neither the threads nor the spawner are here.
            std::mem::forget(self.user.get_mut().map(Option::take));
            std::mem::forget(self.threads.get_mut().map(std::mem::take));
            return;
        }
        self.close(None);
    }
}

/// Runs in the host's runtime for as long as the tracer thread. When the runtime is shut
/// down first, the tracer ends: a timer that a pinned task polled after that would panic.
async fn watch_runtime(shard: Arc<Shard>) {
    struct Sentinel(Arc<Shard>);

    impl Drop for Sentinel {
        fn drop(&mut self) {
            if self.0.has_ended() {
                return;
            }
            if !self.0.is_current() {
                self.0.stop_tasks(RUNTIME_GRACE);
            }
            // An error: the tracer is ending.
            let _ = self.0.run(|local| local.close(None));
        }
    }

    let sentinel = Sentinel(shard);
    sentinel.0.ended().await;
}

/// How long a runtime's shutdown is held up for pinned tasks to end. One that blocks its
/// thread for longer may find its timers gone.
const RUNTIME_GRACE: Duration = Duration::from_millis(200);

static NEXT_TREE: AtomicU64 = AtomicU64::new(1);

impl Tracer {
    /// Starts a tracer with one tracer thread.
    ///
    /// Called inside a tokio runtime, that runtime's timers and sockets work in pinned
    /// tasks, and its shutdown ends the tracer. Outside of one, pinned tasks must do
    /// without.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] before Linux 5.3, [`Error::WakeSignal`] if the host has
    /// handlers for all signals that could wake the thread, [`Error::System`] if there
    /// can be no more threads.
    pub fn new() -> Result<Tracer> {
        Tracer::builder().build()
    }

    /// A tracer with options.
    pub fn builder() -> TracerBuilder {
        TracerBuilder::new()
    }

    fn emptiest_shard(&self) -> Arc<Shard> {
        let least = self.handles.shards().min_by_key(|shard| shard.load());
        Arc::clone(least.unwrap_or(&self.handles.first))
    }

    /// Starts a program, held before its first instruction.
    ///
    /// The tracee is in the stop of its exec (`PTRACE_EVENT_EXEC`), or with
    /// [`stop_before_exec`](Command::stop_before_exec) at the entry of its execve; its
    /// first event is [`Started`](crate::Event::Started), and it takes requests at once.
    /// The program sees nothing of the hand-over.
    ///
    /// # Errors
    ///
    /// [`Error::NotConfigured`] for a [filter](Command::trace_syscalls) that the kernel lacks.
    /// [`Error::InvalidArgument`] for a program that is to run [on the tracer's
    /// CPU](Command::on_tracers_cpu) where the tracer threads have none.
    /// [`Error::Spawn`] with the `io::Error` that std gives: a missing program, a
    /// directory that is not there, a string with a NUL byte. [`Error::NotPermitted`]
    /// where ptrace(2) is forbidden. [`Error::TooManyTracees`] at the
    /// [limit](TracerBuilder::max_tracees).
    ///
    /// # Cancel safety
    ///
    /// A program whose spawn is dropped before it is ready is killed before its first
    /// instruction. Without a poll it is not begun.
    pub fn spawn(
        &self,
        mut command: impl BorrowMut<Command>,
    ) -> impl Future<Output = Result<(Tracee, Child)>> + Send + 'static {
        let prepared = self.prepare(command.borrow_mut(), None);
        let handles = Arc::clone(&self.handles);
        async move {
            let mut spawn = prepared?;
            // Without a tracee the tracer is ending; the program is killed.
            let launched = spawn.run().await?;
            let (tracee, cell) = launched.into_parts().ok_or(Error::Shutdown)?;
            let child = spawn_child(cell, handles, spawn.pipes, spawn.kill_on_drop)?;
            Ok((tracee, child))
        }
    }

    fn prepare(&self, command: &mut Command, tree: Option<TreePlan>) -> Result<Spawn> {
        if command.tracing.filtered && !seccomp::is_available() {
            return Err(Error::NotConfigured {
                what: "a filter of system calls",
                option: "CONFIG_SECCOMP_FILTER",
            });
        }
        if command.on_tracers_cpu && self.handles.first.cpu().is_none() {
            return Err(Error::InvalidArgument(
                "on_tracers_cpu needs a tracer whose threads have CPUs: TracerBuilder::cpus",
            ));
        }
        let (program, pipes) = command.prepare().map_err(Error::Spawn)?;
        if !pipes.is_empty() && Handle::try_current().is_err() {
            return Err(Error::InvalidArgument(
                "pipes need a tokio runtime around the spawn",
            ));
        }
        let closures = command.take_closures();
        let launch = Launch::new(program, closures, command.before_exec);
        let launch = Arc::new(launch.map_err(|source| Error::System {
            call: "mmap",
            source,
        })?);
        let (reply, answer) = oneshot::channel();
        let shard = self.emptiest_shard();
        let seat = shard.seat()?;
        if command.tracing.resource_usage {
            shard.want_usage();
        }
        Ok(Spawn {
            plan: Some(LaunchPlan {
                launch,
                options: command.tracing.options(),
                mode: command.mode,
                prefetch: command.tracing.prefetch,
                rule: command.tracing.rule(),
                before_exec: command.before_exec,
                on_tracers_cpu: command.on_tracers_cpu,
                kill_on_drop: command.kills_on_drop(),
                tree,
                seat,
                guest: None,
                reply,
            }),
            shard,
            answer,
            pipes,
            kill_on_drop: command.kills_on_drop(),
        })
    }

    /// Runs a program and the same logic for it and every tracee that comes of it, each
    /// in a task of its own on the tracer thread: at the speed of a C loop.
    ///
    /// `logic` is called for the program itself, and for every thread and process it
    /// makes, as far as they are [followed](Command::follow). The tasks need not be
    /// `Send`. Resolves when all of them have ended and the program is dead; gives the
    /// program's exit status. A program's piped streams cannot be reached this way: they
    /// are closed.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Tracer::spawn); [`Error::Shutdown`] if the tracer is shut down first.
    ///
    /// # Panics
    ///
    /// With the payload of a task that panicked, when all others have ended, as a
    /// `join` would. The panic ends that task alone; its tracee is [let go](crate::LetGo).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends all its tasks; their tracees are [let go](crate::LetGo): they are
    /// detached and run on, if nothing else was said. A program that was not ready yet is killed
    /// before its first instruction.
    pub fn trace<F, Fut>(
        &self,
        mut command: impl BorrowMut<Command>,
        logic: F,
    ) -> impl Future<Output = Result<ExitStatus>> + Send + 'static
    where
        F: Fn(Tracee) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let id = NEXT_TREE.fetch_add(1, Ordering::Relaxed);
        let (done, finished) = oneshot::channel();
        let plan = TreePlan {
            id,
            logic: Box::new(move |tracee| logic(tracee).boxed_local()),
            done,
        };
        let prepared = self.prepare(command.borrow_mut(), Some(plan));
        let handles = Arc::clone(&self.handles);
        async move {
            let mut spawn = prepared?;
            spawn.pipes = Pipes::default();
            let felling = FellOnDrop {
                id,
                shard: Arc::clone(&spawn.shard),
            };
            let cell = spawn.run().await?.into_child().ok_or(Error::Shutdown)?;
            let mut child = Child::new(cell, handles, spawn.kill_on_drop);
            let panic = finished.await.map_err(|_| Error::Shutdown)?;
            drop(felling);
            let status = child.wait().await?;
            match panic {
                Some(payload) => std::panic::resume_unwind(payload),
                None => Ok(status),
            }
        }
    }

    /// Attaches to every thread of a running process: `PTRACE_SEIZE` (Linux 3.4).
    ///
    /// The threads run on. Options are set on what is returned, which is awaited.
    ///
    /// ```no_run
    /// # async fn example(tracer: tracehound::Tracer, pid: i32) -> tracehound::Result<()> {
    /// use futures::StreamExt;
    ///
    /// let mut process = tracer.attach(pid).await?;
    /// while let Some((tid, event)) = process.next().await {
    ///     println!("{tid}: {event:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn attach(&self, pid: impl Into<Tid>) -> Attach {
        Attach::new(Arc::clone(&self.handles), self.emptiest_shard(), pid.into())
    }

    /// Attaches to one thread, and leaves the others of its process alone: `PTRACE_SEIZE`
    /// (Linux 3.4).
    ///
    /// By default nothing that the thread makes is followed.
    ///
    /// ```no_run
    /// # async fn example(tracer: tracehound::Tracer, tid: i32) -> tracehound::Result<()> {
    /// use futures::StreamExt;
    ///
    /// let mut thread = tracer.attach_thread(tid).await?;
    /// while let Some(event) = thread.next().await {
    ///     println!("{event:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn attach_thread(&self, tid: impl Into<Tid>) -> AttachThread {
        AttachThread::new(Arc::clone(&self.handles), self.emptiest_shard(), tid.into())
    }

    /// What the tracer has done until now, to be watched over. A snapshot: each number is
    /// exact, but they are not of the same instant.
    ///
    /// Nothing is waited for, and no tracer thread interrupted. Counting costs a few
    /// nanoseconds a stop.
    ///
    /// ```
    /// # fn example(tracer: &tracehound::Tracer) {
    /// let metrics = tracer.metrics();
    /// println!("{} tracees, {} stops", metrics.tracees, metrics.stops.total());
    /// for (kind, count) in metrics.stops.iter() {
    ///     println!("stops_total{{kind=\"{kind}\"}} {count}");
    /// }
    /// # }
    /// ```
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        for shard in self.handles.shards() {
            metrics.tracees += shard.load();
            shard.counters().add_to(&mut metrics);
        }
        metrics
    }

    /// Detaches everything, which runs on, or kills it, as was [said](TracerBuilder::let_go) when
    /// the tracer was made; and ends the tracer threads.
    ///
    /// Resolves when they have ended and are joined. A tracee that cannot stop (a vfork parent, a
    /// frozen one) is waited for up to a second, then let go by the kernel. One that has a
    /// [filter](Command::trace_syscalls) is killed, or stays attached without being watched, as
    /// [`Command::unwatched`] says. Handles that are left
    /// say [`Error::Shutdown`]; streams end with [`Detached`](crate::Event::Detached).
    ///
    /// Where tracees are killed, their streams end with their death, and of the processes that
    /// this one made no zombie is left. One that cannot die (in an uninterruptible system call)
    /// is waited for up to a second, too, and dies when it can. A process that is just being
    /// attached is let go unharmed.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a forked child.
    ///
    /// # Cancel safety
    ///
    /// The shutdown begins at the first poll, and goes on if the future is dropped; another one
    /// may be awaited instead.
    pub async fn shutdown(&self) -> Result<()> {
        self.end(None).await
    }

    /// [`shutdown`](Tracer::shutdown), with tracees let go in this way, whatever was said when the
    /// tracer was made. If it is ending already, that is not changed.
    ///
    /// # Errors
    ///
    /// As [`shutdown`](Tracer::shutdown).
    ///
    /// # Cancel safety
    ///
    /// The shutdown begins at the first poll, and goes on if the future is dropped.
    pub async fn shutdown_by(&self, how: LetGo) -> Result<()> {
        self.end(Some(how)).await
    }

    async fn end(&self, how: Option<LetGo>) -> Result<()> {
        if self.handles.fork_guard.is_forked() {
            return Err(Error::Forked);
        }
        self.handles.close(how);
        for shard in self.handles.shards() {
            if !shard.is_current() {
                shard.ended().await;
            }
        }
        let join = |(thread, shard): (JoinHandle<()>, &Arc<Shard>)| {
            if shard.lingers() {
                // It goes on for tracees that nobody watches.
                return;
            }
            if thread.thread().id() != std::thread::current().id() {
                // It has said that it ends: this takes no time. A panic was reported.
                let _ = thread.join();
                await_release(shard.thread());
            }
        };
        let threads = &self.handles.threads;
        let threads = std::mem::take(&mut *threads.lock().unwrap_or_else(PoisonError::into_inner));
        threads
            .into_iter()
            .zip(self.handles.shards())
            .for_each(join);
        self.handles.guard.join();
        if !self.handles.shards().any(|shard| shard.is_current()) {
            self.handles.watchdog.join();
        }
        let user = &self.handles.user;
        drop(user.lock().unwrap_or_else(PoisonError::into_inner).take());
        spawner::settled().await;
        Ok(())
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer")
            .field("first", &self.handles.first)
            .field("others", &self.handles.others)
            .finish()
    }
}

/// A spawn under way.
struct Spawn {
    plan: Option<LaunchPlan>,
    shard: Arc<Shard>,
    answer: oneshot::Receiver<Result<Launched>>,
    pipes: Pipes,
    kill_on_drop: bool,
}

impl Spawn {
    /// Tells the tracer thread what to make or to expect, and the spawner what to fork.
    async fn run(&mut self) -> Result<Launched> {
        let Some(plan) = self.plan.take() else {
            return Err(Error::Shutdown);
        };
        if plan.launch.forks() {
            self.fork(plan)?;
        } else {
            self.shard.run(move |local| local.launch_guest(plan))?;
        }
        let waiting = AbandonOnDrop {
            shard: &self.shard,
            answer: &mut self.answer,
        };
        let answer = (&mut *waiting.answer).await;
        std::mem::forget(waiting);
        answer.map_err(|_| Error::Shutdown)?
    }

    fn fork(&self, plan: LaunchPlan) -> Result<()> {
        let launch = Arc::clone(&plan.launch);
        // The spawner wakes it.
        self.shard
            .run_with_the_next(move |local| local.expect_launch(plan))?;
        if let Err(error) = spawner::launch(Arc::clone(&launch), Arc::clone(&self.shard)) {
            launch.abort();
            self.shard.interrupter().interrupt();
            return Err(error);
        }
        Ok(())
    }
}

/// Ends a spawn that was dropped: its exec may take as long as it likes.
struct AbandonOnDrop<'a> {
    shard: &'a Shard,
    answer: &'a mut oneshot::Receiver<Result<Launched>>,
}

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        // First: that is what the tracer thread looks at.
        self.answer.close();
        // An error: the tracer has ended, and the program with it.
        let _ = self.shard.run(Local::kill_abandoned);
    }
}

fn spawn_child(
    cell: Arc<ChildCell>,
    handles: Arc<Handles>,
    pipes: Pipes,
    kill_on_drop: bool,
) -> Result<Child> {
    let mut child = Child::new(cell, handles, kill_on_drop);
    let (stdin, stdout, stderr) = pipes.into_streams().map_err(|error| {
        child.start_kill();
        Error::Spawn(error)
    })?;
    child.stdin = stdin;
    child.stdout = stdout;
    child.stderr = stderr;
    Ok(child)
}

/// Ends the tasks of a tree whose future was dropped.
struct FellOnDrop {
    id: TreeId,
    shard: Arc<Shard>,
}

impl Drop for FellOnDrop {
    fn drop(&mut self) {
        let id = self.id;
        // An error: the tracer has ended, and the tasks with it.
        let _ = self.shard.run(move |local| local.fell_tree(id));
    }
}

/// Waits for the kernel to let go of what an ended thread still traced: it does so after it has
/// told whoever joins the thread.
fn await_release(thread: Tid) {
    const PAUSE: Duration = Duration::from_micros(50);
    // At least a second. It is counted in looks, so that a machine that stood still all the while
    // does not end it.
    const LOOKS: usize = 20_000;
    for _ in 0..LOOKS {
        if proc::state(Tid::current_process(), thread).is_err() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

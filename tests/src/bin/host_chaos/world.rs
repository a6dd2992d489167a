//! All that there is in one case, and what is done with it.

use std::collections::HashSet;
use std::future::IntoFuture;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use tokio::task::JoinHandle;
use tracehound::{
    Child, Command, Error, Event, PinnedTask, ResumeMode, Signal, Stdio, Tid, Tracee, Tracer,
};
use tracehound_sys::signal_process;
use tracehound_tests::{place, sibling};

use crate::filter::Filter;
use crate::group::Group;
use crate::life::{Deeds, Life, Origin};
use crate::plan::{Op, Patience, Script, Seize, Start, Touch, Who, signals};
use crate::soon;
use crate::system::is_descendant;
use crate::touch::{Shut, Tracked, bounded, touch};

/// What outlives a world that is dropped with its task.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The processes that tracers have made.
    pub(crate) made: Mutex<HashSet<Tid>>,
    pub(crate) shut: Shut,
    /// Somebody may stay a tracee that nobody watches.
    pub(crate) passes: AtomicBool,
    pub(crate) ops: AtomicU64,
}

/// A process that a tracer has made.
pub(crate) struct Kid {
    pub(crate) child: Child,
    pub(crate) deeds: Arc<Deeds>,
}

type Pinned = PinnedTask<(Tracked, Vec<Tracked>)>;

pub(crate) struct World {
    pub(crate) tracer: Tracer,
    pub(crate) shared: Arc<Shared>,
    pub(crate) tracees: Vec<Tracked>,
    pub(crate) groups: Vec<Group>,
    pub(crate) kids: Vec<Kid>,
    pub(crate) pinned: Vec<Pinned>,
    pub(crate) trees: Vec<JoinHandle<Result<std::process::ExitStatus, Error>>>,
    /// Every process whose id came up.
    pids: Vec<(Tid, Arc<Deeds>)>,
}

/// One of these, counted around.
fn pick<T>(from: &mut [T], who: Who) -> Option<&mut T> {
    let count = from.len();
    (count > 0).then(|| &mut from[usize::from(who) % count])
}

fn at<T>(from: &[T], who: Who) -> Option<usize> {
    (!from.is_empty()).then(|| usize::from(who) % from.len())
}

fn deeds_of(script: &Script) -> Arc<Deeds> {
    let deeds = Arc::new(Deeds::default());
    signals(script).into_iter().for_each(|s| deeds.sent(s));
    deeds
}

fn command(start: &Start) -> Command {
    let mut command = Command::new(sibling("actor"));
    command.arg(start.script.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null());
    command.resume_mode(start.mode).exit_stops(start.exit_stops);
    command.stop_before_exec(start.before_exec);
    command.kill_on_drop(start.kill_on_drop);
    if let Some(filter) = &start.filter {
        filter.apply(&mut command);
    }
    place(&mut command);
    command
}

impl World {
    pub(crate) fn new(tracer: Tracer, shared: Arc<Shared>) -> Self {
        World {
            tracer,
            shared,
            tracees: Vec::new(),
            groups: Vec::new(),
            kids: Vec::new(),
            pinned: Vec::new(),
            trees: Vec::new(),
            pids: Vec::new(),
        }
    }

    pub(crate) fn shut(&self) -> Shut {
        self.shared.shut.clone()
    }

    /// Every program's deeds.
    pub(crate) fn all_deeds(&self) -> impl Iterator<Item = &Arc<Deeds>> {
        self.pids.iter().map(|(_, deeds)| deeds)
    }

    fn join(&mut self, tracked: impl IntoIterator<Item = Tracked>) {
        for tracked in tracked {
            self.pids
                .push((tracked.life.tid, Arc::clone(&tracked.life.deeds)));
            self.tracees.push(tracked);
        }
    }

    pub(crate) async fn run(&mut self, ops: &[Op]) {
        for op in ops {
            self.carry_out(op).await;
            self.shared.ops.fetch_add(1, Ordering::Relaxed);
            self.tracees.retain(|tracked| !tracked.life.has_ended());
        }
    }

    async fn carry_out(&mut self, op: &Op) {
        match op {
            Op::Spawn(start, cancel) => self.spawn(start, *cancel).await,
            Op::Start(script) => self.start(script),
            Op::Tree(start) => self.tree(start),
            Op::Fell(who) => {
                if let Some(tree) = pick(&mut self.trees, *who) {
                    tree.abort();
                }
            }
            Op::Attach(who, seize) => self.attach(*who, *seize).await,
            Op::AttachThread(who, seize) => self.attach_thread(*who, *seize).await,
            Op::Tracee(who, touch) => self.touch(*who, touch).await,
            Op::Process(who, handle) => {
                if let Some(at) = at(&self.groups, *who) {
                    let shut = self.shut();
                    let group = self.groups.swap_remove(at);
                    let (group, born) = group.handle(handle, &shut).await;
                    self.groups.extend(group);
                    self.join(born);
                }
            }
            Op::Everybody(patience) => {
                let shut = self.shut();
                let mut born = Vec::new();
                for tracked in &mut self.tracees {
                    born.extend(tracked.next(*patience, true, &shut).await);
                }
                self.join(born);
            }
            Op::Signal(who, signal) => self.signal(*who, *signal),
            Op::Child(who, kill) => self.child(*who, *kill),
            Op::Unpin(who, abort) => self.unpin(*who, *abort).await,
            Op::Breath(patience) => {
                bounded(std::future::pending::<()>(), *patience).await;
            }
            Op::Shutdown(patience) => {
                self.shared.shut.set();
                let tracer = self.tracer.clone();
                if let Some(result) = bounded(tracer.shutdown(), *patience).await {
                    result.expect("shutdown");
                }
            }
        }
    }

    /// The command of a program that is about to be started.
    fn command(&self, start: &Start) -> Command {
        if start.filter.as_ref().is_some_and(Filter::passes) {
            self.shared.passes.store(true, Ordering::SeqCst);
        }
        command(start)
    }

    async fn spawn(&mut self, start: &Start, cancel: Option<Patience>) {
        let spawning = self.tracer.spawn(self.command(start));
        let spawned = match cancel {
            Some(patience) => match bounded(spawning, patience).await {
                Some(spawned) => spawned,
                None => return,
            },
            None => soon("spawn", spawning).await,
        };
        let (tracee, child) = match spawned {
            Ok(spawned) => spawned,
            Err(Error::Shutdown) if self.shared.shut.get() => return,
            Err(error) => panic!("spawn: {error:?}"),
        };
        let deeds = deeds_of(&start.script);
        let made = self.shared.made.lock();
        made.unwrap_or_else(PoisonError::into_inner)
            .insert(child.id());
        let life = Life::new(tracee.tid(), Origin::Spawned, &deeds, start.exit_stops);
        let life = life.filtered(start.filter.clone());
        self.kids.push(Kid { child, deeds });
        self.join([Tracked { tracee, life }]);
    }

    // It is reaped when the case has ended: until then it may be a tracee.
    #[expect(clippy::zombie_processes)]
    fn start(&mut self, script: &Script) {
        let mut command = std::process::Command::new(sibling("actor"));
        command.arg(script.to_string());
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        let child = command.spawn().expect("it starts");
        self.pids.push((Tid::from(child.id()), deeds_of(script)));
    }

    /// A tree whose tracees are followed on the tracer thread.
    fn tree(&mut self, start: &Start) {
        let mut start = start.clone();
        if matches!(start.mode, ResumeMode::Step | ResumeMode::Block) {
            // Each exec would take a second.
            start.mode = ResumeMode::Syscall;
        }
        let (deeds, shut) = (deeds_of(&start.script), self.shut());
        // Who dies with a tree that is felled is not known.
        self.pids.push((Tid::from_raw(0), Arc::clone(&deeds)));
        let (exit_stops, filter) = (start.exit_stops, start.filter.clone());
        let command = self.command(&start);
        let traced = self.tracer.trace(command, move |mut tracee: Tracee| {
            let life = Life::unknown(tracee.tid(), &deeds, exit_stops);
            let mut life = life.filtered(filter.clone());
            let shut = shut.clone();
            async move {
                life.letting_go();
                life.asked(tracee.resume_mode());
                while let Some(event) = tracee.next().await {
                    life.event(&event, tracee.tid(), false, shut.get());
                    life.asked(tracee.resume_mode());
                }
                life.nothing(false);
            }
        });
        self.trees.push(tokio::spawn(traced));
    }

    fn target(&self, who: Who) -> Option<(Tid, Arc<Deeds>)> {
        at(&self.pids, who).and_then(|at| self.pids.get(at).cloned())
    }

    async fn attach(&mut self, who: Who, seize: Seize) {
        let Some((pid, deeds)) = self.target(who).filter(|(pid, _)| is_descendant(*pid)) else {
            return;
        };
        let attach = self.tracer.attach(pid).own_child(true);
        let attach = attach.resume_mode(seize.mode).exit_stops(seize.exit_stops);
        let attach = attach.patience(std::time::Duration::from_millis(100));
        let attach = attach.stop_all(seize.stopped);
        let attached = bounded(attach.into_future(), seize.patience).await;
        if let Some(process) = attached.and_then(|result| self.may_be_refused(result)) {
            let mut group = Group::new(process, &deeds, seize);
            if seize.stopped && !self.shut().get() {
                group.rests();
            }
            self.groups.push(group);
        }
    }

    async fn attach_thread(&mut self, who: Who, seize: Seize) {
        let Some((pid, deeds)) = self.target(who).filter(|(pid, _)| is_descendant(*pid)) else {
            return;
        };
        let tids = tracehound_sys::proc::tasks(pid).unwrap_or_default();
        let Some(tid) = at(&tids, who).map(|at| tids[at]) else {
            return;
        };
        let attach = self.tracer.attach_thread(tid).own_child(true);
        let attach = attach.resume_mode(seize.mode).exit_stops(seize.exit_stops);
        let attach = attach.patience(std::time::Duration::from_millis(100));
        let attached = bounded(attach.into_future(), seize.patience).await;
        if let Some(tracee) = attached.and_then(|result| self.may_be_refused(result)) {
            let mut life = Life::new(tracee.tid(), Origin::Attached, &deeds, seize.exit_stops);
            life.enters(seize.mode);
            self.tracees.push(Tracked { tracee, life });
        }
    }

    fn may_be_refused<T>(&self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(attached) => Some(attached),
            // It has ended, is a zombie, is traced already, or in an exec that somebody holds up.
            Err(Error::NoSuchProcess(_) | Error::NotPermitted { .. } | Error::Busy(_)) => None,
            Err(Error::Shutdown) if self.shared.shut.get() => None,
            Err(error) => panic!("attach: {error:?}"),
        }
    }

    async fn touch(&mut self, who: Who, what: &Touch) {
        let Some(at) = at(&self.tracees, who) else {
            return;
        };
        let shut = self.shut();
        match what {
            Touch::Drop => drop(self.tracees.swap_remove(at)),
            Touch::Pin(count) => {
                let Tracked { tracee, life } = self.tracees.swap_remove(at);
                let count = *count;
                self.pinned
                    .push(tracee.spawn_pinned(move |tracee| async move {
                        let mut tracked = Tracked { tracee, life };
                        let events = Touch::Events(count);
                        let Tracked { tracee, life } = &mut tracked;
                        let born = touch(tracee, life, &events, &shut).await;
                        (tracked, born)
                    }));
            }
            what => {
                let Some(Tracked { tracee, life }) = self.tracees.get_mut(at) else {
                    return;
                };
                let born = touch(tracee, life, what, &shut).await;
                self.join(born);
            }
        }
    }

    fn signal(&mut self, who: Who, signal: Signal) {
        if let Some((pid, deeds)) = self.target(who)
            && is_descendant(pid)
        {
            deeds.sent(signal);
            // An error: it has died since.
            let _ = signal_process(pid, signal);
        }
    }

    fn child(&mut self, who: Who, kill: bool) {
        let Some(at) = at(&self.kids, who) else {
            return;
        };
        if kill {
            let kid = &self.kids[at];
            kid.deeds.kill();
            kid.child.start_kill();
        } else {
            // It may kill, if it was told to.
            drop(self.kids.swap_remove(at));
        }
    }

    async fn unpin(&mut self, who: Who, abort: bool) {
        let Some(at) = at(&self.pinned, who) else {
            return;
        };
        let mut task = self.pinned.swap_remove(at);
        if abort {
            return task.abort();
        }
        match bounded(&mut task, Patience::Time(5)).await {
            Some(result) => self.take_back(result),
            None => self.pinned.push(task),
        }
    }

    /// What a pinned task gives back.
    pub(crate) fn take_back<E: std::fmt::Debug>(
        &mut self,
        result: Result<(Tracked, Vec<Tracked>), E>,
    ) {
        match result {
            Ok((tracked, born)) => self.join(std::iter::once(tracked).chain(born)),
            Err(error) => assert!(self.shared.shut.get(), "a pinned task: {error:?}"),
        }
    }

    /// How a process that a tracer has made may end.
    pub(crate) fn check_status(kid: &Kid, status: std::process::ExitStatus) {
        use std::os::unix::process::ExitStatusExt;
        let legal = match status.signal() {
            Some(signal) => kid.deeds.may_die_of(Signal::from_raw(signal)),
            None => status.code() != Some(101) || kid.deeds.is_confused(),
        };
        assert!(legal, "{}: {status}, {:?}", kid.child.id(), kid.deeds);
    }
}

/// Whether a terminal event and a status say the same.
pub(crate) fn is_same(event: &Event, status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    match event {
        Event::Exited(exited) => status.code() == Some(exited.code),
        Event::Killed(killed) => status.signal() == Some(killed.signal.as_raw()),
        _ => true,
    }
}

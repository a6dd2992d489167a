//! Tracees that are killed at random moments, in every state they can be in: each has one
//! terminal event, the true one, and nothing is left of any.
//!
//! `KILLS=100000` in the environment makes it so many; `SEED` repeats a run, as far as the
//! kernel does.

use std::cell::{Cell, RefCell};
use std::os::unix::process::ExitStatusExt;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tracehound::{
    Child, Command, Error, Event, Follow, PinnedError, ResumeMode, Signal, Tid, Tracee, Tracer,
};
use tracehound_sys::{signal_process, signal_thread};
use tracehound_tests::{Random, STUCK, new_tracer, place, puppet, soon, start, state, until};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const CREW: &str = env!("CARGO_BIN_EXE_crew");

fn crew(args: &[&str]) -> Command {
    let mut command = Command::new(CREW);
    command.args(args).stdout(tracehound::Stdio::null());
    command.stdin(tracehound::Stdio::null());
    command
}

/// Programs that get into many states.
fn program(random: &mut Random) -> Command {
    let stop = *random.pick(&[libc::SIGSTOP, libc::SIGTSTP, libc::SIGUSR1, libc::SIGCONT]);
    let mut command = match random.below(26) {
        0 => puppet!("pause"),
        1 => puppet!("marks"),
        2 => puppet!("fork"),
        3 => puppet!("vfork"),
        4 => puppet!("vfork-exec", PUPPET, "mark", 3),
        5 => puppet!("clone"),
        6 => puppet!("clone3"),
        7 => puppet!("posix-spawn", PUPPET, "mark", 3),
        8 => puppet!("threads", 5),
        9 => puppet!("waiting-threads", 3),
        10 => puppet!("exit-with-threads", 3),
        11 => puppet!("thread-and-fork"),
        12 => puppet!("exec", PUPPET, "mark", 3),
        13 => puppet!("exec-from-thread", PUPPET, "mark", 3),
        14 => puppet!("exec-with-threads", PUPPET, "mark", 3),
        15 => puppet!("failed-exec"),
        16 => puppet!("raise", stop),
        17 => puppet!("block", libc::SIGUSR1),
        18 => puppet!("queue"),
        19 => puppet!("fault"),
        20 => puppet!("fork-orphan"),
        21 => crew(&["race-exec", "2", PUPPET, "mark", "3"]),
        22 => crew(&["exec-often", "3"]),
        23 => crew(&["siblings", "3"]),
        24 => crew(&["leaderless"]),
        _ => crew(&["namespace", "1"]),
    };
    let mode = *random.pick(&[ResumeMode::Cont, ResumeMode::Syscall, ResumeMode::Step]);
    command.stdout(tracehound::Stdio::null());
    // What they say of calls that were not made.
    command.stderr(tracehound::Stdio::null());
    command.process_group(0).resume_mode(mode);
    command.exit_stops(random.percent(40));
    command.stop_before_exec(random.percent(5));
    command.resource_usage(random.percent(10));
    if random.percent(10) {
        command.follow(*random.pick(&[Follow::Nothing, Follow::Threads]));
    }
    command
}

/// What the tracees of one program share.
struct Round {
    random: RefCell<Random>,
    group: Tid,
    child: RefCell<Child>,
    /// The happening at which somebody is killed.
    due: Cell<usize>,
    killed: Cell<bool>,
    /// Everybody who was ever named.
    tids: RefCell<Vec<Tid>>,
}

impl Round {
    fn percent(&self, often: usize) -> bool {
        self.random.borrow_mut().percent(often)
    }

    fn below(&self, limit: usize) -> usize {
        self.random.borrow_mut().below(limit)
    }

    /// Something happened to a tracee: perhaps it is to die now.
    fn happening(&self, tracee: &Tracee) {
        let due = self.due.get();
        if due == 0 {
            self.kill(tracee);
            // The rest of its family, later.
            self.due.set(1 + self.below(30));
        } else {
            self.due.set(due - 1);
        }
    }

    fn kill(&self, tracee: &Tracee) {
        self.killed.set(true);
        let tid = tracee.tid();
        // An error of any: it has ended, or was let go.
        match self.below(6) {
            0 => drop(tracee.control().kill()),
            1 => drop(signal_process(tid, Signal::SIGKILL)),
            2 => drop(signal_thread(tracee.tgid(), tid, Signal::SIGKILL)),
            3 => self.child.borrow().start_kill(),
            _ => self.kill_all(),
        }
    }

    fn kill_all(&self) {
        self.killed.set(true);
        // SAFETY: takes numbers; the group is of this round's making, and nobody else's as
        // long as one of it lives.
        unsafe { libc::kill(-self.group.as_raw(), libc::SIGKILL) };
    }
}

/// A few turns of whoever else there is.
async fn some_turns(turns: usize) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

/// What the requests of a tracee may say that can be killed at any time.
fn may_fail<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(
            Error::Gone(_)
            | Error::Running(_)
            | Error::Detached(_)
            | Error::NotASignalStop { .. }
            | Error::WrongStop { .. },
        ) => None,
        Err(other) => panic!("{other:?}"),
    }
}

/// Goes on from a stop in some way; gives the next event, if that was asked for on the way.
async fn go_on(tracee: &mut Tracee, round: &Round) -> Option<Option<Event>> {
    match round.below(24) {
        0 => drop(may_fail(tracee.cont().await)),
        1 => drop(may_fail(tracee.syscall().await)),
        2 => drop(may_fail(tracee.step().await)),
        3 => drop(may_fail(tracee.sysemu().await)),
        4 => drop(may_fail(tracee.listen().await)),
        5 => drop(may_fail(tracee.cont_with(Signal::SIGUSR1).await)),
        6 => drop(may_fail(tracee.getregs().await)),
        7 => drop(may_fail(tracee.detach().await)),
        8 => {
            // Asked for, and dropped.
            drop(futures::poll!(tracee.next()));
        }
        9 => {
            may_fail(tracee.cont().await);
            some_turns(round.below(20)).await;
            may_fail(tracee.control().interrupt().await);
        }
        10 => {
            // Held for a while.
            some_turns(round.below(50)).await;
        }
        11 => {
            let mode = [ResumeMode::Cont, ResumeMode::Syscall, ResumeMode::Step];
            tracee.set_resume_mode(mode[round.below(3)]);
        }
        12 => drop(signal_process(tracee.tid(), Signal::SIGCONT)),
        _ => return Some(next(tracee).await),
    }
    None
}

/// The next event; says where the tracee is if there is none.
async fn next(tracee: &mut Tracee) -> Option<Event> {
    match tokio::time::timeout(STUCK, tracee.next()).await {
        Ok(event) => event,
        Err(_) => panic!("stuck: {tracee:?}, {}", threads_of(tracee.tid())),
    }
}

/// Every thread of its process, with its state: for the message.
fn threads_of(tid: Tid) -> String {
    let threads = tracehound_sys::proc::tasks(tid).unwrap_or_default();
    let states = threads
        .iter()
        .map(|tid| (*tid, tracehound_sys::proc::status(*tid)));
    format!("{:?}", states.collect::<Vec<_>>())
}

/// The life of a tracee: its events, and its children.
async fn live(mut tracee: Tracee, round: Rc<Round>) -> (Tid, Vec<Event>, Vec<Tracee>) {
    let tid = tracee.tid();
    let (mut events, mut children) = (Vec::new(), Vec::new());
    let mut steps = 0;
    loop {
        round.happening(&tracee);
        steps += 1;
        if steps > 60 {
            round.kill_all();
        }
        let event = match go_on(&mut tracee, &round).await {
            Some(event) => event,
            None => {
                round.happening(&tracee);
                next(&mut tracee).await
            }
        };
        let Some(event) = event else {
            break;
        };
        if let Some(birth) = event.birth() {
            round.tids.borrow_mut().push(birth.child);
            // One that is not taken is let go.
            if !round.percent(5) {
                children.extend(tracee.take_child(birth));
            }
        }
        events.push(event);
        if !children.is_empty() {
            // They go their own ways.
            break;
        }
        if round.percent(1) {
            drop(tracee);
            return (tid, events, children);
        }
    }
    if children.is_empty() {
        assert!(tracee.wait().await.is_none());
    } else {
        children.push(tracee);
    }
    (tid, events, children)
}

/// Every tracee of one program, to the end; gives the number of killed ones.
async fn one_round(tracer: &Tracer, random: &mut Random) -> usize {
    let mut command = program(random);
    let spawned = soon("spawn", tracer.spawn(place(&mut command))).await;
    let (root, child) = spawned.expect("spawn");
    let group = child.id();
    let round = Rc::new(Round {
        random: RefCell::new(Random::new(random.number())),
        group,
        child: RefCell::new(child),
        due: Cell::new(random.below(40)),
        killed: Cell::new(false),
        tids: RefCell::new(vec![group]),
    });
    let mut lives = FuturesUnordered::new();
    let mut ends: Vec<(Tid, Vec<Event>)> = Vec::new();
    lives.push(live(root, Rc::clone(&round)));
    loop {
        // If nothing happens to anybody any more, or just because.
        let patience = Duration::from_micros(round.below(4000) as u64);
        let Ok(next) = tokio::time::timeout(patience, lives.next()).await else {
            round.kill_all();
            continue;
        };
        let Some((tid, events, going_on)) = next else {
            break;
        };
        // Parts of the same life come one after the other.
        match ends
            .iter_mut()
            .rev()
            .find(|(other, e)| *other == tid && !e.last().is_some_and(Event::is_terminal))
        {
            Some((_, earlier)) => earlier.extend(events),
            None => ends.push((tid, events)),
        }
        lives.extend(going_on.into_iter().map(|t| live(t, Rc::clone(&round))));
    }
    round.kill_all();
    drop(lives);
    let mut killed = 0;
    for (_, events) in &ends {
        let terminal = events.iter().filter(|event| event.is_terminal()).count();
        assert!(terminal <= 1, "{events:?}");
        assert!(
            !matches!(events.last(), Some(Event::Lost)),
            "{command:?}: {ends:?}"
        );
        killed += usize::from(is_killed(events.last()));
    }
    let round = Rc::into_inner(round).expect("all have ended");
    let mut child = round.child.into_inner();
    let status = soon("the status", child.wait()).await.expect("status");
    check_status(group, status, &ends);
    for tid in round.tids.into_inner() {
        // A sibling that was let go is this process's child, and nobody else's to reap.
        let what = format!("{command:?}, {tid}: it is gone");
        until(&what, || {
            let _ = tracehound_sys::reap(tid);
            is_gone(tid)
        })
        .await;
    }
    killed
}

fn is_killed(event: Option<&Event>) -> bool {
    matches!(event, Some(Event::Killed(killed)) if killed.signal == Signal::SIGKILL)
}

/// What is left is nothing, or a zombie that is somebody else's to reap.
fn is_gone(tid: Tid) -> bool {
    let ours =
        |tid| tracehound_sys::proc::status(tid).is_ok_and(|s| s.parent == Tid::current_process());
    match state(tid) {
        None => true,
        Some('Z' | 'X') => !ours(tid),
        _ => false,
    }
}

/// Whoever had the process's id at the end has its status.
fn check_status(pid: Tid, status: std::process::ExitStatus, ends: &[(Tid, Vec<Event>)]) {
    let said: Vec<_> = ends
        .iter()
        .filter_map(|(_, events)| match events.last() {
            Some(Event::Exited(exited)) => Some((Some(exited.code), None)),
            Some(Event::Killed(killed)) => Some((None, Some(killed.signal.as_raw()))),
            _ => None,
        })
        .collect();
    // Somebody who was let go, or whom an untraced thread replaced, may have it.
    let let_go = ends.iter().any(|(_, events)| match events.last() {
        Some(Event::Replaced(replaced)) => replaced.by.is_none(),
        Some(event) => !event.is_terminal() || matches!(event, Event::Detached),
        None => true,
    });
    let status = (status.code(), status.signal());
    assert!(
        let_go || said.contains(&status),
        "{pid}: {status:?}, {ends:?}"
    );
}

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().expect("a number"))
}

async fn walk(tracer: Tracer, part: u64) {
    let wanted = setting("KILLS", 2_000) as usize / 2;
    let seed = setting("SEED", 1) + part;
    let mut random = Random::new(seed);
    let (mut killed, mut rounds) = (0, 0);
    while killed < wanted {
        killed += one_round(&tracer, &mut random).await;
        rounds += 1;
    }
    println!("seed {seed}: {killed} tracees killed in {rounds} rounds");
}

/// The same where requests are made at once.
async fn pinned_walk(tracer: Tracer, part: u64) {
    let (guide, mut child) = start(&tracer, &mut puppet!("pause")).await;
    let task = guide.spawn_pinned(move |guide| async move {
        walk(tracer, part).await;
        drop(guide);
    });
    match task.await {
        Ok(()) => {}
        Err(PinnedError::Panicked(panic)) => std::panic::resume_unwind(panic.into_payload()),
        Err(error) => panic!("{error}"),
    }
    soon("its end", child.kill()).await.expect("killed");
}

/// Nothing that is ours is left, but for siblings that nobody has told of.
async fn nothing_is_left(tracer: Tracer) {
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    until("no child is left", || {
        use nix::sys::wait::{WaitPidFlag, waitpid};
        waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)).is_err()
    })
    .await;
}

// Scenario 18: in every state, by whoever. One test: at the end it looks at every child of
// this process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_end_each() {
    let tracer = new_tracer();
    walk(tracer.clone(), 0).await;
    pinned_walk(tracer.clone(), 1).await;
    nothing_is_left(tracer).await;
}

//! A process whose leader has ended while other threads live on: nothing hangs, and the
//! leader's end is told when the kernel tells it.

use std::os::unix::process::ExitStatusExt;

use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tracehound::{Child, Command, Error, Event, Signal, Stdio, Tid, Tracee, Tracer};
use tracehound_sys::signal_process;
use tracehound_tests::{
    Log, end, in_each_place, line, lines, new_tracer, next, soon, start, state, to_the_end, until,
    wait,
};
use tracing::Level;

in_each_place! {
    ended_by_another, ended_one_by_one, killed, exec_by_another, exec_past_its_exit_stop,
    its_exit_stop, asked_for_something, detached, dropped, told_to_others,
}

const CREW: &str = env!("CARGO_BIN_EXE_crew");
const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

/// A process whose leader is dead, and its threads: one that sleeps, and one that does what
/// it is told.
struct Leaderless {
    leader: Tracee,
    idler: Tracee,
    worker: Tracee,
    child: Child,
}

fn command() -> Command {
    let mut command = Command::new(CREW);
    command.args(["leaderless", PUPPET, "exit", "12"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

impl Leaderless {
    /// Both threads run.
    async fn start(tracer: &Tracer, command: &mut Command) -> Leaderless {
        let (mut leader, child) = start(tracer, command).await;
        let mut threads = Vec::new();
        for _ in 0..2 {
            let birth = next!(leader, Event::Clone(birth) => birth);
            let mut thread = leader.take_child(&birth).expect("the thread");
            next!(thread, Event::Started(_));
            thread.cont().await.expect("cont");
            threads.push(thread);
        }
        let worker = threads.pop().expect("two");
        let idler = threads.pop().expect("two");
        Leaderless {
            leader,
            idler,
            worker,
            child,
        }
    }

    /// The leader has ended.
    async fn ready(tracer: &Tracer) -> Leaderless {
        let mut crew = Leaderless::start(tracer, &mut command()).await;
        crew.leader.cont().await.expect("cont");
        crew.is_ready().await;
        crew
    }

    async fn is_ready(&mut self) {
        let mut out = lines(&mut self.child);
        assert_eq!(line(&mut out).await, "ready");
        assert_eq!(state(self.leader.tid()), Some('Z'));
    }

    async fn tell(&mut self, what: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        let line = format!("{what}\n");
        stdin.write_all(line.as_bytes()).await.expect("it listens");
    }
}

fn exit_code(event: &Event) -> Option<i32> {
    match event {
        Event::Exited(exited) => Some(exited.code),
        _ => None,
    }
}

async fn code(tracee: &mut Tracee) -> Option<i32> {
    exit_code(&end(tracee).await)
}

// Scenario 20: its status is that of the process, not the one that it ended with.
async fn ended_by_another(tracer: Tracer) {
    let mut crew = Leaderless::ready(&tracer).await;
    assert!(futures::poll!(crew.leader.next()).is_pending());
    crew.tell("exit").await;
    for tracee in [&mut crew.leader, &mut crew.idler, &mut crew.worker] {
        assert_eq!(code(tracee).await, Some(6));
    }
    let status = soon("the status", crew.child.wait()).await;
    assert_eq!(status.expect("status").code(), Some(6));
}

// Scenario 20: each with what it ended with. The process's status is that of the thread
// which ended last, before Linux 5.17 that of the leader.
async fn ended_one_by_one(tracer: Tracer) {
    let mut crew = Leaderless::ready(&tracer).await;
    crew.tell("end").await;
    assert_eq!(code(&mut crew.idler).await, Some(0));
    assert_eq!(code(&mut crew.worker).await, Some(4));
    let leaders = code(&mut crew.leader).await;
    assert!(matches!(leaders, Some(4 | 9)), "{leaders:?}");
    let status = soon("the status", crew.child.wait()).await;
    assert_eq!(status.expect("status").code(), leaders);
}

// Scenario 20, 18
async fn killed(tracer: Tracer) {
    let mut crew = Leaderless::ready(&tracer).await;
    signal_process(crew.leader.tid(), Signal::SIGKILL).expect("it lives");
    for tracee in [&mut crew.leader, &mut crew.idler, &mut crew.worker] {
        let events = to_the_end(tracee).await;
        let killed = matches!(events[..], [Event::Killed(end)] if end.signal == Signal::SIGKILL);
        assert!(killed, "{events:?}");
    }
    let status = soon("the status", crew.child.wait()).await;
    assert_eq!(status.expect("status").signal(), Some(libc::SIGKILL));
}

/// Goes on to the exec of the worker, which takes the leader's id, and to the end of all.
async fn is_replaced(mut crew: Leaderless, former: Tid) {
    let tgid = crew.leader.tid();
    wait!(crew.worker, Event::Exec(exec) if exec.former_tid == former);
    assert_eq!((crew.worker.tid(), crew.worker.tgid()), (tgid, tgid));
    crew.worker.getregs().await.expect("it is held");
    let leaders = to_the_end(&mut crew.leader).await;
    assert!(matches!(leaders[..], [Event::Replaced(_)]), "{leaders:?}");
    // It was swept away.
    end(&mut crew.idler).await;
    assert_eq!(code(&mut crew.worker).await, Some(12));
    let status = soon("the status", crew.child.wait()).await;
    assert_eq!(status.expect("status").code(), Some(12));
}

// Scenarios 15 and 20: exec in a thread whose leader has exited.
async fn exec_by_another(tracer: Tracer) {
    let mut crew = Leaderless::ready(&tracer).await;
    let former = crew.worker.tid();
    crew.tell("exec").await;
    is_replaced(crew, former).await;
}

/// With exit stops, the leader held in its own.
async fn in_its_exit_stop(tracer: &Tracer) -> Leaderless {
    let mut crew = Leaderless::start(tracer, command().exit_stops(true)).await;
    let exiting = next!(crew.leader, Event::Exiting(exiting) => exiting);
    assert_eq!(exiting.exit_status().code(), Some(9));
    crew
}

// Scenarios 19 and 20: the others run while it is held there; then it is dead.
async fn its_exit_stop(tracer: Tracer) {
    let mut crew = in_its_exit_stop(&tracer).await;
    crew.leader.getregs().await.expect("it is held");
    crew.idler.control().interrupt().await.expect("it runs");
    wait!(crew.idler, Event::Interrupted);
    crew.idler.cont().await.expect("cont");
    crew.leader.cont().await.expect("cont");
    crew.is_ready().await;
    crew.tell("exit").await;
    for tracee in [&mut crew.idler, &mut crew.worker] {
        let events = to_the_end(tracee).await;
        let [Event::Exiting(exiting), Event::Exited(exited)] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!((exiting.exit_status().code(), exited.code), (Some(6), 6));
    }
    assert_eq!(code(&mut crew.leader).await, Some(6));
}

// Scenarios 15 and 20: an exec waits for whoever holds the leader in its exit stop.
async fn exec_past_its_exit_stop(tracer: Tracer) {
    let mut crew = in_its_exit_stop(&tracer).await;
    crew.leader.cont().await.expect("cont");
    crew.is_ready().await;
    let former = crew.worker.tid();
    crew.tell("exec").await;
    // It waits for the idler's, too.
    next!(crew.idler, Event::Exiting(_));
    crew.idler.cont().await.expect("cont");
    is_replaced(crew, former).await;
}

// Scenario 20: it is no more, and says so; it has not ended for its tracer.
async fn asked_for_something(tracer: Tracer) {
    let mut crew = Leaderless::ready(&tracer).await;
    let tid = crew.leader.tid();
    let gone = |error: Error| matches!(error, Error::Gone(t) if t == tid);
    let control = crew.leader.control();
    assert!(gone(control.interrupt().await.expect_err("it is dead")));
    assert!(gone(control.read_bytes(0x1000, 1).expect_err("it is dead")));
    assert!(matches!(
        crew.leader.getregs().await,
        Err(Error::Running(_) | Error::Gone(_))
    ));
    // The others are as before.
    crew.worker.control().interrupt().await.expect("it runs");
    wait!(crew.worker, Event::Interrupted);
    crew.worker.cont().await.expect("cont");
    crew.tell("exit").await;
    assert_eq!(code(&mut crew.leader).await, Some(6));
    end(&mut crew.worker).await;
}

// Scenarios 20 and 37: at once, though it cannot stop.
async fn detached(tracer: Tracer) {
    let mut crew = Leaderless::ready(&tracer).await;
    let pid = crew.leader.tid();
    for tracee in [&mut crew.leader, &mut crew.idler, &mut crew.worker] {
        soon("detach", tracee.detach()).await.expect("detached");
        let events = to_the_end(tracee).await;
        assert!(matches!(events[..], [Event::Detached]), "{events:?}");
    }
    // The others run on untraced; the end of all is awaited.
    let worker = crew.worker.tid();
    assert!(!tracehound_tests::is_traced(worker));
    assert_eq!(state(pid), Some('Z'));
    crew.tell("exit").await;
    let status = soon("the status", crew.child.wait()).await;
    assert_eq!(status.expect("status").code(), Some(6));
}

// Scenarios 20 and 48
async fn dropped(tracer: Tracer) {
    let mut crew = Leaderless::ready(&tracer).await;
    let worker = crew.worker.tid();
    drop((crew.leader, crew.idler, crew.worker));
    until("untraced", || !tracehound_tests::is_traced(worker)).await;
    let stdin = crew.child.stdin.as_mut().expect("piped");
    stdin.write_all(b"exec\n").await.expect("it listens");
    let status = soon("the status", crew.child.wait()).await;
    assert_eq!(status.expect("status").code(), Some(12));
}

// Scenario 20: a process is killed by its handle though the leader is dead.
async fn told_to_others(tracer: Tracer) {
    let mut crew = Leaderless::ready(&tracer).await;
    crew.leader.control().kill().expect("its process lives");
    for tracee in [&mut crew.leader, &mut crew.idler, &mut crew.worker] {
        assert!(matches!(end(tracee).await, Event::Killed(_)));
    }
    soon("the status", crew.child.wait()).await.expect("status");
}

// Scenarios 20 and 49: it does not hold up the end.
#[tokio::test]
async fn a_shutdown_beside_a_dead_leader() {
    let log = Log::of(Level::WARN);
    let tracer = new_tracer();
    let mut crew = Leaderless::ready(&tracer).await;
    let leader = crew.leader.tid();
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    // So it says of those that it has waited for in vain.
    let given_up = format!("did not stop: let go by the end of the tracer thread tid={leader}");
    assert!(!log.text().contains(&given_up));
    for tracee in [&mut crew.leader, &mut crew.idler, &mut crew.worker] {
        let events = to_the_end(tracee).await;
        assert!(matches!(events[..], [Event::Detached]), "{events:?}");
    }
    crew.tell("exit").await;
    let status = soon("the status", crew.child.wait()).await;
    assert_eq!(status.expect("status").code(), Some(6));
}

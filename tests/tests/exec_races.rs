//! Execs that collide with each other, with signals, and with threads that are traced by
//! nobody or by somebody else.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::io::{AsyncWriteExt, BufReader, Lines};
use tokio::process::ChildStdout;
use tracehound::{Child, Command, Error, Event, Follow, Signal, Stdio, Tid, Tracee, Tracer};
use tracehound_sys::{proc, signal_process};
use tracehound_tests::{
    Family, History, Seizer, end, in_each_place, is_traced, line, lines, next, soon, start,
    to_the_end, until, wait,
};

in_each_place! {
    at_the_same_time, at_the_same_time_with_exit_stops, by_an_untraced_thread,
    of_an_untraced_leader, with_a_thread_held_in_a_stop, killed_at_any_moment,
    stopped_and_continued_at_any_moment, that_fails_without_return,
    that_fails_after_the_leader_was_let_go, under_a_detach,
    beside_another_tracer, by_a_thread_of_another_tracer, with_the_leader_of_another_tracer,
}

const CREW: &str = env!("CARGO_BIN_EXE_crew");
const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const SEIZER: &str = env!("CARGO_BIN_EXE_seizer");

fn crew(args: &[&str]) -> Command {
    let mut command = Command::new(CREW);
    command.args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn execs(histories: &[History]) -> usize {
    let events = histories.iter().flat_map(|history| &history.events);
    events.filter(|e| matches!(e, Event::Exec(_))).count()
}

fn exit_code(event: &Event) -> Option<i32> {
    match event {
        Event::Exited(exited) => Some(exited.code),
        _ => None,
    }
}

/// How a thread ends that another one's exec does away with.
fn is_swept_away(event: &Event) -> bool {
    match event {
        Event::Exited(exited) => exited.code == 0,
        Event::Killed(killed) => killed.signal == Signal::SIGKILL,
        _ => false,
    }
}

async fn race(tracer: &Tracer, exit_stops: bool) {
    for round in 0..60 {
        let threads = 2 + round % 3;
        let mut command = crew(&["race-exec", &threads.to_string(), PUPPET, "exit", "11"]);
        let (leader, mut child) = start(tracer, command.exit_stops(exit_stops)).await;
        let histories = Family::of(leader).to_the_end().await;
        assert_eq!(histories.len(), 1 + threads);
        assert_eq!(execs(&histories), 1, "{histories:?}");
        // One became the program; the leader was replaced by it.
        let (winners, losers): (Vec<_>, Vec<_>) = histories[1..]
            .iter()
            .partition(|history| execs(std::slice::from_ref(history)) == 1);
        assert_eq!(exit_code(winners[0].end()), Some(11), "{winners:?}");
        assert!(losers.iter().all(|h| is_swept_away(h.end())), "{losers:?}");
        let replaced = histories[0].end();
        let by = Some(winners[0].tid);
        let is = matches!(replaced, Event::Replaced(replaced) if replaced.by == by);
        assert!(is, "{replaced:?}");
        assert_eq!(child.wait().await.expect("status").code(), Some(11));
    }
}

// Scenario 15
async fn at_the_same_time(tracer: Tracer) {
    race(&tracer, false).await;
}

// Scenario 15: each swept thread stops on its way out.
async fn at_the_same_time_with_exit_stops(tracer: Tracer) {
    race(&tracer, true).await;
}

/// A process whose thread execs when it is told.
struct Crew {
    leader: Tracee,
    /// The thread that execs.
    caller: Tid,
    child: Child,
}

impl Crew {
    /// With so many threads that pause. Nothing but the leader is traced.
    async fn start(tracer: &Tracer, threads: &str) -> Crew {
        let mut command = crew(&["exec-when-told", threads, PUPPET, "exit", "11"]);
        let (mut leader, mut child) = start(tracer, command.follow(Follow::Nothing)).await;
        leader.cont().await.expect("cont");
        let mut out = lines(&mut child);
        let caller = caller(&mut out).await;
        Crew {
            leader,
            caller,
            child,
        }
    }

    /// All are traced. Gives the threads, running; the one that execs is the last.
    async fn start_traced(tracer: &Tracer, threads: &str, exit_stops: bool) -> (Crew, Vec<Tracee>) {
        let mut command = crew(&["exec-when-told", threads, PUPPET, "exit", "11"]);
        let (mut leader, mut child) = start(tracer, command.exit_stops(exit_stops)).await;
        let mut tracees = Vec::new();
        for _ in 0..=threads.parse().expect("a number") {
            let birth = next!(leader, Event::Clone(birth) => birth);
            let mut thread = leader.take_child(&birth).expect("the thread");
            next!(thread, Event::Started(_));
            thread.cont().await.expect("cont");
            tracees.push(thread);
        }
        leader.cont().await.expect("cont");
        let caller = caller(&mut lines(&mut child)).await;
        let crew = Crew {
            leader,
            caller,
            child,
        };
        (crew, tracees)
    }

    async fn tell(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"now\n").await.expect("it listens");
    }

    async fn is_eleven(&mut self) {
        let status = soon("the status", self.child.wait()).await;
        assert_eq!(status.expect("status").code(), Some(11));
    }
}

async fn caller(out: &mut Lines<BufReader<ChildStdout>>) -> Tid {
    let said = line(out).await;
    let tid = said.strip_prefix("ready ").expect("an id");
    Tid::from_raw(tid.parse().expect("a number"))
}

// Scenario 15: nobody tells of it, and the id lives on, untraced. The stream ends all the
// same, and the process is awaited.
async fn by_an_untraced_thread(tracer: Tracer) {
    // With other tracees, so that there is more than silence.
    let (mut other, _other) = start(&tracer, &mut crew(&["exec-when-told", "0", PUPPET])).await;
    let mut crew = Crew::start(&tracer, "2").await;
    crew.tell().await;
    let events = to_the_end(&mut crew.leader).await;
    let is = matches!(events[..], [Event::Replaced(replaced)] if replaced.by.is_none());
    assert!(is, "{events:?}");
    assert!(matches!(crew.leader.getregs().await, Err(Error::Gone(_))));
    crew.is_eleven().await;
    other.control().kill().expect("it lives");
    end(&mut other).await;
}

// Scenario 15: the thread takes the id of a leader that was let go before.
async fn of_an_untraced_leader(tracer: Tracer) {
    let (mut crew, mut threads) = Crew::start_traced(&tracer, "1", false).await;
    let tgid = crew.leader.tid();
    crew.leader.detach().await.expect("detached");
    assert!(!is_traced(tgid));
    crew.tell().await;
    let mut caller = threads.pop().expect("the caller");
    assert_eq!(caller.tid(), crew.caller);
    wait!(caller, Event::Exec(exec) if exec.former_tid == crew.caller);
    assert_eq!((caller.tid(), caller.tgid()), (tgid, tgid));
    assert_eq!(exit_code(&end(&mut caller).await), Some(11));
    // Awaited by whoever has it now.
    crew.is_eleven().await;
    assert!(is_swept_away(&end(&mut threads[0]).await));
}

// Scenario 15: a sibling that is held does not hold up the exec; with exit stops it does,
// until it is resumed.
async fn with_a_thread_held_in_a_stop(tracer: Tracer) {
    for exit_stops in [false, true] {
        let (mut crew, mut threads) = Crew::start_traced(&tracer, "1", exit_stops).await;
        let mut caller = threads.pop().expect("the caller");
        let mut held = threads.pop().expect("another");
        held.control().interrupt().await.expect("it runs");
        wait!(held, Event::Interrupted);
        held.getregs().await.expect("it is held");
        crew.tell().await;
        if exit_stops {
            wait!(held, Event::Exiting(_));
            held.cont().await.expect("cont");
            next!(crew.leader, Event::Exiting(_));
            crew.leader.cont().await.expect("cont");
        }
        wait!(caller, Event::Exec(_));
        assert!(is_swept_away(&end(&mut held).await));
        assert!(matches!(end(&mut crew.leader).await, Event::Replaced(_)));
        assert_eq!(exit_code(&end(&mut caller).await), Some(11));
    }
}

/// Different for each round, from one cause to its effect: a few turns of this task.
async fn some_turns(round: usize) {
    for _ in 0..round % 40 {
        tokio::task::yield_now().await;
    }
}

// Scenarios 16 and 18: before it, amid it, behind it; each thread has one end.
async fn killed_at_any_moment(tracer: Tracer) {
    for round in 0..200 {
        let mut command = crew(&["race-exec", "2", PUPPET, "exit", "11"]);
        let (leader, mut child) = start(&tracer, command.exit_stops(round % 2 == 1)).await;
        let pid = child.id();
        let mut family = Family::of(leader);
        // The second of them to be born sets both off.
        let mut births = 0;
        while births < 2 {
            let (_, event) = family.next().await.expect("an event");
            births += usize::from(event.birth().is_some());
        }
        let kill = async {
            some_turns(round).await;
            // It may have ended.
            let _ = signal_process(pid, Signal::SIGKILL);
        };
        let (histories, ()) = futures::join!(family.to_the_end(), kill);
        assert_eq!(histories.len(), 3);
        let ends: Vec<_> = histories.iter().map(History::end).collect();
        assert!(
            !ends.iter().any(|e| matches!(e, Event::Lost)),
            "{histories:?}"
        );
        let status = soon("the status", child.wait()).await.expect("status");
        // The one that has the process's id at the end has its status.
        let code = status.code();
        let has_status = |end: &&&Event| exit_code(end) == code;
        assert!(
            ends.iter().any(|end| has_status(&end)),
            "{status} {histories:?}"
        );
    }
}

// Scenario 16: stops come and go, whatever the exec is at.
async fn stopped_and_continued_at_any_moment(tracer: Tracer) {
    let (leader, mut child) = start(&tracer, &mut crew(&["exec-often", "60"])).await;
    let pid = child.id();
    let follow = Family::of(leader).to_the_end();
    let disturb = async {
        for round in 0.. {
            some_turns(round).await;
            if signal_process(pid, Signal::SIGSTOP).is_err() {
                break;
            }
            some_turns(round / 3).await;
            let _ = signal_process(pid, Signal::SIGCONT);
            tokio::time::sleep(std::time::Duration::from_micros(300)).await;
        }
    };
    let (histories, ()) = futures::join!(follow, disturb);
    assert_eq!(execs(&histories), 60);
    let status = soon("the status", child.wait()).await.expect("status");
    assert_eq!(status.code(), Some(11));
    let unknown = |history: &History| {
        history
            .events
            .iter()
            .any(|e| matches!(e, Event::Unknown(_)))
    };
    assert!(!histories.iter().any(unknown));
}

/// A file whose headers are a program's, and whose contents cannot be loaded.
fn broken_program(path: &Path) {
    let own = std::fs::read("/proc/self/exe").expect("a program");
    // The headers of a 64-bit ELF file with one segment.
    let mut file = own[..64].to_vec();
    file[16..18].copy_from_slice(&2_u16.to_ne_bytes()); // ET_EXEC
    file[24..32].copy_from_slice(&0x40_0000_u64.to_ne_bytes()); // entry
    file[32..40].copy_from_slice(&64_u64.to_ne_bytes()); // where the segments are told
    file[40..48].copy_from_slice(&0_u64.to_ne_bytes());
    file[54..56].copy_from_slice(&56_u16.to_ne_bytes());
    file[56..58].copy_from_slice(&1_u16.to_ne_bytes());
    file[60..64].copy_from_slice(&[0; 4]);
    let (load, rx, file_size, memory_size) = (1_u64, 5_u64, 0x2000_u64, 0x1000_u64);
    let segment = [
        load | rx << 32,
        0,
        0x40_0000,
        0x40_0000,
        file_size,
        memory_size,
        0x1000,
    ];
    file.extend(segment.iter().flat_map(|word| word.to_ne_bytes()));
    // By way of another process: what this one has open to write, a child of another test may
    // have, too, and then nobody can execute it.
    let contents = path.with_extension("contents");
    std::fs::write(&contents, file).expect("a file");
    let copied = std::process::Command::new("cp")
        .arg(contents)
        .arg(path)
        .status();
    assert!(copied.expect("cp").success());
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("a file");
}

// Scenarios 15 and 18: it dies half-way, when it has the leader's id already, and no event
// tells so.
async fn that_fails_without_return(tracer: Tracer) {
    let directory = tempfile::tempdir().expect("a directory");
    let broken = directory.path().join("broken");
    broken_program(&broken);
    for exit_stops in [false, true] {
        let mut command = crew(&["half-exec", broken.to_str().expect("text")]);
        let (leader, mut child) = start(&tracer, command.exit_stops(exit_stops)).await;
        let histories = Family::of(leader).to_the_end().await;
        assert_eq!(execs(&histories), 0, "{histories:?}");
        let [leader, caller] = &histories[..] else {
            panic!("{histories:?}");
        };
        let by = Some(caller.tid);
        let replaced = matches!(leader.end(), Event::Replaced(replaced) if replaced.by == by);
        assert!(replaced, "{histories:?}");
        let killed = matches!(caller.end(), Event::Killed(k) if k.signal == Signal::SIGSEGV);
        assert!(killed, "{histories:?}");
        let status = soon("the status", child.wait()).await.expect("status");
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(libc::SIGSEGV));
    }
}

// Scenarios 15 and 18: the same, where the leader is nobody's.
async fn that_fails_after_the_leader_was_let_go(tracer: Tracer) {
    let directory = tempfile::tempdir().expect("a directory");
    let broken = directory.path().join("broken");
    broken_program(&broken);
    for exit_stops in [false, true] {
        let mut command = crew(&["half-exec", broken.to_str().expect("text")]);
        let (mut leader, mut child) = start(&tracer, command.exit_stops(exit_stops)).await;
        let birth = next!(leader, Event::Clone(birth) => birth);
        let mut caller = leader.take_child(&birth).expect("the thread");
        leader.detach().await.expect("detached");
        let killed = end(&mut caller).await;
        let by_fault = matches!(&killed, Event::Killed(k) if k.signal == Signal::SIGSEGV);
        assert!(by_fault, "{killed:?}");
        let status = soon("the status", child.wait()).await.expect("status");
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(libc::SIGSEGV));
    }
}

// Scenarios 15 and 37: whoever wins, everybody is let go or has ended.
async fn under_a_detach(tracer: Tracer) {
    for round in 0..60 {
        let (mut crew, mut threads) = Crew::start_traced(&tracer, "1", false).await;
        let pid = crew.leader.tid();
        crew.tell().await;
        some_turns(round).await;
        for tracee in threads.iter_mut().chain([&mut crew.leader]) {
            match soon("detach", tracee.detach()).await {
                Ok(()) | Err(Error::Gone(_)) => {}
                other => panic!("{other:?}"),
            }
            assert!(to_the_end(tracee).await.len() <= 2);
        }
        // A dead leader is let go of by the exec.
        until("it is untraced", || !is_traced(pid)).await;
        crew.is_eleven().await;
    }
}

// Scenario 57: the other tracer's thread execs, and takes the id of our leader.
async fn by_a_thread_of_another_tracer(tracer: Tracer) {
    let mut crew = Crew::start(&tracer, "1").await;
    let tgid = crew.leader.tid();
    let mut seizer = Seizer::start(SEIZER, &[crew.caller]).await;
    crew.tell().await;
    let events = to_the_end(&mut crew.leader).await;
    assert!(matches!(events[..], [Event::Replaced(_)]), "{events:?}");
    seizer.says(&format!("exec {tgid}")).await;
    crew.is_eleven().await;
    seizer.ends().await;
}

// Scenario 57: our thread execs, and takes the id of the other tracer's leader.
async fn with_the_leader_of_another_tracer(tracer: Tracer) {
    let (mut crew, mut threads) = Crew::start_traced(&tracer, "1", false).await;
    let tgid = crew.leader.tid();
    crew.leader.detach().await.expect("detached");
    let seizer = Seizer::start(SEIZER, &[tgid]).await;
    crew.tell().await;
    let mut caller = threads.pop().expect("the caller");
    wait!(caller, Event::Exec(exec) if exec.former_tid == crew.caller);
    assert_eq!(proc::status(tgid).expect("it lives").tgid, caller.tid());
    assert!(is_swept_away(&end(&mut threads[0]).await));
    assert_eq!(exit_code(&end(&mut caller).await), Some(11));
    crew.is_eleven().await;
    seizer.ends().await;
}

// Scenario 57: our thread is swept away by the exec of one that another tracer has.
async fn beside_another_tracer(tracer: Tracer) {
    for exit_stops in [false, true] {
        let (mut crew, mut threads) = Crew::start_traced(&tracer, "1", exit_stops).await;
        let tgid = crew.leader.tid();
        let mut caller = threads.pop().expect("the caller");
        let mut ours = threads.pop().expect("ours");
        caller.detach().await.expect("detached");
        crew.leader.detach().await.expect("detached");
        let mut seizer = Seizer::start(SEIZER, &[tgid, crew.caller]).await;
        crew.tell().await;
        let events = to_the_end(&mut ours).await;
        assert!(is_swept_away(events.last().expect("an end")), "{events:?}");
        assert_eq!(events.len(), 1 + usize::from(exit_stops));
        seizer.says(&format!("exec {tgid}")).await;
        crew.is_eleven().await;
        seizer.ends().await;
        until("it is reaped", || proc::status(tgid).is_err()).await;
    }
}

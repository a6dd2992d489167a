//! Threads that die together, or one without the others: core dumps and seccomp filters.

use std::os::unix::process::ExitStatusExt;

use tracehound::event::Killed;
use tracehound::{Command, Event, Signal, Stdio, Tracer};
use tracehound_tests::{Family, History, in_each_place, line, lines, next, soon, start};

in_each_place! {
    core_dump, core_dump_with_exit_stops, core_dump_of_another_thread, seccomp_kills_a_thread,
    seccomp_kills_the_process, seccomp_kills_with_exit_stops,
}

const CREW: &str = env!("CARGO_BIN_EXE_crew");
const THREADS: usize = 5;

fn crew(args: &[&str]) -> Command {
    let mut command = Command::new(CREW);
    command.args(args).arg(THREADS.to_string());
    command.stdout(Stdio::piped());
    command
}

/// Whether a program that nobody traces dumps its core here.
async fn untraced_dump(directory: &str) -> bool {
    let mut command = tokio::process::Command::new(CREW);
    let status = command.args(["dump", directory, "2"]).status().await;
    let status = status.expect("status");
    assert_eq!(status.signal(), Some(libc::SIGABRT));
    status.core_dumped()
}

/// How a thread was killed that met nothing on its way but, with exit stops, the last one.
fn killed(history: &History, exit_stops: bool) -> Killed {
    let killed = match history.end() {
        Event::Killed(killed) => *killed,
        other => panic!("{other:?}"),
    };
    let about_to: Vec<_> = history
        .life()
        .iter()
        .filter_map(|event| match event {
            Event::Exiting(exiting) => Some(exiting.exit_status().signal()),
            _ => None,
        })
        .collect();
    let expected = exit_stops.then_some(Some(killed.signal.as_raw()));
    assert_eq!(about_to, Vec::from_iter(expected), "{history:?}");
    killed
}

async fn dumped(tracer: &Tracer, exit_stops: bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path().to_str().expect("text");
    // A program that takes cores takes no more than it likes: then one says nothing of another.
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern");
    let piped = pattern.is_ok_and(|pattern| pattern.starts_with('|'));
    let untraced = untraced_dump(directory).await;
    let mut command = crew(&["dump", directory]);
    let (leader, mut child) = start(tracer, command.exit_stops(exit_stops)).await;
    let histories = Family::of(leader).to_the_end().await;
    assert_eq!(histories.len(), 1 + THREADS);
    let status = soon("the status", child.wait()).await.expect("status");
    assert_eq!(status.signal(), Some(libc::SIGABRT));
    for history in &histories {
        let killed = killed(history, exit_stops);
        assert_eq!(killed.signal, Signal::SIGABRT, "{history:?}");
        assert_eq!(killed.core_dumped, status.core_dumped(), "{history:?}");
    }
    assert!(piped || status.core_dumped() == untraced, "{untraced}");
}

// Scenario 21: the flag and the signal are the whole group's.
async fn core_dump(tracer: Tracer) {
    dumped(&tracer, false).await;
}

// Scenario 21: the dump waits for each thread, which waits in no stop meanwhile.
async fn core_dump_with_exit_stops(tracer: Tracer) {
    dumped(&tracer, true).await;
}

// Scenarios 18 and 21: the signal is forced upon one, while all others are held.
async fn core_dump_of_another_thread(tracer: Tracer) {
    let (mut leader, _child) = start(&tracer, &mut crew(&["dump", "/"])).await;
    let mut threads = Vec::new();
    for _ in 0..THREADS {
        let birth = next!(leader, Event::Clone(birth) => birth);
        let mut thread = leader.take_child(&birth).expect("the thread");
        next!(thread, Event::Started(_));
        threads.push(thread);
    }
    let mut faulty = threads.remove(0);
    let mut regs = faulty.getregs().await.expect("held");
    regs.set_instruction_pointer(0);
    faulty.setregs(&regs).await.expect("held");
    let stop = next!(faulty, Event::Signal(stop) => stop);
    assert_eq!(stop.signal, Signal::SIGSEGV);
    let mut family = Family::of(faulty);
    family.join(leader);
    for thread in threads {
        family.join(thread);
    }
    for history in family.to_the_end().await {
        let Event::Killed(killed) = history.end() else {
            panic!("{history:?}");
        };
        assert_eq!(killed.signal, Signal::SIGSEGV, "{history:?}");
    }
}

/// The thread whose filter kills it: the last that the leader made.
fn filtered(histories: &[History]) -> &History {
    histories.last().expect("a thread")
}

fn is_sigsys(history: &History) -> bool {
    // No signal-delivery-stop: the tracer could not have kept it from that.
    let quiet = history
        .life()
        .iter()
        .all(|event| matches!(event, Event::Exiting(_)));
    quiet && matches!(history.end(), Event::Killed(killed) if killed.signal == Signal::SIGSYS)
}

// Scenario 21: the others live on.
async fn seccomp_kills_a_thread(tracer: Tracer) {
    let (leader, mut child) = start(&tracer, &mut crew(&["seccomp", "thread"])).await;
    let mut out = lines(&mut child);
    let histories = Family::of(leader).to_the_end().await;
    assert_eq!(line(&mut out).await, "alive");
    assert_eq!(histories.len(), 2 + THREADS);
    assert!(is_sigsys(filtered(&histories)), "{histories:?}");
    for history in &histories[..1 + THREADS] {
        let exited = matches!(history.end(), Event::Exited(exited) if exited.code == 5);
        assert!(exited, "{history:?}");
    }
    let status = soon("the status", child.wait()).await.expect("status");
    assert_eq!(status.code(), Some(5));
}

async fn killed_by_a_filter(tracer: &Tracer, exit_stops: bool) {
    let mut command = crew(&["seccomp", "process"]);
    let (leader, mut child) = start(tracer, command.exit_stops(exit_stops)).await;
    let histories = Family::of(leader).to_the_end().await;
    assert_eq!(histories.len(), 2 + THREADS);
    assert!(is_sigsys(filtered(&histories)), "{histories:?}");
    for history in &histories {
        assert_eq!(killed(history, exit_stops).signal, Signal::SIGSYS);
    }
    let status = soon("the status", child.wait()).await.expect("status");
    assert_eq!(status.signal(), Some(libc::SIGSYS));
}

// Scenario 21
async fn seccomp_kills_the_process(tracer: Tracer) {
    killed_by_a_filter(&tracer, false).await;
}

// Scenario 21
async fn seccomp_kills_with_exit_stops(tracer: Tracer) {
    killed_by_a_filter(&tracer, true).await;
}

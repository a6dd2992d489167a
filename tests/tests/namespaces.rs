//! Processes in pid namespaces of their own: their tids are those that the tracer sees.

use tokio::io::AsyncWriteExt;
use tracehound::{Command, Event, Signal, Stdio, Tid, Tracer};
use tracehound_tests::{
    Family, History, in_each_place, line, lines, next, soon, start, to_the_end,
};

in_each_place! {
    tids_are_the_tracers, an_init_dies, an_init_dies_with_exit_stops, an_init_is_killed,
    an_init_dies_while_its_children_are_held,
}

const CREW: &str = env!("CARGO_BIN_EXE_crew");

fn crew(args: &[&str]) -> Command {
    let mut command = Command::new(CREW);
    command.args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// The ids of a thread, from the namespace of this process inwards.
fn ids(tid: Tid) -> Vec<i32> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).expect("it is held");
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let ids = line.expect("a line").split_whitespace();
    ids.map(|id| id.parse().expect("a number")).collect()
}

// Scenario 13: of processes and of threads, nested.
async fn tids_are_the_tracers(tracer: Tracer) {
    for depth in 0..4 {
        let mut command = crew(&["namespace", &depth.to_string()]);
        let (leader, mut child) = start(&tracer, &mut command).await;
        let mut family = Family::of(leader);
        let mut deepest = 0;
        while let Some((tid, event)) = family.next().await {
            let Some(birth) = event.birth() else {
                continue;
            };
            // The family has taken the child, which is held in its first stop.
            assert_eq!(birth.parent, tid);
            let inner = ids(birth.child);
            assert_eq!(inner[0], birth.child.as_raw());
            deepest = deepest.max(inner.len());
            if matches!(event, Event::Fork(_)) && inner.len() > ids(tid).len() {
                assert_eq!(inner.last(), Some(&1), "an init");
            }
        }
        assert_eq!(deepest, 1 + depth);
        // One of each namespace with a thread; the innermost forked once more.
        let histories = family.to_the_end().await;
        assert_eq!(histories.len(), 2 + 2 * depth);
        assert_eq!(child.wait().await.expect("status").code(), Some(7));
    }
}

const CHILDREN: usize = 3;

/// What happens when the init of a namespace with threads and processes dies. The first
/// history is that of the process outside, the second the init's.
async fn init_dies(tracer: &Tracer, exit_stops: bool, kill: bool) -> Vec<History> {
    let mut command = crew(&["init-dies", &CHILDREN.to_string()]);
    let (mut leader, mut child) = start(tracer, command.exit_stops(exit_stops)).await;
    let birth = next!(leader, Event::Fork(birth) => birth);
    let init = leader.take_child(&birth).expect("the init");
    let control = init.control();
    let mut family = Family::of(leader);
    family.join(init);
    let mut out = lines(&mut child);
    let mut stdin = child.stdin.take().expect("piped");
    let bring_about = async {
        assert_eq!(line(&mut out).await, "ready");
        if kill {
            control.kill().expect("it lives");
        } else {
            stdin.write_all(b"die\n").await.expect("it listens");
        }
        // Its end would be an order, too.
        stdin
    };
    let (histories, _stdin) = futures::join!(family.to_the_end(), bring_about);
    let code = if kill { 100 + libc::SIGKILL } else { 5 };
    let status = soon("the status", child.wait()).await.expect("status");
    assert_eq!(status.code(), Some(code));
    assert_eq!(histories.len(), 2 + 2 * CHILDREN);
    for history in &histories[2..] {
        let killed = matches!(history.end(), Event::Killed(k) if k.signal == Signal::SIGKILL);
        assert!(killed, "{history:?}");
        let exits = history
            .life()
            .iter()
            .filter(|e| matches!(e, Event::Exiting(_)));
        assert_eq!(exits.count(), usize::from(exit_stops), "{history:?}");
    }
    histories
}

fn is_exit(event: &Event, code: i32) -> bool {
    matches!(event, Event::Exited(exited) if exited.code == code)
}

// Scenarios 13 and 21: it takes everybody with it, and ends after them.
async fn an_init_dies(tracer: Tracer) {
    let histories = init_dies(&tracer, false, false).await;
    assert!(is_exit(histories[1].end(), 5), "{histories:?}");
}

// Scenario 21: it waits for all of them, each of which stops once more.
async fn an_init_dies_with_exit_stops(tracer: Tracer) {
    let histories = init_dies(&tracer, true, false).await;
    assert!(is_exit(histories[1].end(), 5), "{histories:?}");
}

// Scenario 21
async fn an_init_is_killed(tracer: Tracer) {
    for exit_stops in [false, true] {
        let histories = init_dies(&tracer, exit_stops, true).await;
        let init = histories[1].end();
        let killed = matches!(init, Event::Killed(k) if k.signal == Signal::SIGKILL);
        assert!(killed, "{histories:?}");
    }
}

// Scenario 21: nobody resumes them; they die all the same, and so does the init.
async fn an_init_dies_while_its_children_are_held(tracer: Tracer) {
    let (mut leader, mut child) = start(&tracer, &mut crew(&["init-dies", "2"])).await;
    let birth = next!(leader, Event::Fork(birth) => birth);
    let mut init = leader.take_child(&birth).expect("the init");
    next!(init, Event::Started(_));
    let mut held = Vec::new();
    for _ in 0..2 {
        let birth = next!(init, Event::Fork(birth) => birth);
        let mut tracee = init.take_child(&birth).expect("the child");
        next!(tracee, Event::Started(_));
        held.push(tracee);
    }
    init.control().kill().expect("it lives");
    assert!(matches!(
        to_the_end(&mut init).await[..],
        [Event::Killed(_)]
    ));
    for tracee in &mut held {
        assert!(matches!(to_the_end(tracee).await[..], [Event::Killed(_)]));
    }
    let end = to_the_end(&mut leader).await.pop();
    assert!(is_exit(&end.expect("an end"), 100 + libc::SIGKILL));
    soon("the status", child.wait()).await.expect("status");
}

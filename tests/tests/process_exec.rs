//! A thread of an attached process execs, and takes the id of its leader.

use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tracehound::{Child, Command, Event, Follow, Stdio, Tid, Tracer};
use tracehound_tests::{Stall, builder, end, in_each_place, line, lines, soon, start};

in_each_place! { the_id_is_that_of_the_survivor }

const CREW: &str = env!("CARGO_BIN_EXE_crew");
const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

/// A process that is not traced, and its thread that execs when it is told.
async fn untraced_crew(tracer: &Tracer, program: &[&str]) -> (Child, Tid) {
    let mut command = Command::new(CREW);
    command.args(["exec-when-told", "1"]).args(program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let (mut leader, mut child) = start(tracer, command.follow(Follow::Nothing)).await;
    leader.cont().await.expect("cont");
    let said = line(&mut lines(&mut child)).await;
    let caller = said.strip_prefix("ready ").and_then(|tid| tid.parse().ok());
    leader.detach().await.expect("detached");
    (child, Tid::from_raw(caller.expect("its id")))
}

async fn tell(child: &mut Child) {
    let stdin = child.stdin.as_mut().expect("piped");
    stdin.write_all(b"now\n").await.expect("it listens");
}

// Scenario 15: the program of the exec has ended, and was awaited, when the tracer looks. That is
// not taken for a death whose report somebody else has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_an_untraced_thread_whose_program_ends_at_once() {
    let tracer = builder().threads(1).build().expect("a tracer");
    let (mut child, _) = untraced_crew(&tracer, &[PUPPET, "exit", "11"]).await;
    let attach = tracer.attach_thread(child.id()).own_child(true);
    let mut leader = soon("attach", attach).await.expect("attached");
    let stall = Stall::of(&tracer).await;
    tell(&mut child).await;
    let status = soon("its end", child.wait()).await.expect("a status");
    assert_eq!(status.code(), Some(11));
    drop(stall);
    let last = end(&mut leader).await;
    assert!(
        matches!(last, Event::Replaced(by) if by.by.is_none()),
        "{last:?}"
    );
    assert_eq!(tracer.metrics().lost, 0);
}

// Scenario 15: from the leader's end on, whatever has been handed out by then.
async fn the_id_is_that_of_the_survivor(tracer: Tracer) {
    let (mut child, caller) = untraced_crew(&tracer, &[SLEEPER, "pause"]).await;
    let pid = child.id();
    let attach = tracer.attach(pid).own_child(true);
    let mut process = soon("attach", attach).await.expect("attached");
    assert_eq!(process.threads().count(), 3);
    tell(&mut child).await;
    let (mut replaced, mut execed) = (false, false);
    while !(replaced && execed) {
        let (tid, event) = soon("an event", process.next()).await.expect("it lives");
        match event {
            Event::Replaced(by) => {
                assert_eq!((tid, by.by), (pid, Some(caller)));
                replaced = true;
            }
            Event::Exec(exec) => {
                assert_eq!((tid, exec.former_tid), (pid, caller));
                execed = true;
                let thread = process.thread(pid).expect("there");
                thread.getregs().await.expect("it is held");
            }
            _ => assert_ne!(tid, pid, "{event:?}"),
        }
    }
    // Whoever has told its end has left; the third may not have.
    let of_this = process.threads().filter(|thread| thread.tid() == pid);
    assert_eq!(of_this.count(), 1);
    soon("its end", child.kill()).await.expect("a status");
}

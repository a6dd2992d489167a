//! A thread of an attached process execs, and takes the id of its leader.

use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tracehound::{Command, Event, Follow, Stdio, Tid, Tracer};
use tracehound_tests::{in_each_place, line, lines, soon, start};

in_each_place! { the_id_is_that_of_the_survivor }

const CREW: &str = env!("CARGO_BIN_EXE_crew");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

// Scenario 15: from the leader's end on, whatever has been handed out by then.
async fn the_id_is_that_of_the_survivor(tracer: Tracer) {
    let mut command = Command::new(CREW);
    command.args(["exec-when-told", "1", SLEEPER, "pause"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let (mut leader, mut child) = start(&tracer, command.follow(Follow::Nothing)).await;
    let pid = leader.tid();
    leader.cont().await.expect("cont");
    let said = line(&mut lines(&mut child)).await;
    let caller = said.strip_prefix("ready ").and_then(|tid| tid.parse().ok());
    let caller = Tid::from_raw(caller.expect("its id"));
    leader.detach().await.expect("detached");
    let attach = tracer.attach(pid).own_child(true);
    let mut process = soon("attach", attach).await.expect("attached");
    assert_eq!(process.threads().count(), 3);
    let stdin = child.stdin.as_mut().expect("piped");
    stdin.write_all(b"now\n").await.expect("it listens");
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

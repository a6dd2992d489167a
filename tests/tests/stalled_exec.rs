//! An exec that takes its time between the end of the other threads and its event: the thread that
//! makes it has no id of its own then, and is not lost.

use std::time::Duration;

use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tracehound::{Child, Command, Event, Follow, Stdio, Tid, Tracer};
use tracehound_tests::{
    end, in_each_place, is_traced, line, lines, next_event, soon, start, state, until,
};

in_each_place! { of_a_thread_alone, of_a_whole_process }

const CREW: &str = env!("CARGO_BIN_EXE_crew");
const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

/// Some rounds of looking after those of whom nothing is heard.
const A_WHILE: Duration = Duration::from_millis(400);

/// A process whose exec stalls. Nobody traces it.
struct Stalled {
    child: Child,
    /// The thread that execs.
    caller: Tid,
}

impl Stalled {
    /// Nothing where the kernel does not let pages be served.
    async fn start(tracer: &Tracer) -> Option<Stalled> {
        let mut command = Command::new(CREW);
        command.args(["stalled-exec", PUPPET, "exit", "11"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let (mut leader, mut child) = start(tracer, command.follow(Follow::Nothing)).await;
        soon("a detach", leader.detach()).await.expect("it lives");
        let said = line(&mut lines(&mut child)).await;
        let Some(caller) = said.strip_prefix("ready ") else {
            eprintln!("userfaultfd is {said}: nothing was tested");
            return None;
        };
        let caller = Tid::from_raw(caller.parse().expect("an id"));
        Some(Stalled { child, caller })
    }

    async fn tell(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"now\n").await.expect("it listens");
    }

    /// The exec is past the end of the other threads.
    async fn stalls(&mut self) {
        self.tell().await;
        until("its id is gone", || state(self.caller).is_none()).await;
        assert!(is_traced(self.child.id()));
    }

    async fn is_eleven(&mut self) {
        let status = soon("the status", self.child.wait()).await;
        assert_eq!(status.expect("status").code(), Some(11));
    }
}

// Scenario 15
async fn of_a_thread_alone(tracer: Tracer) {
    let Some(mut stalled) = Stalled::start(&tracer).await else {
        return;
    };
    let attach = tracer.attach_thread(stalled.caller).own_child(true);
    let mut caller = soon("an attach", attach).await.expect("it lives");
    stalled.stalls().await;
    let early = tokio::time::timeout(A_WHILE, caller.next()).await;
    assert!(early.is_err(), "{early:?}");
    stalled.tell().await;
    let event = next_event(&mut caller).await;
    let is_it = matches!(&event, Event::Exec(exec) if exec.former_tid == stalled.caller);
    assert!(is_it, "{event:?}");
    assert_eq!(caller.tid(), stalled.child.id());
    let end = end(&mut caller).await;
    assert!(matches!(end, Event::Exited(e) if e.code == 11), "{end:?}");
    stalled.is_eleven().await;
}

// Scenario 15: the id that it takes is traced as well.
async fn of_a_whole_process(tracer: Tracer) {
    let Some(mut stalled) = Stalled::start(&tracer).await else {
        return;
    };
    let attach = tracer.attach(stalled.child.id()).own_child(true);
    let mut process = soon("an attach", attach).await.expect("it lives");
    stalled.stalls().await;
    let early = tokio::time::timeout(A_WHILE, process.next()).await;
    assert!(early.is_err(), "{early:?}");
    stalled.tell().await;
    let events: Vec<(Tid, Event)> = soon("the end", process.collect()).await;
    let execs = events.iter().filter_map(|(_, event)| match event {
        Event::Exec(exec) => Some(exec.former_tid),
        _ => None,
    });
    assert_eq!(execs.collect::<Vec<_>>(), [stalled.caller], "{events:?}");
    let by = Some(stalled.caller);
    let is_replaced = |event: &Event| matches!(event, Event::Replaced(r) if r.by == by);
    assert!(events.iter().any(|(_, e)| is_replaced(e)), "{events:?}");
    let lost = |(_, event): &(Tid, Event)| matches!(event, Event::Lost);
    assert!(!events.iter().any(lost), "{events:?}");
    stalled.is_eleven().await;
}

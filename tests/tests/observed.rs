//! What a subscriber of the `tracing` crate sees.

use futures::StreamExt;
use tracehound::{Event, ResumeMode, Tid, Tracer};
use tracehound_tests::{
    Log, end, in_each_place, new_tracer, next, place, puppet, soon, start, to_the_end,
};
use tracing::{Instrument, Level, info};

in_each_place! { spans_and_stops, an_exec_has_another_name }

/// What was logged in the span of this tracee.
fn log(tid: Tid) -> Vec<String> {
    let log = Log::of(Level::TRACE).text();
    let span = format!("tracee{{tid={tid} ");
    let lines = log.lines().filter(|line| line.contains(&span));
    lines.map(str::to_string).collect()
}

async fn spans_and_stops(tracer: Tracer) {
    let _ = Log::of(Level::TRACE);
    let mut command = puppet!("exit", 3);
    command.resume_mode(ResumeMode::Syscall);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    let tid = tracee.tid();
    let events = to_the_end(&mut tracee).await;
    let calls = events
        .iter()
        .filter(|e| matches!(e, Event::SyscallEnter(_) | Event::SyscallExit(_)));
    let log = log(tid);
    let having = |what: &str| log.iter().filter(|line| line.contains(what)).count();
    assert_eq!(having(": stop kind=Syscall"), calls.count(), "{log:#?}");
    // The exec stop came before there was a tracee.
    let stops = having(": stop ");
    assert!(having(": resume ") >= stops, "{log:#?}");
    assert_eq!(having(": end event=Exited"), 1, "{log:#?}");
    let span = format!("tracee{{tid={tid} tgid={tid} program=\"puppet\"}}");
    assert_eq!(having(&span), log.len(), "{log:#?}");
}

async fn an_exec_has_another_name(tracer: Tracer) {
    let _ = Log::of(Level::TRACE);
    let sleeper = env!("CARGO_BIN_EXE_sleeper");
    let mut command = puppet!("exec", sleeper, "calls", "1");
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    next!(tracee, Event::Exec(_));
    let tid = tracee.tid();
    // Of a task elsewhere.
    async { info!("looked at") }.instrument(tracee.span()).await;
    end(&mut tracee).await;
    let log = log(tid);
    let look = log.iter().find(|line| line.contains(": looked at"));
    assert!(
        look.is_some_and(|line| line.contains("program=\"sleeper\"")),
        "{log:#?}"
    );
}

// What the user's own logic says is in the span of its tracee.
#[tokio::test]
async fn a_tree() {
    let _ = Log::of(Level::TRACE);
    let tracer = new_tracer();
    let (sender, mut tids) = tokio::sync::mpsc::unbounded_channel();
    let traced = tracer.trace(place(&mut puppet!("fork")), move |mut tracee| {
        let sender = sender.clone();
        async move {
            info!("hello from {}", tracee.tid());
            let _ = sender.send(tracee.tid());
            while tracee.next().await.is_some() {}
        }
    });
    soon("the tree", traced).await.expect("traced");
    let mut count = 0;
    while let Some(tid) = soon("a tid", tids.recv()).await {
        count += 1;
        let hello = format!("hello from {tid}");
        assert_eq!(log(tid).iter().filter(|l| l.contains(&hello)).count(), 1);
    }
    assert_eq!(count, 2);
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

//! What a dead process has used comes with its status, if that was asked for.

use std::time::{Duration, Instant};

use tracehound::{Command, Event, ResourceUsage, Signal, Stdio, Tracer};
use tracehound_sys::signal_process;
use tracehound_tests::{
    Family, builder, end, in_each_place, line, lines, next, puppet, soon, start,
};

in_each_place! {
    of_a_process, of_its_children, of_the_killed, of_threads, of_a_detached_one,
    not_asked_for, asked_for_by_another, of_short_lives,
}

const BURNT: Duration = Duration::from_millis(40);
const GROWN: u64 = 32 << 20;

/// A program that burns time and takes memory, and then does this.
fn crew(then: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crew"));
    let (time, memory) = (BURNT.as_millis().to_string(), GROWN.to_string());
    command.args(["burn", &time, &memory, then]);
    command.stdout(Stdio::piped()).resource_usage(true);
    command
}

fn usage(event: &Event) -> Option<ResourceUsage> {
    match event {
        Event::Exited(exited) => exited.usage,
        Event::Killed(killed) => killed.usage,
        other => panic!("{other:?}"),
    }
}

/// What was used since then, by a process of which one thread at a time does something.
fn is_plausible(usage: &ResourceUsage, since: Instant) {
    let time = usage.user_time + usage.system_time;
    assert!(time >= BURNT, "{usage:?}");
    // No more than there was; the scheduler's clock is another one.
    let most = 2 * since.elapsed() + Duration::from_secs(1);
    assert!(time <= most, "{usage:?}");
    assert!(
        usage.max_rss >= GROWN && usage.max_rss < 10 * GROWN,
        "{usage:?}"
    );
    assert!(usage.minor_faults >= GROWN / 4096 / 512, "{usage:?}");
}

// Scenario 25
async fn of_a_process(tracer: Tracer) {
    let begin = Instant::now();
    let (mut tracee, mut child) = start(&tracer, &mut crew("end")).await;
    assert_eq!(child.usage(), None);
    let mut out = lines(&mut child);
    let used = usage(&end(&mut tracee).await).expect("it was asked for");
    is_plausible(&used, begin);
    // No less than it knew itself, shortly before.
    let said = line(&mut out).await;
    let mut said = said.split(' ').map(|n| n.parse::<u64>().expect("a number"));
    let mut next = || said.next().expect("a number");
    assert!(used.user_time + used.system_time >= Duration::from_micros(next()));
    assert!(used.max_rss >= 1024 * next());
    assert!(used.minor_faults >= next());
    assert!(used.voluntary_switches >= next());
    soon("the status", child.wait()).await.expect("status");
    assert_eq!(child.usage(), Some(used));
}

// Scenario 25: of those that it waited for.
async fn of_its_children(tracer: Tracer) {
    let begin = Instant::now();
    let (tracee, mut child) = start(&tracer, &mut crew("child")).await;
    let histories = Family::of(tracee).to_the_end().await;
    assert_eq!(histories.len(), 2);
    for history in &histories {
        is_plausible(&usage(history.end()).expect("it was asked for"), begin);
    }
    soon("the status", child.wait()).await.expect("status");
    assert_eq!(child.usage(), usage(histories[0].end()));
}

// Scenario 25
async fn of_the_killed(tracer: Tracer) {
    let begin = Instant::now();
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let (mut tracee, mut child) = start(&tracer, &mut crew("pause")).await;
        tracee.cont().await.expect("cont");
        line(&mut lines(&mut child)).await;
        signal_process(tracee.tid(), signal).expect("it lives");
        let end = end(&mut tracee).await;
        assert!(matches!(end, Event::Killed(_)), "{end:?}");
        is_plausible(&usage(&end).expect("it was asked for"), begin);
    }
}

// Scenario 25: what the process had used when the thread ended.
async fn of_threads(tracer: Tracer) {
    let begin = Instant::now();
    let (tracee, _child) = start(&tracer, &mut crew("thread")).await;
    let histories = Family::of(tracee).to_the_end().await;
    let [leader, thread] = &histories[..] else {
        panic!("{histories:?}");
    };
    let [all, before] = [leader, thread].map(|h| usage(h.end()).expect("it was asked for"));
    assert!(before.user_time + before.system_time >= BURNT);
    assert!(all.user_time >= before.user_time);
    is_plausible(&all, begin);
}

// Scenario 25: whoever awaits it then.
async fn of_a_detached_one(tracer: Tracer) {
    let begin = Instant::now();
    let (mut tracee, mut child) = start(&tracer, &mut crew("end")).await;
    tracee.detach().await.expect("detached");
    let mut out = lines(&mut child);
    line(&mut out).await;
    soon("the status", child.wait()).await.expect("status");
    is_plausible(&child.usage().expect("it is known"), begin);
}

async fn not_asked_for(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("exit", 0)).await;
    assert_eq!(usage(&end(&mut tracee).await), None);
    soon("the status", child.wait()).await.expect("status");
    assert_eq!(child.usage(), None);
}

// It is a matter of the tracer thread.
async fn asked_for_by_another(_: Tracer) {
    // It holds for a tracer thread: one for both.
    let tracer = builder().threads(1).build().expect("a tracer");
    let (mut first, _first) = start(&tracer, &mut puppet!("pause")).await;
    let (mut second, _second) = start(&tracer, puppet!("exit", 0).resource_usage(true)).await;
    assert!(usage(&end(&mut second).await).is_some());
    first.control().kill().expect("it lives");
    next!(first, Event::Killed(killed) if killed.usage.is_some());
}

// Scenarios 11 and 25: those that die before anybody has named them, too.
async fn of_short_lives(tracer: Tracer) {
    let (tracee, _child) = start(&tracer, puppet!("forks", 200).resource_usage(true)).await;
    let histories = Family::of(tracee).to_the_end().await;
    assert_eq!(histories.len(), 201);
    assert!(
        histories
            .iter()
            .all(|history| usage(history.end()).is_some())
    );
}

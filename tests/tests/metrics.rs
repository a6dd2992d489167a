//! What a tracer counts, against what its user has seen.

use std::collections::HashMap;

use futures::StreamExt;
use tracehound::{Event, Metrics, ResumeMode, Tracer};
use tracehound_tests::{builder, end, in_each_place, next, puppet, soon, start, to_the_end, until};

in_each_place! { stops_by_kind, requests_and_resumes, births_and_deaths }

/// What was counted since then. (A pinned test has a tracee of its own from before.)
struct Since {
    tracees: usize,
    deaths: u64,
    resumes: u64,
    unexplained: u64,
    lost: u64,
    stops: HashMap<&'static str, u64>,
}

fn since(before: &Metrics, tracer: &Tracer) -> Since {
    let now = tracer.metrics();
    let pairs = now.stops.iter().zip(before.stops.iter());
    Since {
        tracees: now.tracees - before.tracees,
        deaths: now.deaths - before.deaths,
        resumes: now.resumes - before.resumes,
        unexplained: now.unexplained - before.unexplained,
        lost: now.lost - before.lost,
        stops: pairs
            .map(|((kind, now), (_, then))| (kind, now - then))
            .collect(),
    }
}

/// How often this kind of stop was counted.
fn stops(metrics: &Since, kind: &str) -> u64 {
    metrics.stops[kind]
}

async fn stops_by_kind(tracer: Tracer) {
    let before = tracer.metrics();
    let mut command = puppet!("raise", libc::SIGTERM);
    command.resume_mode(ResumeMode::Syscall).exit_stops(true);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    assert_eq!(tracer.metrics().tracees - before.tracees, 1);
    // There is no subscriber here, so nobody wanted a span.
    assert!(tracee.span().is_disabled());
    let events = to_the_end(&mut tracee).await;
    let of = |is_it: fn(&Event) -> bool| events.iter().filter(|event| is_it(event)).count() as u64;
    let metrics = since(&before, &tracer);
    let calls = of(|e| matches!(e, Event::SyscallEnter(_) | Event::SyscallExit(_)));
    assert_eq!(stops(&metrics, "syscall"), calls);
    assert_eq!(
        stops(&metrics, "signal"),
        of(|e| matches!(e, Event::Signal(_)))
    );
    assert_eq!(stops(&metrics, "exec"), 1);
    assert_eq!(stops(&metrics, "exit"), 1);
    assert_eq!(metrics.stops.values().sum::<u64>(), calls + 3);
    assert_eq!((metrics.tracees, metrics.deaths), (0, 1));
    // From each stop it was resumed once.
    assert_eq!(metrics.resumes, metrics.stops.values().sum::<u64>());
    assert_eq!((metrics.unexplained, metrics.lost), (0, 0));
}

async fn requests_and_resumes(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("exit", 3)).await;
    let before = tracer.metrics();
    for _ in 0..5 {
        tracee.getregs().await.expect("held");
    }
    let after = tracer.metrics();
    assert_eq!(after.requests - before.requests, 5);
    assert_eq!(after.resumes, before.resumes);
    tracee.step().await.expect("held");
    assert!(matches!(
        soon("the step", tracee.next()).await,
        Some(Event::Step)
    ));
    assert_eq!(tracer.metrics().resumes - before.resumes, 1);
    // What came from another thread waited in the queue, and woke that thread at most as often.
    let delay = tracer.metrics().queue_delay;
    assert!(delay.count() <= tracer.metrics().wakes);
    assert_eq!(delay.count() > 0, delay.quantile(0.5).is_some());
    end(&mut tracee).await;
}

async fn births_and_deaths(tracer: Tracer) {
    let before = tracer.metrics();
    let (mut parent, _child) = start(&tracer, &mut puppet!("fork")).await;
    let birth = next!(parent, Event::Fork(birth) => birth);
    let mut child = parent.take_child(&birth).expect("the child");
    next!(child, Event::Started(_));
    let metrics = since(&before, &tracer);
    assert_eq!(
        (metrics.tracees, stops(&metrics, "fork"), metrics.deaths),
        (2, 1, 0)
    );
    futures::join!(end(&mut child), end(&mut parent));
    let metrics = since(&before, &tracer);
    assert_eq!((metrics.tracees, metrics.deaths), (0, 2));
}

// A hop is counted with its delay, on the side of the tracer thread.
#[tokio::test]
async fn a_hop() {
    let tracer = builder().threads(2).build().expect("a tracer");
    let mut tracees = Vec::new();
    for _ in 0..2 {
        tracees.push(start(&tracer, &mut puppet!("exit", 3)).await);
    }
    // One on each tracer thread: both count.
    let before = tracer.metrics();
    for (tracee, _) in &tracees {
        tracee.getregs().await.expect("held");
    }
    let after = tracer.metrics();
    assert_eq!(after.requests - before.requests, 2);
    assert_eq!(after.queue_delay.count() - before.queue_delay.count(), 2);
    // A wake that was for something else may have met the request already: then its own comes
    // behind it.
    until("their wakes", || tracer.metrics().wakes > before.wakes).await;
    for (tracee, _) in &mut tracees {
        end(tracee).await;
    }
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    assert_eq!(tracer.metrics().deaths, 2);
}

//! Readers: each at its own speed.

mod client;

use std::time::Duration;

use client::Service;
use serde_json::json;

/// Makes calls as fast as it can.
const BUSY: [&str; 3] = ["sh", "-c", "while :; do read x </proc/self/stat; done"];

#[tokio::test]
async fn a_reader_resumes_where_it_was() {
    let service = Service::start(&[]);
    let id = service.trace(json!({"command": ["ls", "-l", "/"]})).await;
    let all = service.events(id, "", "").await.all_events().await;
    let all: Vec<u64> = all.iter().filter_map(|event| event.id).collect();
    let middle = all.len() / 2;
    let header = format!("last-event-id: {}\r\n", all[middle]);
    for query in ["", "?from=newest", "?from=1"] {
        let rest = service.events(id, query, &header).await.all_events().await;
        let rest: Vec<u64> = rest.iter().filter_map(|event| event.id).collect();
        assert_eq!(rest, all[middle + 1..], "{query}");
    }
    let query = format!("?from={}", all[middle]);
    let rest = service.events(id, &query, "").await.all_events().await;
    assert_eq!(rest.iter().find_map(|event| event.id), Some(all[middle]));
    let none = service
        .events(id, "?from=newest", "")
        .await
        .all_events()
        .await;
    assert_eq!(none.last().expect("one").kind, "end");
    assert!(none.iter().all(|event| event.id.is_none()));
}

#[tokio::test]
async fn what_was_overwritten_is_told() {
    let service = Service::start(&[]);
    let id = service
        .trace(json!({"command": ["ls", "-l", "/"], "buffer": 10}))
        .await;
    let path = format!("/traces/{id}");
    let start = std::time::Instant::now();
    while service.get(&path).await.json()["state"] != "ended" {
        assert!(start.elapsed() < client::STUCK);
    }
    let trace = service.get(&path).await.json();
    let (oldest, next) = (&trace["events"]["oldest"], &trace["events"]["next"]);
    let oldest = oldest.as_u64().expect("a number");
    assert_eq!(next.as_u64(), Some(oldest + 10));
    assert_eq!(trace["events"]["policy"], "drop-oldest");

    let answer = service.events(id, "", "last-event-id: 3\r\n").await;
    assert!(answer.head.contains("x-events-policy: drop-oldest"));
    assert!(answer.head.contains("x-events-buffer: 10"));
    let events = answer.all_events().await;
    assert_eq!(events[0].data["policy"], "drop-oldest");
    assert_eq!(events[1].kind, "lost");
    assert_eq!(events[1].data["lost"], oldest - 4);
    // A reader that is cut off here is told nothing twice.
    assert_eq!(events[1].id, Some(oldest - 1));
    assert_eq!(events[2].id, Some(oldest));
}

/// Takes in events until so many were lost or given.
async fn advance(answer: &mut client::Answer, last: &mut u64, most: u64) -> u64 {
    let (mut lost, mut seen) = (0, 0);
    while seen + lost < most {
        let event = answer.event().await.expect("it goes on");
        if event.kind == "lost" {
            let more = event.data["lost"].as_u64().expect("a number");
            assert_eq!(event.id, Some(*last + more), "it counts right");
            lost += more;
        } else if event.kind == "trace" {
            seen += 1;
        }
        *last = event.id.unwrap_or(*last);
    }
    lost
}

#[tokio::test]
async fn a_slow_reader_holds_up_nobody() {
    // One that was waited for would be waited for to the end of this test, and none is cut off
    // for its slowness.
    let patience = ["--max-block-ms", "1000000", "--max-stall-ms", "1000000"];
    let service = Service::start(&patience);
    let id = service
        .trace(json!({"command": BUSY, "buffer": 1000}))
        .await;
    let mut slow = service.events_unread(id, "?from=1").await;
    let mut fast = service.events(id, "?from=1", "").await;
    // More than all buffers between the service and the slow reader hold.
    let mut last = 0;
    advance(&mut fast, &mut last, 30_000).await;
    let trace = service.get(&format!("/traces/{id}")).await.json();
    assert!(
        trace["events"]["overwritten"].as_u64() > Some(20_000),
        "{trace}"
    );
    assert_eq!(trace["readers"], 2);
    // It learns how much it has missed, and every event is either given or counted.
    let mut last = 0;
    let mut lost = 0;
    while lost == 0 {
        lost = advance(&mut slow, &mut last, 1000).await;
    }
}

#[tokio::test]
async fn a_trace_waits_for_the_reader_that_asks_for_it() {
    let service = Service::start(&[]);
    let count = "i=0; while [ $i -lt 30 ]; do read x </proc/self/stat; i=$((i+1)); done";
    let id = service
        .trace(
            json!({"command": ["sh", "-c", "kill -STOP $$; ".to_owned() + count], "buffer": 100}),
        )
        .await;
    let path = format!("/traces/{id}");
    let mut root = json!(null);
    let start = std::time::Instant::now();
    while root["state"] != "stopped" {
        assert!(start.elapsed() < client::STUCK, "it stops itself");
        root = service.get(&path).await.json()["tree"][0].clone();
    }
    let pid = root["pid"].as_i64().expect("a process");
    let next = service.get(&path).await.json()["events"]["next"].clone();
    let mut reader = service
        .events(id, &format!("?from={next}&policy=block"), "")
        .await;
    assert!(reader.head.contains("x-events-policy: block"));
    let second = service.get(&format!("{path}/events?policy=block")).await;
    second.refuses(409, "already-blocking");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(pid).expect("an id")),
        nix::sys::signal::Signal::SIGCONT,
    )
    .expect("it lives");

    let mut expected = next.as_u64().expect("a number");
    let mut pauses = 0;
    while let Some(event) = reader.event().await {
        assert_ne!(event.kind, "lost");
        if let Some(id) = event.id {
            assert_eq!(id, expected, "none is missing");
            expected += 1;
            if expected.is_multiple_of(2000) {
                pauses += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    assert!(pauses > 2, "there was something to wait for: {expected}");
}

#[tokio::test]
async fn a_reader_that_sleeps_is_not_waited_for_for_ever() {
    // It is not given up: its connection stays.
    let flags = ["--max-block-ms", "50", "--max-stall-ms", "1000000"];
    let service = Service::start(&flags);
    let id = service.trace(json!({"command": BUSY, "buffer": 100})).await;
    let sleeping = service.events_unread(id, "?policy=block").await;
    let mut fast = service.events(id, "?from=1", "").await;
    let mut last = 0;
    advance(&mut fast, &mut last, 30_000).await;
    drop(sleeping);
    // And one that is waited for keeps nobody from ending the trace.
    let _sleeping = service.events(id, "?policy=block", "").await;
    assert_eq!(service.delete(&format!("/traces/{id}")).await.status, 200);
}

//! Connections: what is sent slowly, never, or makes no sense; and how many there may be.

mod client;

use client::{STUCK, Service};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Sends bytes on a connection of their own.
async fn send(service: &Service, bytes: &[u8]) -> TcpStream {
    let tcp = TcpStream::connect(service.address).await;
    let mut tcp = tcp.expect("it listens");
    // It may have answered before it has read all.
    let _ = tcp.write_all(bytes).await;
    tcp
}

/// All that comes until the service closes the connection.
async fn answer(tcp: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = timeout(STUCK, tcp.read_to_end(&mut answer)).await;
    read.expect("stuck: the end of a connection")
        .expect("it is not reset");
    String::from_utf8(answer).expect("text")
}

/// The answer of a service with little patience. It says nothing to who has said nothing in time:
/// to this one, if the machine had no time for it.
async fn some_answer(service: &Service, sent: &str) -> String {
    let all = async {
        loop {
            let mut tcp = send(service, sent.as_bytes()).await;
            let mut answer = Vec::new();
            // An error: it was let go before it sent anything.
            let read = tcp.read_to_end(&mut answer).await;
            if read.is_ok() && !answer.is_empty() {
                return String::from_utf8(answer).expect("text");
            }
        }
    };
    timeout(STUCK, all).await.expect("stuck: an answer")
}

/// Checks that the last answer is an error as all of them are.
fn check(sent: &str, answer: &str, status: u16, reason: &str) {
    let (head, body) = answer.rsplit_once("\r\n\r\n").unwrap_or_default();
    let head = head.to_lowercase();
    let start = format!("http/1.1 {status} ");
    let last = head.rfind("http/1.").and_then(|at| head.get(at..));
    assert!(
        last.is_some_and(|head| head.starts_with(&start)),
        "{sent:?} should give {status}: {answer:?}"
    );
    assert!(head.contains("content-type: application/json"), "{answer}");
    let json: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(json["error"]["reason"], reason, "{sent:?}: {answer}");
    assert!(
        json["error"]["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty()),
        "{answer}"
    );
}

#[tokio::test]
async fn what_is_no_http_gets_a_reason() {
    let service = Service::start(&[]);
    let long = "x".repeat(1 << 20);
    let cases = [
        ("\r\n\r\nnonsense\r\n\r\n".to_string(), 400, "not-http"),
        ("GET /\r\n\r\n".into(), 400, "not-http"),
        ("GET / HTTP/9.9\r\n\r\n".into(), 400, "not-http"),
        ("G@T / HTTP/1.1\r\n\r\n".into(), 400, "not-http"),
        ("GET /\u{1} HTTP/1.1\r\n\r\n".into(), 400, "not-http"),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n".into(), 400, "not-http"),
        ("GET / HTTP/1.1\r\na b: c\r\n\r\n".into(), 400, "not-http"),
        ("GET / HTTP/1.1\r\na: b\0\r\n\r\n".into(), 400, "not-http"),
        ("\u{16}\u{3}\u{1}\0\0".into(), 400, "not-http"),
        (
            "POST /traces HTTP/1.1\r\ncontent-length: x\r\n\r\n".into(),
            400,
            "not-http",
        ),
        (
            "POST /traces HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n12".into(),
            400,
            "not-http",
        ),
        (
            "POST /traces HTTP/1.1\r\ntransfer-encoding: wrong\r\n\r\n".into(),
            400,
            "not-http",
        ),
        (
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            505,
            "wrong-version",
        ),
        (
            format!("GET /{long} HTTP/1.1\r\n\r\n"),
            431,
            "head-too-large",
        ),
        (
            format!("GET /{} HTTP/1.1\r\n\r\n", &long[..70_000]),
            414,
            "address-too-long",
        ),
        (
            format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n"),
            431,
            "head-too-large",
        ),
        (
            format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(500)),
            431,
            "head-too-large",
        ),
    ];
    for (sent, status, reason) in cases {
        let mut tcp = send(&service, sent.as_bytes()).await;
        // There is nothing more to come: what is there is all.
        tcp.shutdown().await.expect("it is open");
        let short = sent.get(..60).unwrap_or(&sent);
        check(short, &answer(&mut tcp).await, status, reason);
    }
    // Half a request, and then the end.
    for half in ["GET / HT", "GET / HTTP/1.1\r\na:"] {
        let mut tcp = send(&service, half.as_bytes()).await;
        tcp.shutdown().await.expect("it is open");
        check(half, &answer(&mut tcp).await, 400, "not-http");
    }
    // A good one before does not change it.
    let both = "GET /metrics HTTP/1.1\r\n\r\nnonsense\r\n\r\n";
    let mut tcp = send(&service, both.as_bytes()).await;
    let answers = answer(&mut tcp).await;
    assert!(answers.starts_with("HTTP/1.1 200 OK"), "{answers}");
    check(both, &answers, 400, "not-http");
}

#[tokio::test]
async fn what_no_route_takes_gets_a_reason() {
    let service = Service::start(&["--max-body", "100"]);
    let post = |head: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /traces HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n{head}\r\n{body}"
        )
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n");
    let json = "content-type: application/json\r\n";
    let large = "x".repeat(300_000);
    let id = service.trace(json!({"command": ["true"]})).await;
    let cases = [
        (get("/nothing"), 404, "no-such-page"),
        (get("/traces/"), 404, "no-such-page"),
        (get("/traces/%ff"), 404, "no-such-trace"),
        (get("/traces/99999999999999999999"), 404, "no-such-trace"),
        (get("//"), 404, "no-such-page"),
        (get("/../etc/passwd"), 404, "no-such-page"),
        (get("*"), 404, "no-such-page"),
        (
            get(&format!("/traces/{id}/events?from=%ff")),
            400,
            "invalid",
        ),
        (
            get(&format!("/traces/{id}/events?from=1&from=2")),
            400,
            "invalid",
        ),
        (get(&format!("/traces/{id}/events?x=1")), 400, "invalid"),
        (
            format!(
                "GET /traces/{id}/events HTTP/1.1\r\nconnection: close\r\nlast-event-id: \u{ff}\r\n\r\n"
            ),
            400,
            "invalid",
        ),
        (
            "PATCH /traces HTTP/1.1\r\nconnection: close\r\n\r\n".into(),
            405,
            "wrong-method",
        ),
        (
            "BREW / HTTP/1.1\r\nconnection: close\r\n\r\n".into(),
            405,
            "wrong-method",
        ),
        (
            "POST /traces/1 HTTP/1.1\r\nconnection: close\r\n\r\n".into(),
            405,
            "wrong-method",
        ),
        (
            "CONNECT a:1 HTTP/1.1\r\nconnection: close\r\n\r\n".into(),
            404,
            "no-such-page",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nconnection: close\r\n\r\n".into(),
            404,
            "no-such-page",
        ),
        (
            "GET /metrics HTTP/1.1\r\nhost: \u{ff}\r\nconnection: close\r\n\r\n".into(),
            403,
            "wrong-host",
        ),
        (
            "GET /metrics HTTP/1.1\r\nsec-fetch-site: cross-site\r\nconnection: close\r\n\r\n"
                .into(),
            403,
            "wrong-origin",
        ),
        (
            "GET /metrics HTTP/1.1\r\nhost: localhost\r\norigin: http://elsewhere\r\nconnection: close\r\n\r\n"
                .into(),
            403,
            "wrong-origin",
        ),
        (
            "GET /metrics HTTP/1.1\r\nhost: localhost\r\norigin: null\r\nconnection: close\r\n\r\n"
                .into(),
            403,
            "wrong-origin",
        ),
        (
            "GET /none HTTP/1.1\r\nhost: localhost:1\r\norigin: http://localhost:1\r\nconnection: close\r\n\r\n"
                .into(),
            404,
            "no-such-page",
        ),
        (post("", "{}"), 415, "not-json"),
        (post("content-type: text/html\r\n", "{}"), 415, "not-json"),
        (post("content-type: \u{ff}\r\n", "{}"), 415, "not-json"),
        (post(json, "{"), 400, "invalid"),
        (post(json, "\u{1}"), 400, "invalid"),
        (post(json, "[]"), 422, "invalid"),
        (post(json, &large), 413, "body-too-large"),
        (
            format!(
                "POST /traces HTTP/1.1\r\n{json}connection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                 {:x}\r\n{large}\r\n0\r\n\r\n",
                large.len()
            ),
            413,
            "body-too-large",
        ),
        (
            format!(
                "POST /traces HTTP/1.1\r\n{json}connection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                 nonsense\r\n"
            ),
            400,
            "invalid",
        ),
    ];
    for (sent, status, reason) in cases {
        let mut tcp = send(&service, sent.as_bytes()).await;
        let short = sent.get(..80).unwrap_or(&sent);
        check(short, &answer(&mut tcp).await, status, reason);
    }
    // What is still under way when it is refused does not reset the connection.
    let long = post(json, &"x".repeat(900_000));
    for _ in 0..20 {
        let mut tcp = send(&service, b"").await;
        let sent = tcp.write_all(long.as_bytes()).await;
        sent.expect("all of it is taken");
        check("long", &answer(&mut tcp).await, 413, "body-too-large");
    }
    // An invalid byte, which is no character.
    let mut tcp = send(
        &service,
        b"GET /traces/\xff HTTP/1.1\r\nconnection: close\r\n\r\n",
    )
    .await;
    let answer = answer(&mut tcp).await;
    assert!(answer.contains("{\"error\":{\"reason\":\""), "{answer}");
}

#[tokio::test]
async fn who_sends_slowly_is_not_waited_for_for_ever() {
    let service = Service::start(&["--max-request-ms", "50"]);
    let late =
        "POST /traces HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    for begun in ["G", "GET / HTTP/1.1\r\na: b\r\n", late] {
        check(begun, &some_answer(&service, begun).await, 408, "too-slow");
    }
    // One byte after another, never enough of them.
    let mut tcp = send(&service, b"GET / HTTP/1.1\r\na: ").await;
    let start = std::time::Instant::now();
    while tcp.write_all(b"b").await.is_ok() {
        assert!(start.elapsed() < STUCK, "it is not waited for");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // One that says nothing, at first or later, is let go without a word.
    let mut tcp = send(&service, b"").await;
    assert_eq!(answer(&mut tcp).await, "");
    let one = some_answer(&service, "GET /metrics HTTP/1.1\r\n\r\n").await;
    assert_eq!(one.matches("HTTP/1.1").count(), 1, "{one}");
    assert!(one.starts_with("HTTP/1.1 200 OK"), "{one}");
}

#[tokio::test]
async fn a_stream_lasts_longer_than_a_request_may_take() {
    // Longer than any request here takes.
    let service = Service::start(&["--max-request-ms", "2000"]);
    let script = "while :; do read x </proc/self/stat; sleep 0.02; done";
    let id = service
        .trace(json!({"command": ["sh", "-c", script]}))
        .await;
    let mut events = service.events(id, "", "").await;
    let mut first = None;
    loop {
        let event = events.event_of("trace").await;
        let time = event.data["time"].as_u64().expect("a time");
        if time - *first.get_or_insert(time) > 3_000_000_000 {
            break;
        }
    }
}

#[tokio::test]
async fn a_connection_without_a_place_waits_for_one() {
    // Longer than any request here takes.
    let flags = ["--max-connections", "2", "--max-request-ms", "2000"];
    let service = Service::start(&flags);
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(send(&service, b"").await);
    }
    // It comes behind those, which are not waited for for ever.
    assert_eq!(service.get("/metrics").await.status, 200);

    // And there are no more than that at a time.
    let id = service.trace(json!({"command": ["sleep", "1000"]})).await;
    let streams = [
        service.events(id, "", "").await,
        service.events(id, "", "").await,
    ];
    let mut late = send(&service, b"GET /metrics HTTP/1.0\r\n\r\n").await;
    let mut byte = [0];
    let waits = timeout(std::time::Duration::from_millis(100), late.read(&mut byte)).await;
    assert!(waits.is_err(), "there is no place for it: {waits:?}");
    drop(streams);
    assert!(answer(&mut late).await.starts_with("HTTP/1.0 200 OK"));
}

#[tokio::test]
async fn a_client_that_never_reads_is_given_up() {
    let service = Service::start(&["--max-stall-ms", "50", "--max-readers", "1"]);
    let script = "while :; do read x </proc/self/stat; done";
    let id = service
        .trace(json!({"command": ["sh", "-c", script]}))
        .await;
    let path = format!("/traces/{id}/events");
    let stalled = service.events(id, "", "").await;
    // Its place is free when it has been given up.
    let start = std::time::Instant::now();
    while service.open("GET", &path, "", "").await.status != 200 {
        assert!(start.elapsed() < STUCK, "it keeps its place");
    }
    drop(stalled);
}

//! Each route, each limit, each refusal.

mod client;

use client::{Service, Victim, lives, tracer, until};
use serde_json::json;

/// A script with three processes besides its own, all there at the same time. It ends with 5.
const THREE_AT_ONCE: &str =
    "sleep 1000 & a=$!; sleep 1000 & b=$!; sleep 1000 & kill $a $b $!; wait; exit 5";

/// A command that makes calls of its own until it is killed.
const BUSY: [&str; 3] = ["sh", "-c", "while :; do read x </proc/self/stat; done"];

#[tokio::test]
async fn a_command_is_traced_to_its_end() {
    let service = Service::start(&[]);
    let command = json!({"command": ["sh", "-c", "true; (exit 3); ls / >/dev/null; exit 7"]});
    let answer = service.post(command).await;
    assert_eq!(answer.status, 201);
    let id = answer.json()["id"].as_u64().expect("an id");
    assert!(answer.head.contains(&format!("location: /traces/{id}")));

    let events = service.events(id, "", "").await.all_events().await;
    assert_eq!(events.first().expect("one").kind, "policy");
    assert_eq!(events.last().expect("one").kind, "end");
    assert_eq!(
        events.last().expect("one").data,
        json!({"how": "exited", "code": 7})
    );
    let ids: Vec<u64> = events.iter().filter_map(|event| event.id).collect();
    assert!(
        ids.iter().copied().eq(1..=ids.len() as u64),
        "none is missing"
    );
    let kinds = |kind| {
        events
            .iter()
            .filter(|event| event.data["kind"] == kind)
            .count()
    };
    assert_eq!(kinds("begin"), kinds("end"));
    assert!(kinds("begin") >= 3, "the shell, its subshell, and ls");
    let execve = |event: &&client::Sent| event.data["call"] == "execve";
    assert!(
        events
            .iter()
            .find(execve)
            .is_some_and(|exec| exec.data["value"] == 0)
    );

    let trace = service.get(&format!("/traces/{id}")).await.json();
    assert_eq!(trace["state"], "ended");
    assert_eq!(trace["end"], json!({"how": "exited", "code": 7}));
    let tree = trace["tree"].as_array().expect("a tree");
    assert_eq!(tree.len(), kinds("begin"));
    assert!(
        tree[1..]
            .iter()
            .all(|node| node["parent"] == tree[0]["node"])
    );
    assert!(tree.iter().all(|node| node["state"] == "ended"));
    assert_eq!(trace["counts"]["calls"], kinds("call"));
    let all = service.get("/traces").await.json();
    assert_eq!(all["traces"][0]["id"], id);
    assert!(all["traces"][0].get("tree").is_none());
}

#[tokio::test]
async fn what_is_kept_of_a_trace_that_has_ended() {
    let service = Service::start(&[]);
    let script = "i=0; while [ $i -lt 250 ]; do (exit 3); i=$((i+1)); done; exit 4";
    let command = json!({"command": ["sh", "-c", script], "filter": ["execve"]});
    let id = service.trace(command).await;
    let first = service.events(id, "", "").await.all_events().await;
    // Its counts and the last of its dead, with how each has ended: the shell is the last.
    let trace = service.get(&format!("/traces/{id}")).await.json();
    assert_eq!(trace["state"], "ended");
    assert_eq!(trace["tracees"], 0);
    assert_eq!(trace["counts"]["tracees"], 251);
    let tree = trace["tree"].as_array().expect("a tree");
    assert_eq!(tree.len(), 200);
    assert_eq!(tree[0]["end"], json!({"how": "exited", "code": 4}));
    let of_the_shell = |node: &serde_json::Value| {
        node["parent"] == tree[0]["node"] && node["end"] == json!({"how": "exited", "code": 3})
    };
    assert!(tree[1..].iter().all(of_the_shell));
    assert_eq!(tree[199]["node"], 251);
    // Its events, as often as somebody asks, and from where that one was.
    let again = service.events(id, "", "").await.all_events().await;
    let ids = |events: &[client::Sent]| events.iter().map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&first));
    let last = first.iter().rev().find_map(|event| event.id).expect("one");
    let header = format!("last-event-id: {}\r\n", last - 1);
    let rest = service.events(id, "", &header).await.all_events().await;
    assert_eq!(ids(&rest), [None, Some(last), None], "policy, one, end");
}

#[tokio::test]
async fn a_filter_shows_its_calls_alone() {
    let service = Service::start(&[]);
    let victim = Victim::new(BUSY[0], &BUSY[1..]);
    let filter = ["openat", "read"];
    let spawned = service
        .trace(json!({"command": BUSY, "filter": filter}))
        .await;
    let attached = service
        .trace(json!({"pid": victim.pid(), "filter": filter}))
        .await;
    for id in [spawned, attached] {
        let mut events = service.events(id, "", "").await;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let event = events.event_of("trace").await;
            if event.data["kind"] == "call" {
                seen.insert(event.data["call"].as_str().expect("a name").to_string());
            }
        }
        assert!(seen.iter().eq(&filter), "trace {id}: {seen:?}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let service = Service::start(&["--max-args", "2", "--max-buffer", "50"]);
    let cases = [
        (json!({}), 400, "invalid"),
        (json!({"command": ["true"], "pid": 1}), 400, "invalid"),
        (json!({"command": []}), 400, "invalid"),
        (json!({"command": [""]}), 400, "invalid"),
        (json!({"command": ["true", "1", "2", "3"]}), 400, "invalid"),
        (json!({"command": ["a\0b"]}), 422, "cannot-start"),
        (
            json!({"command": ["/no/such/program"]}),
            422,
            "cannot-start",
        ),
        (json!({"command": ["true"], "buffer": 0}), 400, "invalid"),
        (json!({"command": ["true"], "buffer": 51}), 400, "invalid"),
        (json!({"command": ["true"], "filter": []}), 400, "invalid"),
        (
            json!({"command": ["true"], "filter": ["opne"]}),
            400,
            "no-such-call",
        ),
        (
            json!({"command": ["true"], "colour": "red"}),
            422,
            "invalid",
        ),
        (json!({"command": "true"}), 422, "invalid"),
        (json!({"pid": 0}), 400, "invalid"),
        (json!({"pid": -1}), 400, "invalid"),
        (json!({"pid": i32::MAX}), 404, "no-such-process"),
        (json!({"pid": service.pid().as_raw()}), 403, "not-permitted"),
    ];
    for (body, status, reason) in cases {
        println!("{body}");
        service.post(body).await.refuses(status, reason);
    }
    let json = "content-type: application/json\r\n";
    let post = async |headers, body| service.request("POST", "/traces", headers, body).await;
    post(json, "{").await.refuses(400, "invalid");
    // What a form of another page could send.
    post("content-type: text/plain\r\n", "{\"pid\": 1}")
        .await
        .refuses(415, "not-json");
    post("", "{\"pid\": 1}").await.refuses(415, "not-json");

    service.get("/nothing").await.refuses(404, "no-such-page");
    service
        .get("/traces/17")
        .await
        .refuses(404, "no-such-trace");
    service.get("/traces/x").await.refuses(404, "no-such-trace");
    service
        .get("/traces/17/events")
        .await
        .refuses(404, "no-such-trace");
    service
        .delete("/traces/17")
        .await
        .refuses(404, "no-such-trace");
    service.delete("/traces").await.refuses(405, "wrong-method");
    service
        .delete("/metrics")
        .await
        .refuses(405, "wrong-method");
    let id = service.trace(json!({"command": ["true"]})).await;
    service
        .delete(&format!("/traces/{id}?how=gently"))
        .await
        .refuses(400, "invalid");
    let events = format!("/traces/{id}/events");
    service
        .get(&format!("{events}?from=x"))
        .await
        .refuses(400, "invalid");
    service
        .get(&format!("{events}?from=100000"))
        .await
        .refuses(400, "no-such-event");
    service
        .get(&format!("{events}?policy=wish"))
        .await
        .refuses(400, "invalid");
    let last = "last-event-id: 99999999999999999999\r\n";
    service
        .request("GET", &events, last, "")
        .await
        .refuses(400, "invalid");
    assert_eq!(
        service.get("/traces").await.json()["traces"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

/// A reader where there may be one: the place of the last is free a moment after its end.
async fn only_reader(service: &Service, id: u64) -> client::Answer {
    let path = format!("/traces/{id}/events");
    let start = std::time::Instant::now();
    loop {
        let answer = service.open("GET", &path, "", "").await;
        if answer.status == 200 {
            return answer;
        }
        assert_eq!(answer.status, 429, "{answer:?}");
        assert!(start.elapsed() < client::STUCK, "its place is free again");
    }
}

#[tokio::test]
async fn numbers_and_sizes_are_bounded() {
    let flags = [
        "--max-traces",
        "2",
        "--max-body",
        "500",
        "--max-readers",
        "1",
    ];
    let service = Service::start(&flags);
    let long = json!({"command": ["true", "x".repeat(500)]});
    service.post(long).await.refuses(413, "body-too-large");

    let first = service.trace(json!({"command": BUSY})).await;
    let second = service.trace(json!({"command": BUSY})).await;
    service
        .post(json!({"command": BUSY}))
        .await
        .refuses(429, "too-many-traces");

    let reader = service.events(first, "", "").await;
    let path = format!("/traces/{second}/events");
    service.get(&path).await.refuses(429, "too-many-readers");
    drop(reader);
    only_reader(&service, second).await;
    for id in [first, second] {
        assert_eq!(service.delete(&format!("/traces/{id}")).await.status, 200);
    }
}

/// Waits until these are all the traces that are kept.
async fn only_kept(service: &Service, ids: &[u64]) {
    let start = std::time::Instant::now();
    loop {
        let all = service.get("/traces").await.json();
        let all = all["traces"].as_array().expect("a list").clone();
        let kept: Vec<_> = all
            .iter()
            .filter_map(|trace| trace["id"].as_u64())
            .collect();
        if kept == ids {
            return;
        }
        assert!(start.elapsed() < client::STUCK, "{kept:?}, not {ids:?}");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn those_that_ended_last_are_kept() {
    let service = Service::start(&["--max-ended", "2"]);
    let mut victims = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..4 {
        let victim = Victim::new("sleep", &["1000"]);
        ids.push(service.trace(json!({"pid": victim.pid()})).await);
        victims.push(Some(victim));
    }
    // The one that began first ends last. No other trace need begin for one to be forgotten.
    let kept = [
        (3, vec![0, 1, 2, 3]),
        (1, vec![0, 1, 2, 3]),
        (2, vec![0, 1, 2]),
        (0, vec![0, 2]),
    ];
    for (dies, kept) in kept {
        let mut events = service.events(ids[dies], "?from=newest", "").await;
        drop(victims[dies].take());
        events.event_of("end").await;
        let kept: Vec<_> = kept.into_iter().map(|at| ids[at]).collect();
        only_kept(&service, &kept).await;
    }
}

#[tokio::test]
async fn tracees_beyond_the_limit_run_untraced() {
    let service = Service::start(&["--max-tracees", "2"]);
    let script = THREE_AT_ONCE;
    let id = service
        .trace(json!({"command": ["sh", "-c", script]}))
        .await;
    let events = service.events(id, "", "").await.all_events().await;
    assert_eq!(events.last().expect("one").data["code"], 5);
    let trace = service.get(&format!("/traces/{id}")).await.json();
    assert!(trace["counts"]["unfollowed"].as_u64() >= Some(1), "{trace}");
}

#[tokio::test]
async fn a_token_is_asked_for() {
    const TOKEN: &str = "correct horse battery";
    let service = Service::start_with_token(&[], Some(TOKEN));
    let get = async |headers: &str| service.request("GET", "/traces", headers, "").await;
    get("").await.refuses(401, "no-token");
    for wrong in [
        "correct horse batterx",
        "correct horse batter",
        "correct horse battery ",
        "",
    ] {
        let header = format!("authorization: Bearer {wrong}x\r\n");
        get(&header).await.refuses(401, "no-token");
    }
    get(&format!("authorization: Basic {TOKEN}\r\n"))
        .await
        .refuses(401, "no-token");
    assert_eq!(
        get(&format!("authorization: Bearer {TOKEN}\r\n"))
            .await
            .status,
        200
    );
    assert!(get("").await.head.contains("www-authenticate: bearer"));
    for path in ["/metrics", "/traces/1", "/traces/1/events", "/nothing"] {
        service.get(path).await.refuses(401, "no-token");
    }
    assert_eq!(
        service.get("/").await.status,
        200,
        "the page has no secrets"
    );
}

#[tokio::test]
async fn without_a_token_only_this_machine_is_served() {
    let service = Service::start(&[]);
    let get = async |host: &str| {
        let header = format!("host: {host}\r\n");
        service.request("GET", "/traces", &header, "").await
    };
    for host in ["localhost", "localhost:7070", "127.0.0.1:1", "[::1]:7070"] {
        assert_eq!(get(host).await.status, 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example:7070",
        "192.0.2.1",
        "[2001:db8::1]",
    ] {
        get(host).await.refuses(403, "wrong-host");
    }
    // And it does not listen elsewhere.
    let program = env!("CARGO_BIN_EXE_tracehound-service");
    let refused = tokio::process::Command::new(program)
        .args(["--listen", "0.0.0.0:0"])
        .env_remove("TRACEHOUND_TOKEN")
        .output();
    let refused = refused.await.expect("it runs");
    assert!(!refused.status.success());
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("a token is required"), "{text}");
}

/// The name of the program that a trace of a command has run.
async fn executed(service: &Service, command: &str) -> String {
    let id = service.trace(json!({"command": [command]})).await;
    let events = service.events(id, "", "").await.all_events().await;
    let exec = events.iter().find(|event| event.data["kind"] == "begin");
    exec.expect("it begins").data["name"].to_string()
}

#[tokio::test]
async fn only_programs_on_the_list_are_started() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| format!("{}/{name}", directory.path().display());
    std::fs::copy("/bin/true", at("true")).expect("a copy");
    std::os::unix::fs::symlink("/bin/ls", at("ls")).expect("a link");
    std::os::unix::fs::symlink("/bin/sh", at("true2")).expect("a link");
    let service = Service::start(&["--allow", "true", "--allow", "/bin/ls", "--no-attach"]);
    let others = [
        "sh".into(),
        "./true".into(),
        "true ".into(),
        "/bin".into(),
        "/bin/ls/".into(),
        "/bin/../bin/sh".into(),
        at("true"),
        at("true2"),
        at("ls"),
        at("none"),
    ];
    for program in others {
        let refused = service.post(json!({"command": [program]})).await;
        refused.refuses(403, "not-allowed");
    }
    service
        .post(json!({"pid": 1}))
        .await
        .refuses(403, "not-allowed");
    // However it is written: it is the file that counts.
    for program in ["true", "/bin/true", "/bin/../bin/true", "ls", "/bin//ls"] {
        let name = executed(&service, program).await;
        let end = program.rsplit('/').next().expect("a name");
        assert!(name.contains(end), "{program}: {name}");
    }
    // One that is not there is said at once.
    let program = env!("CARGO_BIN_EXE_tracehound-service");
    let refused = tokio::process::Command::new(program)
        .args(["--listen", "127.0.0.1:0", "--allow", "/no/such/program"])
        .output();
    let refused = refused.await.expect("it runs");
    assert!(!refused.status.success());
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("no such program"), "{text}");
}

#[tokio::test]
async fn what_all_traces_take_together_is_bounded() {
    let flags = ["--max-all-tracees", "2", "--max-all-events", "30"];
    let service = Service::start(&flags);
    let busy = |buffer: usize| json!({"command": BUSY, "buffer": buffer});
    let first = service.trace(busy(10)).await;
    let second = service.trace(busy(10)).await;
    let third = service.post(busy(10)).await;
    third.refuses(429, "too-many-tracees");
    let third = service.post(busy(11)).await;
    third.refuses(429, "too-many-events");
    // What is refused keeps no place, and what ends gives its place back.
    service.delete(&format!("/traces/{second}")).await;
    let second = service.trace(busy(20)).await;
    for id in [first, second] {
        service.delete(&format!("/traces/{id}")).await;
    }
    // Traces that have ended make room.
    for _ in 0..3 {
        let id = service
            .trace(json!({"command": ["true"], "buffer": 20}))
            .await;
        service.events(id, "", "").await.all_events().await;
    }
    let all = service.get("/traces").await.json();
    assert_eq!(all["traces"].as_array().map(Vec::len), Some(1), "{all}");

    // Beyond the limit what is traced runs on by itself.
    let script = THREE_AT_ONCE;
    let id = service
        .trace(json!({"command": ["sh", "-c", script], "buffer": 30}))
        .await;
    let events = service.events(id, "", "").await.all_events().await;
    assert_eq!(events.last().expect("one").data["code"], 5);
    let trace = service.get(&format!("/traces/{id}")).await.json();
    assert!(trace["counts"]["unfollowed"].as_u64() >= Some(1), "{trace}");
}

#[tokio::test]
async fn a_trace_is_ended_as_was_asked_for() {
    let service = Service::start(&[]);
    for (how, survives) in [("?how=detach", true), ("?how=kill", false), ("", true)] {
        let victim = Victim::new("sleep", &["1000"]);
        let id = service.trace(json!({"pid": victim.pid()})).await;
        assert!(tracer(victim.pid()) > 0, "it is traced");
        let mut events = service.events(id, "", "").await;
        let answer = service.delete(&format!("/traces/{id}{how}")).await;
        assert_eq!(answer.status, 200);
        let end = events.event_of("end").await.data;
        if survives {
            assert_eq!(end["how"], "detached");
            assert_eq!(tracer(victim.pid()), 0);
            assert!(lives(victim.pid()));
        } else {
            assert_eq!(end, json!({"how": "killed", "signal": "SIGKILL"}));
            until("it is dead", || !lives(victim.pid())).await;
        }
        service
            .get(&format!("/traces/{id}"))
            .await
            .refuses(404, "no-such-trace");
    }
}

#[tokio::test]
async fn a_command_can_be_let_go() {
    let service = Service::start(&[]);
    for filter in [json!(null), json!(["read"])] {
        for (how, survives) in [("?how=detach", true), ("?how=kill", false), ("", false)] {
            let request = json!({"command": BUSY, "filter": filter});
            let id = service.trace(request).await;
            let path = format!("/traces/{id}");
            let pid = service.get(&path).await.json()["tree"][0]["pid"].as_i64();
            let pid = pid.expect("a process");
            assert_eq!(service.delete(&format!("{path}{how}")).await.status, 200);
            if survives {
                assert!(lives(pid));
                let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("an id"));
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it lives");
            }
            until("it is dead", || !lives(pid)).await;
        }
    }
}

#[tokio::test]
async fn metrics_count() {
    let service = Service::start(&[]);
    let id = service.trace(json!({"command": ["ls", "/"]})).await;
    let events = service.events(id, "", "").await.all_events().await;
    let sent = events.iter().filter(|event| event.kind == "trace").count();
    service.get("/nothing").await.refuses(404, "no-such-page");
    let answer = service.get("/metrics").await;
    assert!(
        answer
            .head
            .contains("content-type: text/plain; version=0.0.4")
    );
    let text = answer.text();
    let value = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in {text}"))
            .to_string()
    };
    assert_eq!(value("tracehound_traces_total"), "1");
    assert_eq!(value("tracehound_traces_running"), "0");
    assert_eq!(value("tracehound_traces_ended"), "1");
    assert_eq!(value("tracehound_events_total"), sent.to_string());
    assert_eq!(value("tracehound_delivered_total"), sent.to_string());
    assert_eq!(value("tracehound_delay_seconds_count"), sent.to_string());
    assert_eq!(
        value("tracehound_delay_seconds_bucket{le=\"+Inf\"}"),
        sent.to_string()
    );
    assert_eq!(value("tracehound_refused_total"), "1");
    // The tracer's own: ls has two stops for each call, and dies once.
    let stops = value("tracehound_tracer_stops_total{kind=\"syscall\"}");
    assert!(stops.parse::<usize>().expect("a number") > sent, "{stops}");
    assert_eq!(value("tracehound_tracer_deaths_total"), "1");
    assert_eq!(value("tracehound_tracer_lost_total"), "0");
    assert_eq!(
        value("tracehound_tracer_queue_delay_seconds_bucket{le=\"+Inf\"}"),
        value("tracehound_tracer_queue_delay_seconds_count")
    );
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, number) = line.rsplit_once(' ').expect("a name and a value");
        assert!(number.parse::<f64>().is_ok(), "{line}");
    }
}

//! The end of the service, with traces that run.

mod client;

use client::{Service, Victim, lives, tracer, until};
use nix::sys::signal::Signal;
use serde_json::json;

#[tokio::test]
async fn attached_processes_run_on_and_commands_are_killed() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut service = Service::start(&[]);
        let sleeper = Victim::new("sleep", &["1000"]);
        let busy = Victim::new("sh", &["-c", "while :; do read x </proc/self/stat; done"]);
        for victim in [&sleeper, &busy] {
            service.trace(json!({"pid": victim.pid()})).await;
        }
        let mut commands = Vec::new();
        for filter in [json!(null), json!(["openat"])] {
            let script = "while :; do read x </proc/self/stat; done";
            let request = json!({"command": ["sh", "-c", script], "filter": filter});
            let id = service.trace(request).await;
            let tree = service.get(&format!("/traces/{id}")).await.json();
            commands.push(tree["tree"][0]["pid"].as_i64().expect("a process"));
        }
        let mut reader = service.events(1, "?from=newest", "").await;
        // This one never reads.
        let stalled = service.events(2, "", "").await;
        let status = service.terminate(signal).await;
        assert!(status.success(), "{status}");
        assert_eq!(reader.event_of("closing").await.data, json!({}));
        for victim in [&sleeper, &busy] {
            assert!(lives(victim.pid()), "it runs on");
            assert_eq!(tracer(victim.pid()), 0, "nobody traces it");
        }
        for pid in commands {
            until("the command is dead", || !lives(pid)).await;
        }
        drop(stalled);
    }
}

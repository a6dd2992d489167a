//! A host that forks: the copies of its handles say so, and do no harm.

use futures::StreamExt;
use futures::executor::block_on;
use tokio::runtime::Builder;
use tracehound::{Child, Command, Error, Event, Signal, Stdio, Tracee, Tracer};
use tracehound_tests::{is_traced, new_tracer, place, sibling, soon, state, trace_births};

fn forked<T: std::fmt::Debug>(what: &str, result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Forked)), "{what}: {result:?}");
}

/// In the forked child.
async fn copies(tracer: &Tracer, held: &mut Tracee, running: &mut Tracee) {
    forked(
        "spawn",
        soon("spawn", tracer.spawn(Command::new("true"))).await,
    );
    let traced = tracer.trace(Command::new("true"), |_| async {});
    forked("trace", soon("trace", traced).await);
    forked("attach", soon("attach", tracer.attach(1)).await);
    forked("shutdown", soon("shutdown", tracer.shutdown()).await);
    for tracee in [held, running] {
        let control = tracee.control();
        forked("interrupt", soon("interrupt", control.interrupt()).await);
        forked("kill", control.kill());
        forked("detach", soon("detach", tracee.detach()).await);
    }
}

async fn requests(held: &mut Tracee) {
    forked("getregs", soon("getregs", held.getregs()).await);
    forked("getsiginfo", soon("getsiginfo", held.getsiginfo()).await);
    forked("cont", soon("cont", held.cont()).await);
}

/// What has no error to give ends.
async fn waits(mut tracees: [Tracee; 2], children: &mut [Child; 2]) {
    for tracee in &mut tracees {
        let mut events = 0;
        while let Some(event) = soon("the end of a copied stream", tracee.next()).await {
            assert!(
                !matches!(event, Event::Exited(_) | Event::Killed(_)),
                "{event:?}"
            );
            events += 1;
            assert!(events < 3, "{event:?}");
        }
    }
    for child in children {
        child.start_kill();
        forked("wait", soon("a copied child", child.wait()).await);
    }
}

fn in_child(what: &str, tracer: Tracer, tracees: [Tracee; 2], mut children: [Child; 2]) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let [mut held, mut running] = tracees;
        match what {
            "requests" => {
                requests(&mut held).await;
                copies(&tracer, &mut held, &mut running).await;
            }
            "waits" => waits([held, running], &mut children).await,
            "drops" => drop((held, tracer, running, children)),
            "drops-tracer-first" => {
                drop(tracer);
                drop((children, held, running));
            }
            "own" => {
                // A tracer of its own is none of its parent's.
                let own = new_tracer();
                trace_births(&own).await;
                requests(&mut held).await;
                soon("shutdown", own.shutdown()).await.expect("shutdown");
            }
            _ => panic!("{what}?"),
        }
    });
}

fn start(tracer: &Tracer) -> (Tracee, Child) {
    let mut command = Command::new(sibling("sleeper"));
    command
        .arg("pause")
        .stdout(Stdio::null())
        .kill_on_drop(false);
    let (mut tracee, child) = block_on(tracer.spawn(place(&mut command))).expect("spawn");
    let event = block_on(tracee.next());
    assert!(matches!(event, Some(Event::Started(_))), "{event:?}");
    (tracee, child)
}

fn main() {
    let what = std::env::args().nth(1).expect("what");
    // Outside of any runtime, where it works as well.
    let tracer = new_tracer();
    let (held, held_child) = start(&tracer);
    let (mut running, running_child) = start(&tracer);
    block_on(running.cont()).expect("held");
    let pid = held.tid();

    // SAFETY: the other threads hold no lock that the child takes: they are asleep.
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        let children = [held_child, running_child];
        let run =
            std::panic::AssertUnwindSafe(|| in_child(&what, tracer, [held, running], children));
        let code = i32::from(std::panic::catch_unwind(run).is_err());
        // SAFETY: ends the process; nothing is left to be run.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: the status is live.
    let waited = unsafe { libc::waitpid(forked, &raw mut status, 0) };
    assert_eq!(waited, forked);
    assert_eq!(status, 0, "the forked child failed");

    // Here nothing has changed.
    assert!(is_traced(pid) && state(pid) == Some('t'));
    assert!(block_on(held.getregs()).is_ok());
    for (mut tracee, mut child) in [(held, held_child), (running, running_child)] {
        tracee.control().kill().expect("it lives");
        let event = block_on(tracee.next());
        assert!(
            matches!(event, Some(Event::Killed(killed)) if killed.signal == Signal::SIGKILL),
            "{event:?}"
        );
        block_on(child.wait()).expect("a status");
    }
    block_on(tracer.shutdown()).expect("shutdown");
}

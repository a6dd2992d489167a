//! A host whose tokio runtime ends before its tracer does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tokio::runtime::{Builder, Runtime};
use tracehound::{Child, Command, Error, Event, PinnedError, PinnedTask, Stdio, Tracee, Tracer};
use tracehound_tests::{is_traced, new_tracer, own_threads, sibling, soon, state, until};

static PANICS: AtomicUsize = AtomicUsize::new(0);

struct Left {
    tracer: Tracer,
    held: (Tracee, Child),
    running: (Tracee, Child),
    pinned: (PinnedTask<()>, Child),
    tree: PinnedTask<()>,
}

fn sleeper() -> Command {
    let mut command = Command::new(sibling("sleeper"));
    command.arg("pause").stdout(Stdio::null());
    command
}

/// Uses whatever of the runtime a pinned task may use.
async fn pinned(mut tracee: Tracee) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a socket");
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = listener.accept() => {}
            event = tracee.next() => if event.is_none() { return },
        }
    }
}

async fn begin() -> Left {
    let tracer = new_tracer();
    let spawn = || tracer.spawn(sleeper());
    let held = spawn().await.expect("spawn");
    let mut running = spawn().await.expect("spawn");
    running.0.next().await.expect("its first event");
    running.0.cont().await.expect("held");
    let (tracee, child) = spawn().await.expect("spawn");
    let task = tracee.spawn_pinned(pinned);
    let (other, _child) = spawn().await.expect("spawn");
    let control = other.control();
    let tree = other.spawn_pinned(|other| async move {
        // Held for ever.
        std::future::pending::<()>().await;
        drop(other);
    });
    // So that it does not stay behind.
    drop(control.kill());
    until("it is dead", || state(control.tid()).is_none()).await;
    Left {
        tracer,
        held,
        running,
        pinned: (task, child),
        tree,
    }
}

/// It runs on, and is ours to kill and await.
async fn let_go(child: &mut Child) {
    until("a free process", || {
        !is_traced(child.id()) && matches!(state(child.id()), Some('R' | 'S'))
    })
    .await;
    soon("its end", child.kill()).await.expect("a status");
}

async fn end(left: Left) {
    let Left {
        tracer,
        held: (mut held, mut held_child),
        running: (mut running, mut running_child),
        pinned: (task, mut pinned_child),
        tree,
    } = left;
    for tracee in [&mut held, &mut running] {
        let mut last = None;
        while let Some(event) = soon("the end of a stream", tracee.next()).await {
            last = Some(event);
        }
        assert!(matches!(last, Some(Event::Detached)), "{last:?}");
        let error = tracee.getregs().await.expect_err("it was shut down");
        assert!(matches!(error, Error::Shutdown), "{error:?}");
    }
    for task in [task, tree] {
        let result = soon("a pinned task", task).await;
        assert!(matches!(result, Err(PinnedError::Ended)), "{result:?}");
    }
    for child in [&mut held_child, &mut running_child, &mut pinned_child] {
        let_go(child).await;
    }
    let error = soon("spawn", tracer.spawn(sleeper()))
        .await
        .expect_err("no spawn");
    assert!(matches!(error, Error::Shutdown), "{error:?}");
    let error = soon("attach", tracer.attach(1))
        .await
        .expect_err("no attach");
    assert!(matches!(error, Error::Shutdown), "{error:?}");
    soon("shutdown", tracer.shutdown())
        .await
        .expect("it was already");
    drop((held, running, tracer));
}

fn runtime(how: &str) -> Runtime {
    let mut builder = match how {
        "current" => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn main() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        report(info);
    }));
    let second = runtime("current");
    for round in 0..20 {
        for how in ["current", "multi"] {
            let first = runtime(how);
            let left = first.block_on(begin());
            match round % 3 {
                0 => drop(first),
                1 => first.shutdown_background(),
                _ => first.shutdown_timeout(Duration::from_secs(10)),
            }
            second.block_on(end(left));
        }
    }
    second.block_on(until("one thread", || own_threads().len() == 1));
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "panics");
}

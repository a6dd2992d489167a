//! Logic on the tracer thread.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tracehound::{Command, Error, Event, PinnedError, ResumeMode, Signal, Stdio, Tid, Tracer};
use tracehound_tests::{builder, is_traced, new_tracer, place, soon, start, state, until};

fn sleeper(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sleeper"));
    command.args(args).stdout(Stdio::null()).kill_on_drop(true);
    command
}

/// Timers, sockets and channels beside a tracee, with the other ends elsewhere.
async fn uses_the_hosts_runtime() {
    let tracer = new_tracer();
    let mut command = sleeper(&["calls", "500"]);
    command.resume_mode(ResumeMode::Syscall);
    let (tracee, mut child) = start(&tracer, &mut command).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a socket");
    let address = listener.local_addr().expect("bound");
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer)
            .await
            .expect("an echo")
    });
    let (to_host, mut from_task) = mpsc::channel::<u32>(1);
    let (to_task, mut from_host) = mpsc::channel::<u32>(1);
    let counter = tokio::spawn(async move {
        while let Some(number) = from_task.recv().await {
            if to_task.send(number + 1).await.is_err() {
                break;
            }
        }
    });
    let task = tracee.spawn_pinned(move |mut tracee| async move {
        let mut stream = tokio::net::TcpStream::connect(address)
            .await
            .expect("a server");
        // Not Send.
        let calls = Rc::new(Cell::new(0_u32));
        while let Some(event) = tracee.next().await {
            if !matches!(event, Event::SyscallEnter(_)) {
                continue;
            }
            calls.set(calls.get() + 1);
            if calls.get().is_multiple_of(50) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                to_host.send(calls.get()).await.expect("a receiver");
                assert_eq!(from_host.recv().await, Some(calls.get() + 1));
                let sent = calls.get().to_ne_bytes();
                stream.write_all(&sent).await.expect("an echo");
                let mut back = [0; 4];
                stream.read_exact(&mut back).await.expect("an echo");
                assert_eq!(back, sent);
            }
        }
        calls.get()
    });
    let calls = soon("the task", task).await.expect("no panic");
    assert!(calls > 500, "{calls}");
    assert_eq!(
        soon("echo", echo).await.expect("no panic"),
        u64::from(calls / 50) * 4
    );
    soon("counter", counter).await.expect("no panic");
    assert!(
        soon("the end", child.wait())
            .await
            .expect("status")
            .success()
    );
}

#[tokio::test]
async fn a_current_thread_runtime_serves_pinned_tasks() {
    uses_the_hosts_runtime().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multi_thread_runtime_serves_pinned_tasks() {
    uses_the_hosts_runtime().await;
}

#[test]
fn without_a_runtime_requests_still_work() {
    futures::executor::block_on(async {
        let tracer = new_tracer();
        let spawned = tracer.spawn(&mut sleeper(&["calls", "100"])).await;
        let (tracee, mut child) = spawned.expect("spawn");
        let task = tracee.spawn_pinned(|mut tracee| async move {
            let mut steps = 0;
            tracee.next().await.expect("its first event");
            while steps < 100 {
                tracee.step().await.expect("held");
                assert!(matches!(tracee.wait().await, Some(Event::Step)));
                tracee.getregs().await.expect("held");
                steps += 1;
            }
            while tracee.next().await.is_some() {}
            steps
        });
        assert_eq!(task.await.expect("no panic"), 100);
        assert!(child.wait().await.expect("status").success());
    });
}

// A panic is its task's alone.
#[tokio::test]
async fn a_panic_ends_one_task() {
    let tracer = new_tracer();
    let (bystander, mut other) = start(&tracer, &mut sleeper(&["calls", "5000"])).await;
    let bystander = bystander.spawn_pinned(|mut tracee| async move {
        tracee.set_resume_mode(ResumeMode::Syscall);
        tracee.fuse().count().await
    });
    for _ in 0..20 {
        let (tracee, mut child) = start(&tracer, &mut sleeper(&["exit", "5"])).await;
        let task = tracee.spawn_pinned(|mut tracee| async move {
            tracee.syscall().await.expect("held");
            tracee.wait().await.expect("a stop");
            std::panic::panic_any(Tid::from_raw(42));
        });
        let result: Result<(), PinnedError> = soon("the panic", task).await;
        let Err(PinnedError::Panicked(panic)) = result else {
            panic!("{result:?}");
        };
        let payload = panic.into_payload();
        assert_eq!(payload.downcast_ref(), Some(&Tid::from_raw(42)));
        // Its tracee was detached and runs on.
        let status = soon("its end", child.wait()).await.expect("a status");
        assert_eq!(status.code(), Some(5));
    }
    assert!(soon("the other task", bystander).await.expect("no panic") > 10_000);
    assert!(
        soon("the other's end", other.wait())
            .await
            .expect("status")
            .success()
    );
}

/// An executor that would stop the tracer thread for ever inside a pinned task.
async fn is_refused(tracer: &Tracer, block: fn(tracehound::Tracee)) {
    let (tracee, mut child) = start(tracer, &mut sleeper(&["exit", "0"])).await;
    let task = tracee.spawn_pinned(move |tracee| async move { block(tracee) });
    let result = soon("the refusal", task).await;
    assert!(
        matches!(result, Err(PinnedError::Panicked(_))),
        "{result:?}"
    );
    // The thread serves others as before.
    assert!(
        soon("its end", child.wait())
            .await
            .expect("status")
            .success()
    );
}

#[tokio::test]
async fn blocking_executors_are_refused() {
    let tracer = new_tracer();
    is_refused(&tracer, |mut tracee| {
        let runtime = tokio::runtime::Handle::current();
        runtime.block_on(async { while tracee.next().await.is_some() {} });
    })
    .await;
    is_refused(&tracer, |mut tracee| {
        futures::executor::block_on(async { while tracee.next().await.is_some() {} });
    })
    .await;
    is_refused(&tracer, |mut tracee| {
        let builder = tokio::runtime::Builder::new_current_thread().build();
        let runtime = std::mem::ManuallyDrop::new(builder.expect("a runtime"));
        runtime.block_on(async { while tracee.next().await.is_some() {} });
    })
    .await;
}

#[test]
fn blocking_executors_are_refused_without_a_runtime() {
    let tracer = new_tracer();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    runtime.block_on(is_refused(&tracer, |mut tracee| {
        futures::executor::block_on(async { while tracee.next().await.is_some() {} });
    }));
}

#[tokio::test]
async fn an_aborted_task_lets_its_tracee_go() {
    let tracer = new_tracer();
    for begun in [false, true] {
        let (tracee, mut child) = start(&tracer, &mut sleeper(&["exit", "6"])).await;
        let (begin, has_begun) = oneshot::channel();
        let task = tracee.spawn_pinned(|tracee| async move {
            let _ = begin.send(());
            std::future::pending::<()>().await;
            drop(tracee);
        });
        if begun {
            soon("its begin", has_begun).await.expect("it runs");
        }
        task.abort();
        let result = soon("the task", task).await;
        assert!(matches!(result, Err(PinnedError::Ended)), "{result:?}");
        let status = soon("its end", child.wait()).await.expect("a status");
        assert_eq!(status.code(), Some(6));
    }
}

#[tokio::test]
async fn a_task_that_nobody_awaits_runs_on() {
    let tracer = new_tracer();
    let (tracee, mut child) = start(&tracer, &mut sleeper(&["exit", "6"])).await;
    let (done, is_done) = oneshot::channel();
    drop(tracee.spawn_pinned(|mut tracee| async move {
        let mut last = None;
        while let Some(event) = tracee.next().await {
            last = Some(event);
        }
        done.send(last).expect("it is awaited");
    }));
    let last = soon("the task", is_done).await.expect("it ran to its end");
    assert!(
        matches!(last, Some(Event::Exited(exited)) if exited.code == 6),
        "{last:?}"
    );
    soon("its end", child.wait()).await.expect("a status");
}

#[tokio::test]
async fn nothing_starts_after_the_shutdown() {
    let tracer = new_tracer();
    let (tracee, _child) = start(&tracer, &mut sleeper(&["exit", "0"])).await;
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    let task = tracee.spawn_pinned(|_| async { panic!("it must not run") });
    let result: Result<(), _> = soon("the task", task).await;
    assert!(matches!(result, Err(PinnedError::Ended)), "{result:?}");
}

/// Counts system calls, for ever, where all can see.
async fn counts(mut tracee: tracehound::Tracee, count: &'static std::sync::atomic::AtomicU64) {
    while tracee.next().await.is_some() {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

// Scenario 45: what is always ready does not keep the others waiting.
#[tokio::test]
async fn busy_tasks_of_one_thread_share_it() {
    use std::sync::atomic::{AtomicU64, Ordering};
    const EVENTS: u64 = 10_000;
    static COUNTS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
    static TURNS: AtomicU64 = AtomicU64::new(0);
    let tracer = builder().threads(1).build().expect("a tracer");
    let mut controls = Vec::new();
    let mut tasks = Vec::new();
    for count in &COUNTS[..3] {
        let mut command = sleeper(&["calls"]);
        command.resume_mode(ResumeMode::Syscall);
        let (tracee, child) = start(&tracer, &mut command).await;
        controls.push((tracee.control(), child));
        tasks.push(tracee.spawn_pinned(move |tracee| counts(tracee, count)));
    }
    // One that is always ready without any tracee.
    let (tracee, child) = start(&tracer, &mut sleeper(&["pause"])).await;
    let turns = tracee.spawn_pinned(|tracee| async move {
        loop {
            TURNS.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            let _ = &tracee;
        }
    });
    // And one whose requests come from elsewhere.
    let (elsewhere, _held) = start(&tracer, &mut sleeper(&["pause"])).await;
    let counted = || {
        COUNTS[..3]
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
    };
    // Nobody ever comes to an end: one that got no turn beside the others would never get there.
    let all_get_on = async {
        while counted().any(|count| count < EVENTS)
            || TURNS.load(Ordering::Relaxed) < 100
            || COUNTS[3].load(Ordering::Relaxed) < 100
        {
            elsewhere.getregs().await.expect("held");
            COUNTS[3].fetch_add(1, Ordering::Relaxed);
        }
    };
    soon("turns for all", all_get_on).await;
    turns.abort();
    drop(soon("the turns", turns).await);
    for (control, child) in controls {
        control.kill().expect("it lives");
        drop(child);
    }
    for task in tasks {
        soon("a task", task).await.expect("no panic");
    }
    drop(child);
}

#[tokio::test]
async fn a_tree_gives_the_exit_status_of_its_root() {
    let tracer = new_tracer();
    for code in [0, 9] {
        let mut command = sleeper(&["exit", &code.to_string()]);
        let traced = tracer.trace(place(&mut command), |mut tracee| async move {
            // Not Send.
            let events = Rc::new(Cell::new(0));
            while tracee.next().await.is_some() {
                events.set(events.get() + 1);
            }
        });
        let status = soon("the tree", traced).await.expect("traced");
        assert_eq!(status.code(), Some(code));
    }
    let missing = tracer.trace(Command::new("/no/such/program"), |_| async {});
    let error = soon("the refusal", missing)
        .await
        .expect_err("no such program");
    assert!(matches!(error, Error::Spawn(error) if error.kind() == std::io::ErrorKind::NotFound));
}

#[tokio::test]
async fn a_panic_in_a_tree_comes_after_the_others_ends() {
    let tracer = new_tracer();
    let (ends, mut ended) = mpsc::unbounded_channel();
    let mut command = sleeper(&["births", "10"]);
    let traced = tracer.trace(place(&mut command), move |mut tracee| {
        let ends = ends.clone();
        async move {
            let mut births = 0;
            while let Some(event) = tracee.next().await {
                births += usize::from(event.birth().is_some());
                assert!(births < 7, "the seventh birth");
            }
            ends.send(tracee.tid()).expect("a receiver");
        }
    });
    let panic = soon("the tree", tokio::spawn(traced))
        .await
        .expect_err("a panic");
    let payload = panic.into_panic();
    let text = payload.downcast_ref::<&str>().copied().map(str::to_string);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    assert_eq!(text.as_deref(), Some("the seventh birth"));
    let mut others = 0;
    while ended.recv().await.is_some() {
        others += 1;
    }
    // The seventh was named when the panic came: it is let go, or has its own task.
    assert!((6..=7).contains(&others), "{others}");
}

// Scenario 48
#[tokio::test]
async fn a_tree_whose_future_is_dropped_runs_on() {
    let tracer = new_tracer();
    let (named, mut names) = mpsc::unbounded_channel();
    let mut command = sleeper(&["births", "1000000"]);
    command.kill_on_drop(false);
    let traced = tracer.trace(place(&mut command), move |mut tracee| {
        named.send(tracee.tid()).expect("a receiver");
        async move { while tracee.next().await.is_some() {} }
    });
    let traced = tokio::spawn(traced);
    let root = soon("the root", names.recv()).await.expect("a tid");
    for _ in 0..10 {
        soon("more", names.recv()).await.expect("a tid");
    }
    traced.abort();
    assert!(traced.await.expect_err("aborted").is_cancelled());
    until("a free process", || {
        !is_traced(root) && matches!(state(root), Some('R' | 'S'))
    })
    .await;
    // The logic is gone: nobody can name anything any more.
    while soon("the end of names", names.recv()).await.is_some() {}
    tracehound_sys::signal_process(root, Signal::SIGKILL).expect("it lives");
    until("the end", || state(root).is_none()).await;
}

// A pinned task may use tracees of other threads of its tracer.
#[tokio::test]
async fn a_task_may_use_a_tracee_of_another_thread() {
    let tracer = builder().threads(2).build().expect("a tracer");
    let (first, mut one) = start(&tracer, &mut sleeper(&["exit", "1"])).await;
    let (mut second, mut two) = start(&tracer, &mut sleeper(&["exit", "2"])).await;
    let thread = |tid| tracehound_sys::proc::status(tid).expect("held").tracer;
    assert_ne!(
        thread(first.tid()),
        thread(second.tid()),
        "the emptiest is taken"
    );
    let task = first.spawn_pinned(|mut first| async move {
        let mut events = 0;
        for tracee in [&mut second, &mut first] {
            tracee.set_resume_mode(ResumeMode::Syscall);
            assert!(tracee.getregs().await.is_ok());
            while tracee.next().await.is_some() {
                events += 1;
            }
        }
        events
    });
    assert!(soon("the task", task).await.expect("no panic") > 10);
    assert_eq!(
        soon("the end", one.wait()).await.expect("status").code(),
        Some(1)
    );
    assert_eq!(
        soon("the end", two.wait()).await.expect("status").code(),
        Some(2)
    );
}

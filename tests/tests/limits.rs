//! As many tracees as there may be, and what happens then.

use std::os::unix::process::ExitStatusExt;

use futures::StreamExt;
use tokio::io::AsyncReadExt;
use tracehound::Unwatched;
use tracehound::{Child, Command, Error, Event, LetGo, Signal, Stdio, Sysno, Tid, Tracee, Tracer};
use tracehound_sys::{proc, signal_process};
use tracehound_tests::{
    Family, Ward, builder, is_traced, line, lines, next, place, poll_and_drop, soon, start, state,
    until,
};

const KEEPER: &str = env!("CARGO_BIN_EXE_keeper");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

fn limited(most: usize, how: LetGo) -> Tracer {
    let mut builder = builder();
    builder.max_tracees(most).let_go(how);
    builder.build().expect("a tracer")
}

fn sleeper(args: &[&str]) -> Command {
    let mut command = Command::new(SLEEPER);
    command.args(args).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

async fn refused(tracer: &Tracer) {
    let spawned = soon("spawn", tracer.spawn(place(&mut sleeper(&[])))).await;
    let most = match spawned {
        Err(Error::TooManyTracees { most }) => most,
        other => panic!("{other:?}"),
    };
    assert_eq!(most, 3);
    let traced = soon("trace", tracer.trace(&mut sleeper(&[]), |_| async {})).await;
    assert!(
        matches!(traced, Err(Error::TooManyTracees { .. })),
        "{traced:?}"
    );
}

#[tokio::test]
async fn nothing_is_started_at_the_limit() {
    let tracer = limited(3, LetGo::Detach);
    // What fails, or is dropped, gives its place back.
    for polls in 0..6 {
        let missing = soon("spawn", tracer.spawn(Command::new("/nonexistent"))).await;
        assert!(matches!(missing, Err(Error::Spawn(_))), "{missing:?}");
        drop(poll_and_drop(tracer.spawn(place(&mut sleeper(&[]))), polls).await);
    }
    until("all places are free", || tracer.metrics().tracees == 0).await;
    let mut all: Vec<(Tracee, Child)> = Vec::new();
    for _ in 0..3 {
        all.push(start(&tracer, &mut sleeper(&[])).await);
    }
    refused(&tracer).await;
    let ward = Ward::start([KEEPER, SLEEPER, "threads", "3"]).await;
    let tasks = || proc::tasks(ward.pid()).expect("it lives");
    until("threads", || tasks().len() == 3).await;
    let attach = async || soon("attach", tracer.attach(ward.pid())).await;
    let attached = attach().await;
    assert!(
        matches!(attached, Err(Error::TooManyTracees { .. })),
        "{attached:?}"
    );
    // A detach makes room, and a death does; for two of three threads is not enough.
    let (mut tracee, _child) = all.pop().expect("three");
    soon("detach", tracee.detach()).await.expect("it lives");
    let (mut tracee, mut child) = all.pop().expect("two");
    soon("its end", child.kill()).await.expect("a status");
    next!(tracee, Event::Killed(_));
    let attached = attach().await;
    assert!(
        matches!(attached, Err(Error::TooManyTracees { .. })),
        "{attached:?}"
    );
    until("no thread is left attached", || {
        !tasks().into_iter().any(is_traced)
    })
    .await;
    drop(all);
    until("all places are free", || tracer.metrics().tracees == 0).await;
    let mut process = attach().await.expect("room for three");
    refused(&tracer).await;
    soon("detach", process.detach()).await.expect("it lives");
    drop(start(&tracer, &mut sleeper(&[])).await);
}

#[test]
fn no_tracees_are_no_limit() {
    let built = Tracer::builder().max_tracees(0).build();
    assert!(matches!(built, Err(Error::InvalidArgument(_))), "{built:?}");
}

/// The processes of this test's bombs.
fn bombs(name: &str) -> Vec<Tid> {
    let own = format!("\0{name}\0{}\0", std::process::id());
    let all = std::fs::read_dir("/proc").expect("/proc");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let ours = |pid: &i32| {
        let args = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        args.ends_with(own.as_bytes())
    };
    pids.filter(ours).map(Tid::from_raw).collect()
}

/// Follows a bomb until nobody of it makes anything any more; gives how many births there were
/// beyond the limit, and who is left.
async fn explode(tracer: &Tracer, name: &str, most: usize) -> (usize, Vec<Tid>, Family) {
    let own = std::process::id().to_string();
    let (tracee, mut child) = start(tracer, &mut sleeper(&["bomb", name, &own])).await;
    let mut out = child.stdout.take().expect("piped");
    // Killed at the end of the test.
    std::mem::forget(child);
    let mut family = Family::of(tracee);
    let mut over = 0;
    let mut nothing = Vec::new();
    let mut all_rest = std::pin::pin!(out.read_to_end(&mut nothing));
    loop {
        // Whoever makes no more has closed its output, and so have the dead.
        let event = tokio::select! {
            event = family.next() => event,
            closed = &mut all_rest => {
                closed.expect("a pipe");
                break;
            }
        };
        let (_, event) = event.expect("somebody is left");
        over += usize::from(event.birth().is_some_and(|birth| birth.over_limit));
        let traced = bombs(name)
            .into_iter()
            .filter(|pid| is_traced(*pid))
            .count();
        assert!(traced <= most + 2 * most, "{traced} are traced");
    }
    (over, bombs(name), family)
}

// A fork bomb: those beyond the limit run on untraced.
#[tokio::test]
async fn a_fork_bomb_runs_on_beyond_the_limit() {
    const MOST: usize = 10;
    let tracer = limited(MOST, LetGo::Detach);
    // The name tells this bomb from others, and is the number of its generations.
    let (over, left, family) = explode(&tracer, "6", MOST).await;
    assert!(over > 0);
    assert_eq!(tracer.metrics().over_limit, over as u64);
    // Who is let go runs, and rests, before the tracer has written that down.
    until("no more than that", || tracer.metrics().tracees == MOST).await;
    let all = 3_usize.pow(6);
    until("all of them", || bombs("6").len() == all).await;
    until("the others run free", || {
        let traced = bombs("6").into_iter().filter(|pid| is_traced(*pid)).count();
        traced == MOST && bombs("6").iter().all(|pid| state(*pid) != Some('t'))
    })
    .await;
    drop(left);
    drop(family);
    for pid in bombs("6") {
        signal_process(pid, Signal::SIGKILL).expect("it lives");
    }
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

// The same, where those are killed that are let go.
#[tokio::test]
async fn a_fork_bomb_does_not_get_beyond_the_limit() {
    const MOST: usize = 10;
    let tracer = limited(MOST, LetGo::Kill);
    let (over, left, family) = explode(&tracer, "5", MOST).await;
    assert!(over > 0);
    assert!(left.len() <= MOST, "{left:?}");
    assert!(left.iter().all(|pid| is_traced(*pid)));
    drop(family);
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    until("nobody is left", || bombs("5").is_empty()).await;
}

// Threads that come and go: those beyond the limit are not seen, and go on.
#[tokio::test]
async fn a_storm_of_threads_goes_on() {
    let tracer = limited(4, LetGo::Detach);
    let (tracee, mut child) = start(&tracer, &mut sleeper(&["chains", "12"])).await;
    let mut lines = lines(&mut child);
    let pid = child.id();
    let (mut over, mut taken, mut ready) = (0, 0, false);
    let mut family = Family::of(tracee);
    // The thread that makes the chains is traced, too: it goes on only while it is asked. When they
    // are all there, one or two of them may be traced for ever without meeting the limit.
    while !ready || over == 0 || taken < 20 {
        let event = tokio::select! {
            event = family.next() => event.expect("it goes on").1,
            said = lines.next_line(), if !ready => {
                ready = said.expect("a pipe").as_deref() == Some("ready");
                continue;
            }
            // The last event may come before one that is let go has lost its tracer.
            () = tokio::time::sleep(std::time::Duration::from_millis(20)), if ready => {
                let tids = proc::tasks(pid).expect("it lives");
                if tids.into_iter().filter(|t| is_traced(*t)).count() < 2 {
                    // All that were taken have ended: the chains go on without a tracer.
                    break;
                }
                continue;
            }
        };
        match event.birth() {
            Some(birth) if birth.over_limit => over += 1,
            Some(_) => taken += 1,
            None => {}
        }
    }
    assert!(over > 0);
    drop(family);
    let alive = || proc::tasks(pid).expect("it lives");
    until("free threads", || !alive().into_iter().any(is_traced)).await;
    let before = alive();
    until("new threads", || {
        alive().into_iter().any(|tid| !before.contains(&tid))
    })
    .await;
    soon("its end", child.kill()).await.expect("a status");
}

// With a filter nobody can be detached.
#[tokio::test]
async fn one_with_a_filter_is_killed_beyond_the_limit() {
    for unwatched in [Unwatched::Kill, Unwatched::Pass] {
        let tracer = limited(1, LetGo::Detach);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "/bin/true; echo $?"]);
        command.stdout(Stdio::piped());
        command
            .trace_syscalls([Sysno::getppid])
            .unwatched(unwatched);
        let (mut tracee, mut child) = start(&tracer, &mut command).await;
        let mut over = 0;
        while let Some(event) = soon("an event", tracee.next()).await {
            over += usize::from(event.birth().is_some_and(|birth| birth.over_limit));
        }
        assert_eq!(over, 1);
        assert_eq!(line(&mut lines(&mut child)).await, "137");
        let status = soon("its end", child.wait()).await.expect("a status");
        assert_eq!(status.signal(), None);
    }
}

//! A host that gives up its user after its tracer was started: who is traced stays so, can be
//! killed though kill(2) is not permitted any more, and what it may do now works.

use futures::StreamExt;
use tracehound::{Command, Error, Event, ResumeMode, Stdio};
use tracehound_sys::signal_process;
use tracehound_sys::{Errno, Signal};
use tracehound_tests::{block_on, new_tracer, place, sibling, soon, start};

const NOBODY: u32 = 65_534;

fn sleeper(what: &str) -> Command {
    let mut command = Command::new(sibling("sleeper"));
    command.arg(what).stdout(Stdio::null());
    command
}

async fn check() {
    let tracer = new_tracer();
    let (mut running, mut running_child) = start(&tracer, place(&mut sleeper("spin"))).await;
    running.cont().await.expect("held");
    let (mut held, mut held_child) = start(&tracer, place(&mut sleeper("spin"))).await;

    nix::unistd::setresuid(NOBODY.into(), NOBODY.into(), NOBODY.into()).expect("root may");
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
    // What this is about.
    assert_eq!(
        signal_process(held.tid(), Signal::SIGWINCH),
        Err(Errno::EPERM)
    );

    held.getregs().await.expect("held");
    held.step().await.expect("held");
    let step = soon("a step", held.next()).await;
    assert!(matches!(step, Some(Event::Step)), "{step:?}");
    running.control().interrupt().await.expect("it lives");
    let stop = soon("its stop", running.wait()).await;
    assert!(matches!(stop, Some(Event::Interrupted)), "{stop:?}");
    running.cont().await.expect("held");

    // One that runs, and one that is held; by its handle, and by its child's.
    running.control().kill().expect("it lives");
    let end = soon("its end", running.next()).await;
    assert!(matches!(end, Some(Event::Killed(_))), "{end:?}");
    soon("the child", running_child.wait())
        .await
        .expect("a status");
    soon("the child", held_child.kill())
        .await
        .expect("a status");

    let (mut own, mut child) =
        start(&tracer, sleeper("signals").resume_mode(ResumeMode::Syscall)).await;
    let event = soon("a stop", own.next()).await;
    assert!(event.is_some_and(|event| !event.is_terminal()));
    soon("its end", child.kill()).await.expect("a status");

    // Somebody else's.
    let refused = soon("an answer", tracer.attach(1).into_future()).await;
    assert!(
        matches!(refused, Err(Error::NotPermitted { .. })),
        "{refused:?}"
    );
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

fn main() {
    block_on(check());
}

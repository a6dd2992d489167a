//! A host that does something about SIGCHLD, as its first argument says.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use tracehound::{Command, Error, Event, ResumeMode, Stdio, Tracer};
use tracehound_tests::{
    block_on, dispositions, new_tracer, place, set_action, sibling, soon, trace_births,
};

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_signal: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

fn sleeper(args: &[&str]) -> Command {
    let mut command = Command::new(sibling("sleeper"));
    command.args(args).stdout(Stdio::null());
    command
}

/// Every system call has an entry and an exit, in this order.
async fn calls(tracer: &Tracer) {
    let mut command = sleeper(&["calls", "500"]);
    command.resume_mode(ResumeMode::Syscall);
    let (mut tracee, mut child) = tracer.spawn(place(&mut command)).await.expect("spawn");
    let (mut entered, mut calls, mut code) = (false, 0, None);
    while let Some(event) = soon("an event", tracee.next()).await {
        match event {
            Event::SyscallEnter(enter) => {
                assert!(!std::mem::replace(&mut entered, true), "{enter}");
                calls += usize::from(enter.call.nr == libc::SYS_getppid as u64);
            }
            Event::SyscallExit(exit) => {
                let execve = exit.call.is_none();
                assert!(std::mem::take(&mut entered) || execve, "{exit}");
            }
            Event::Exited(exited) => code = Some(exited.code),
            _ => {}
        }
    }
    assert_eq!((calls, code), (500, Some(0)));
    let status = soon("the status", child.wait()).await.expect("a status");
    assert!(status.success());
}

async fn statuses(tracer: &Tracer, keeps_statuses: bool) {
    for code in [0, 3] {
        let mut command = sleeper(&["exit", &code.to_string()]);
        let traced = tracer.trace(place(&mut command), |mut tracee| async move {
            while tracee.next().await.is_some() {}
        });
        let status = soon("the end", traced).await.expect("a status");
        assert_eq!(status.code(), Some(code));
    }
    let (tracee, mut child) = tracer.spawn(&mut sleeper(&[])).await.expect("spawn");
    child.start_kill();
    let status = soon("the end", child.wait()).await.expect("a status");
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    drop(tracee);
    // Detached: an ordinary child again, whose status the kernel throws away if the host
    // has told it so. Its end is noticed in any case.
    let (tracee, mut child) = tracer
        .spawn(&mut sleeper(&["exit", "5"]))
        .await
        .expect("spawn");
    drop(tracee);
    match soon("the end", child.wait()).await {
        Ok(status) if keeps_statuses => assert_eq!(status.code(), Some(5)),
        Err(Error::System { .. }) if !keeps_statuses => {}
        other => panic!("{other:?}"),
    }
}

fn main() {
    let how = std::env::args().nth(1).expect("how");
    let handler = count as *const () as libc::sighandler_t;
    let (action, flags) = match how.as_str() {
        "handler" => (handler, libc::SA_RESTART),
        "handler-without-restart" => (handler, 0),
        "handler-nocldstop" => (handler, libc::SA_RESTART | libc::SA_NOCLDSTOP),
        "ignored" => (libc::SIG_IGN, 0),
        "nocldwait" => (libc::SIG_DFL, libc::SA_NOCLDWAIT),
        _ => panic!("{how}?"),
    };
    set_action(libc::SIGCHLD, action, flags);
    let before = dispositions()[libc::SIGCHLD as usize - 1];
    block_on(async {
        let tracer = new_tracer();
        calls(&tracer).await;
        trace_births(&tracer).await;
        statuses(&tracer, action == handler).await;
        soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    });
    assert_eq!(before, dispositions()[libc::SIGCHLD as usize - 1]);
    assert_eq!(HANDLED.load(Ordering::Relaxed) > 0, action == handler);
}

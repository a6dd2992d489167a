//! A host with few descriptors, or few threads, left: what cannot be had is said, what is traced
//! goes on, and all works again when there are some.

use futures::StreamExt;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracehound::{Command, Error, Event, ResumeMode, Stdio, Tracer};
use tracehound_tests::{block_on, builder, new_tracer, place, sibling, soon, start, trace_births};

const NOBODY: u32 = 65_534;

fn limit(resource: Resource, most: u64) {
    let (_, hard) = getrlimit(resource).expect("a limit");
    setrlimit(resource, most, hard).expect("a lower limit");
}

/// Killed in the end.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sleeper(what: &str) -> Command {
    let mut command = Command::new(sibling("sleeper"));
    command.arg(what).stdout(Stdio::null());
    command
}

/// Whether it says that a descriptor was not to be had.
fn is_emfile(error: &Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>();
        if io.and_then(std::io::Error::raw_os_error) == Some(libc::EMFILE)
            || error.downcast_ref() == Some(&tracehound_sys::Errno::EMFILE)
        {
            return true;
        }
        source = error.source();
    }
    false
}

async fn descriptors() {
    limit(Resource::RLIMIT_NOFILE, 64);
    let tracer = new_tracer();
    let mut command = sleeper("spin");
    let (mut tracee, mut child) = start(&tracer, place(&mut command)).await;
    let ward = std::process::Command::new(sibling("sleeper"))
        .arg("spin")
        .spawn();
    let ward = Killed(ward.expect("a child that is not traced"));
    let pid = i32::try_from(ward.0.id()).expect("a pid");

    // Those that are open stay so.
    limit(Resource::RLIMIT_NOFILE, 0);
    assert!(std::fs::File::open("/dev/null").is_err());
    // What is traced needs none.
    for _ in 0..100 {
        tracee.step().await.expect("held");
        let step = soon("a step", tracee.next()).await;
        assert!(matches!(step, Some(Event::Step)), "{step:?}");
        tracee.getregs().await.expect("held");
    }
    let piped = tracer.spawn(Command::new("true").stdout(Stdio::piped()));
    let error = soon("an answer", piped).await.expect_err("no descriptor");
    assert!(is_emfile(&error), "{error:?}");
    let attach = tracer.attach(pid).own_child(true).into_future();
    let error = soon("an answer", attach).await.expect_err("no descriptor");
    assert!(is_emfile(&error), "{error:?}");
    // Another tracer needs none either.
    let second = builder().build().expect("a tracer");
    soon("shutdown", second.shutdown()).await.expect("shutdown");

    limit(Resource::RLIMIT_NOFILE, 64);
    let attach = tracer.attach(pid).own_child(true).into_future();
    let mut process = soon("attach", attach).await.expect("attached");
    soon("detach", process.detach()).await.expect("detached");
    trace_births(&tracer).await;
    soon("its end", child.kill()).await.expect("a status");
    drop(ward);
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

async fn threads() {
    let tracer = new_tracer();
    let (mut tracee, mut child) =
        start(&tracer, sleeper("signals").resume_mode(ResumeMode::Syscall)).await;
    // Root is not limited. All threads change, and count from here on.
    nix::unistd::setresuid(NOBODY.into(), NOBODY.into(), 0.into()).expect("root may");
    limit(Resource::RLIMIT_NPROC, 1);
    assert!(std::thread::Builder::new().spawn(|| ()).is_err());
    let event = soon("a stop", tracee.next()).await;
    assert!(event.is_some_and(|event| !event.is_terminal()));
    let error = Tracer::builder().build().expect_err("no thread");
    assert!(matches!(error, Error::System { .. }), "{error:?}");
    let spawn = tracer.spawn(Command::new("true"));
    let error = soon("an answer", spawn).await.expect_err("no process");
    assert!(matches!(error, Error::Spawn(_)), "{error:?}");
    nix::unistd::setresuid(0.into(), 0.into(), 0.into()).expect("it was kept");
    trace_births(&tracer).await;
    soon("its end", child.kill()).await.expect("a status");
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("descriptors") => block_on(descriptors()),
        Some("threads") => block_on(threads()),
        what => panic!("{what:?}"),
    }
}

//! A host with tokio's handler of SIGCHLD, before and after it was given `SA_NOCLDSTOP`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracehound::{Command, NoCldStop, ResumeMode, Stdio, Tracer, set_nocldstop};
use tracehound_tests::{new_tracer, place, sibling, soon};

/// tokio's.
static HANDLER: OnceLock<libc::sigaction> = OnceLock::new();

static HANDLED: AtomicUsize = AtomicUsize::new(0);

/// Counts, and goes on with tokio's.
extern "C" fn count(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
    if let Some(handler) = HANDLER.get() {
        // SAFETY: it was installed with SA_SIGINFO, for this signal.
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            unsafe { std::mem::transmute(handler.sa_sigaction) };
        handler(signal, info, context);
    }
}

fn action(new: Option<&libc::sigaction>) -> libc::sigaction {
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: zero is a value of every field.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: both are live or null.
    let result = unsafe { libc::sigaction(libc::SIGCHLD, new, &raw mut old) };
    assert_eq!(result, 0);
    old
}

/// How often the handler runs while a tracee makes 500 calls, and how many stops there are.
async fn calls(tracer: &Tracer) -> (usize, usize) {
    let before = HANDLED.load(Ordering::Relaxed);
    let mut command = Command::new(sibling("sleeper"));
    command.args(["calls", "500"]).stdout(Stdio::null());
    command.resume_mode(ResumeMode::Syscall);
    let (mut tracee, mut child) = tracer.spawn(place(&mut command)).await.expect("spawn");
    let mut stops = 0;
    while soon("an event", tracee.next()).await.is_some() {
        stops += 1;
    }
    let status = soon("the status", child.wait()).await.expect("a status");
    assert!(status.success());
    (HANDLED.load(Ordering::Relaxed) - before, stops)
}

/// The host's own child: its death is told of.
async fn own_child(deaths: &mut Signal) {
    let mut child = tokio::process::Command::new("true").spawn().expect("true");
    soon("the signal", deaths.recv()).await.expect("it comes");
    let status = soon("its end", child.wait()).await.expect("a status");
    assert!(status.success());
}

#[tokio::main]
async fn main() {
    assert_eq!(set_nocldstop(), Ok(NoCldStop::NoHandler));
    assert_eq!(action(None).sa_sigaction, libc::SIG_DFL, "it is left alone");

    let mut deaths = signal(SignalKind::child()).expect("a handler");
    let mut counting = *HANDLER.get_or_init(|| action(None));
    assert_ne!(counting.sa_flags & libc::SA_SIGINFO, 0);
    counting.sa_sigaction = count as *const () as libc::sighandler_t;
    // SAFETY: it changes the mask that it is given.
    unsafe { libc::sigaddset(&raw mut counting.sa_mask, libc::SIGUSR2) };
    action(Some(&counting));

    let tracer = new_tracer();
    let (handled, stops) = calls(&tracer).await;
    assert!(stops > 1000, "{stops}");
    // Those that come while one is pending are one.
    assert!(handled > 2, "{handled} for {stops}");
    own_child(&mut deaths).await;

    let before = action(None);
    assert_eq!(set_nocldstop(), Ok(NoCldStop::Set));
    assert_eq!(set_nocldstop(), Ok(NoCldStop::WasSet));
    let after = action(None);
    assert_eq!(after.sa_sigaction, before.sa_sigaction, "the handler stays");
    assert_eq!(after.sa_flags, before.sa_flags | libc::SA_NOCLDSTOP);
    // SAFETY: they only look.
    let mask = |signal| unsafe { libc::sigismember(&raw const after.sa_mask, signal) };
    assert_eq!((mask(libc::SIGUSR2), mask(libc::SIGUSR1)), (1, 0));

    let (quiet, stops) = calls(&tracer).await;
    assert!(stops > 1000, "{stops}");
    // One death, that of the tracee, which is also a child: at most one for each.
    assert!(quiet <= 2, "{quiet} for {stops}");
    println!("{handled} before, {quiet} after, for {stops} stops");
    while take_one(&mut deaths) {}
    own_child(&mut deaths).await;
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

/// Takes what was told before.
fn take_one(deaths: &mut Signal) -> bool {
    use std::task::{Context, Poll, Waker};
    let mut cx = Context::from_waker(Waker::noop());
    matches!(deaths.poll_recv(&mut cx), Poll::Ready(Some(())))
}

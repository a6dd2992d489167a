//! What the tests share: waiting for a state of the system instead of for time, and
//! looking at processes from outside.

mod cancel;
mod family;
mod host;
mod log;
mod observe;
mod placement;
mod places;
mod random;
mod seizer;
mod stall;
mod threads;
mod ward;

use std::io::{Read, Seek};
use std::time::{Duration, Instant};

#[doc(hidden)]
pub use tracehound;
use tracehound_sys::{Tid, proc};

pub use cancel::poll_and_drop;
pub use family::{Family, History};
pub use host::{
    block_on, dispositions, set_action, sibling, stays_asleep, thread_file, trace_births,
};
pub use log::Log;
pub use observe::{end, if_there_is, line, lines, next_event, next_mark, start, to_the_end};
pub use placement::{builder, new_tracer, place};
pub use places::{in_a_task, in_place, pinned};
pub use random::Random;
pub use seizer::Seizer;
pub use stall::Stall;
pub use threads::{all_in, is_untraced, tasks};
pub use ward::Ward;

/// How long anything may take before a test calls it stuck. Not a measure of speed: it
/// only ends a hang with a message.
pub const STUCK: Duration = Duration::from_secs(60);

/// Waits for a future, and says what was waited for if it never comes.
///
/// # Panics
///
/// If the future is not ready after [`STUCK`].
pub async fn soon<F: IntoFuture>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(STUCK, future.into_future()).await {
        Ok(output) => output,
        Err(_) => panic!("stuck: {what}"),
    }
}

/// Waits until a condition of the system holds that no event tells of.
///
/// # Panics
///
/// If it does not hold after [`STUCK`].
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < STUCK, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The state letter of a thread in `/proc`, or nothing if there is no such thread.
pub fn state(tid: Tid) -> Option<char> {
    proc::status(tid).ok().map(|status| status.state)
}

/// Whether a thread is traced by anybody.
pub fn is_traced(tid: Tid) -> bool {
    proc::status(tid).is_ok_and(|status| status.tracer != Tid::from_raw(0))
}

/// Whether a situation can be made that only root can make; says so if not.
pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("not root: nothing was tested");
    }
    root
}

/// The threads of this process.
///
/// # Panics
///
/// If `/proc` is not there.
pub fn own_threads() -> Vec<Tid> {
    proc::tasks(Tid::current_process()).expect("/proc/self/task")
}

/// How many file descriptors this process has open.
///
/// # Panics
///
/// If `/proc` is not there.
pub fn own_fds() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("/proc/self/fd")
        .count()
}

/// Runs a host program, which checks something that concerns its whole process, and says
/// what is wrong with it.
///
/// # Panics
///
/// If it does not succeed, with what it wrote.
pub async fn run_host<'a>(program: &str, args: impl IntoIterator<Item = &'a str>) {
    // A file, not a pipe: what the host leaves running must not keep this waiting.
    let mut output = tempfile::tempfile().expect("a file");
    let same = || output.try_clone().expect("a descriptor");
    let mut command = tokio::process::Command::new(program);
    command.args(args).kill_on_drop(true);
    command.stdin(std::process::Stdio::null());
    command.stdout(same()).stderr(same());
    // Longer than anything in it, so that it can say itself what it waits for.
    let status = tokio::time::timeout(2 * STUCK, command.status()).await;
    let status = status.map_or_else(
        |_| "stuck".to_string(),
        |s| s.expect("it starts").to_string(),
    );
    let mut text = Vec::new();
    output.rewind().expect("a file");
    output.read_to_end(&mut text).expect("a file");
    assert!(
        status == "exit status: 0",
        "{program}: {status}\n{}",
        String::from_utf8_lossy(&text)
    );
}

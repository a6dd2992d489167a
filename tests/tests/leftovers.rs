//! Nothing is left behind: no descriptor, no thread, no zombie. One test, which counts
//! what its whole process has.

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use tracehound::{Command, Stdio, Tid};
use tracehound_tests::{end, new_tracer, own_fds, own_threads, place, puppet, soon, start, until};

fn failing_commands() -> Vec<Command> {
    let mut bad_directory = Command::new("true");
    bad_directory.current_dir("/nonexistent");
    let mut refused = Command::new("true");
    // SAFETY: makes an error of a number.
    unsafe { refused.pre_exec(|| Err(std::io::Error::from_raw_os_error(libc::EPERM))) };
    vec![
        Command::new("/nonexistent"),
        Command::new("/"),
        Command::new("tr\0ue"),
        bad_directory,
        refused,
    ]
}

/// The threads, apart from the test harness's and the runtime's.
fn tracer_threads() -> Vec<Tid> {
    let name = |tid| std::fs::read_to_string(format!("/proc/self/task/{tid}/comm"));
    let threads = own_threads().into_iter();
    threads
        .filter(|tid| name(*tid).is_ok_and(|name| name.starts_with("tracehound")))
        .collect()
}

// Scenario 1, also 49: a failed spawn and a finished one leave nothing, nor does a tracer.
#[tokio::test]
async fn nothing_is_left_behind() {
    let fds = own_fds();
    for _ in 0..2 {
        let tracer = new_tracer();
        let serving = own_fds();
        for _ in 0..20 {
            for mut command in failing_commands() {
                command.stdin(Stdio::piped()).stdout(Stdio::piped());
                soon("spawn", tracer.spawn(place(&mut command)))
                    .await
                    .expect_err("no spawn");
            }
            // Held at the entry of an exec that then fails.
            let mut command = Command::new("/nonexistent");
            let (mut tracee, _child) = start(&tracer, command.stop_before_exec(true)).await;
            end(&mut tracee).await;
            let mut command = puppet!("exit", 0);
            let (mut tracee, mut child) = start(&tracer, command.stdin(Stdio::piped())).await;
            end(&mut tracee).await;
            soon("wait", child.wait()).await.expect("status");
            // Detached and killed: awaited all the same.
            let (tracee, mut child) = start(&tracer, &mut puppet!("pause")).await;
            drop(tracee);
            soon("kill", child.kill()).await.expect("killed");
        }
        // The spawner has one.
        until("the descriptors are closed", || own_fds() <= serving + 1).await;
        assert!(!tracer_threads().is_empty());
        soon("shutdown", tracer.shutdown()).await.expect("shutdown");
        // A joined thread has ended, but /proc may show it for a moment longer.
        until("its threads are gone", || tracer_threads().is_empty()).await;
        until("so are its descriptors", || own_fds() == fds).await;
    }
    let left = waitpid(None, Some(WaitPidFlag::WNOHANG));
    assert_eq!(left, Err(Errno::ECHILD), "no child, dead or alive");
}

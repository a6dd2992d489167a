//! The signals that end the program.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracehound::Command;

/// Signals that tell a program to end.
const SIGNALS: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// The signals that this program waits for.
#[derive(Debug)]
pub struct Interrupts {
    taken: Vec<(i32, Signal)>,
}

impl Interrupts {
    /// Takes the signals: SIGINT, SIGTERM, SIGHUP, SIGQUIT. Ignored ones stay so, but for the two that a script sends: shells
    /// start what runs in the background with SIGINT ignored.
    ///
    /// # Errors
    ///
    /// Those of sigaction(2) and of tokio's driver.
    pub fn new(ignored: &[i32]) -> io::Result<Self> {
        let asked_for = |number: &i32| {
            matches!(*number, libc::SIGINT | libc::SIGTERM) || !ignored.contains(number)
        };
        let take = |number| Ok((number, signal(SignalKind::from_raw(number))?));
        let taken = SIGNALS.into_iter().filter(asked_for).map(take);
        Ok(Interrupts {
            taken: taken.collect::<io::Result<_>>()?,
        })
    }

    /// The next signal. Cancel safe: no signal is lost.
    pub async fn next(&mut self) -> i32 {
        poll_fn(|cx| {
            for (number, signal) in &mut self.taken {
                if let Poll::Ready(Some(())) = signal.poll_recv(cx) {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Those of the signals that this program was started with ignored.
pub fn ignored() -> Vec<i32> {
    SIGNALS
        .into_iter()
        .filter(|number| is_ignored(*number))
        .collect()
}

fn is_ignored(number: i32) -> bool {
    // SAFETY: zero is a value of every field, and means SIG_DFL.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: no action is given; the present one is written to `action`.
    unsafe { libc::sigaction(number, std::ptr::null(), &raw mut action) };
    action.sa_sigaction == libc::SIG_IGN
}

/// Has the command started with the signals ignored, as it would be without a tracer that
/// takes them.
pub fn restore_in(command: &mut Command, ignored: &[i32]) {
    if ignored.is_empty() {
        return;
    }
    let ignored = ignored.to_vec();
    let ignore = move || {
        for number in &ignored {
            // SAFETY: installs no handler, and takes any number.
            unsafe { libc::signal(*number, libc::SIG_IGN) };
        }
        Ok(())
    };
    // SAFETY: signal(2) is safe between fork and exec; nothing is locked or allocated.
    unsafe { command.pre_exec(ignore) };
}

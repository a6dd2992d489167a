//! A process whose leader has ended.

use std::process::exit;
use std::sync::mpsc;

use crate::{end_thread, exec, hear, pause, say, wait_for_end, wait_for_state};

/// What the leader ends with.
const LEADER_CODE: i32 = 9;

/// Makes two threads and ends. One sleeps; the other says `ready` when the leader is dead,
/// and does what it is told: `exit` ends all, `end` the one that sleeps and then itself,
/// `exec` makes them another program.
pub(crate) fn leaderless(args: &[String]) {
    let leader = std::process::id() as i32;
    let args = args.to_vec();
    let (wake, sleep) = mpsc::channel::<()>();
    let (tell, idler) = mpsc::channel();
    std::thread::spawn(move || {
        // SAFETY: takes nothing.
        tell.send(unsafe { libc::gettid() })
            .expect("the other one listens");
        // An error: the other one is as good as gone.
        let _ = sleep.recv();
        end_thread(0)
    });
    std::thread::spawn(move || {
        wait_for_state(leader, "Z");
        say("ready");
        match hear().as_str() {
            "exit" => exit(6),
            "exec" => exec(&args),
            "end" => {
                drop(wake);
                wait_for_end(idler.recv().expect("its id"));
            }
            _ => pause(),
        }
        end_thread(4)
    });
    end_thread(LEADER_CODE)
}

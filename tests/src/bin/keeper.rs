//! The real parent of a program that is to be attached to: starts it, says its id, and
//! says what waitpid(2) reports of it. Kills it when its own standard input ends.
//!
//! With `hold` as the first argument it waits for nothing: a program that ends stays a
//! zombie.

use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let hold = args.first().is_some_and(|arg| arg == "hold");
    if hold {
        args.remove(0);
    }
    let mut command = Command::new(&args[0]);
    command.args(&args[1..]).stdin(std::process::Stdio::null());
    // SAFETY: prctl is async-signal-safe and takes numbers only.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        })
    };
    let pid = command.spawn().expect("the program starts").id() as i32;
    say(&format!("pid {pid}"));
    std::thread::spawn(move || {
        for _ in std::io::stdin().lock().lines() {}
        // SAFETY: takes numbers only; the program is a child that was not waited for, or
        // this process ends anyway.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        if hold {
            std::process::exit(0);
        }
    });
    if hold {
        loop {
            std::thread::park();
        }
    }
    loop {
        let mut status = 0;
        // SAFETY: the status is live.
        let waited =
            unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED | libc::WCONTINUED) };
        if waited < 0 {
            break;
        }
        let text = if libc::WIFSTOPPED(status) {
            format!("stopped {}", libc::WSTOPSIG(status))
        } else if libc::WIFCONTINUED(status) {
            "continued".to_string()
        } else if libc::WIFEXITED(status) {
            format!("exited {}", libc::WEXITSTATUS(status))
        } else {
            format!("killed {}", libc::WTERMSIG(status))
        };
        say(&text);
    }
}

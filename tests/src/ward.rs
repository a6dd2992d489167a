//! A process that is no child of the test: what a tracer attaches to.
//!
//! The program `keeper` is its real parent, and says what waitpid(2) tells it.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tracehound_sys::Tid;

use crate::soon;

/// A running program with its real parent. It is killed when this is dropped.
#[derive(Debug)]
pub struct Ward {
    // Its standard input is the life line.
    _keeper: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pid: Tid,
    ready: bool,
}

impl Ward {
    /// Starts a program under its keeper, whose path is the first of `command`, and waits
    /// until it says "ready".
    ///
    /// # Panics
    ///
    /// If it does not.
    pub async fn start<'a>(command: impl IntoIterator<Item = &'a str>) -> Ward {
        let mut ward = Ward::start_silent(command).await;
        if !ward.ready {
            ward.expect("ready").await;
        }
        ward
    }

    /// As [`start`](Ward::start), for a program that does not say that it is ready.
    ///
    /// # Panics
    ///
    /// If the keeper does not start.
    pub async fn start_silent<'a>(command: impl IntoIterator<Item = &'a str>) -> Ward {
        let mut command = command.into_iter();
        let mut keeper = Command::new(command.next().expect("a keeper"))
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the keeper starts");
        let stdout = keeper.stdout.take().expect("a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let mut ready = false;
        let pid = loop {
            let line = soon("the keeper's first line", lines.next_line()).await;
            let line = line.expect("text").expect("the pid");
            match line.strip_prefix("pid ") {
                Some(pid) => break pid.parse().expect("a number"),
                // The program may be quicker than its parent.
                None => ready = true,
            }
        };
        Ward {
            _keeper: keeper,
            lines,
            pid: Tid::from_raw(pid),
            ready,
        }
    }

    /// The program's process id.
    pub fn pid(&self) -> Tid {
        self.pid
    }

    /// The next line of the program, or of its parent.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub async fn line(&mut self) -> String {
        let line = soon("a line", self.lines.next_line()).await;
        line.expect("text").expect("a line, not the end")
    }

    /// Waits for this line, which must be the next.
    ///
    /// # Panics
    ///
    /// If it is another.
    pub async fn expect(&mut self, line: &str) {
        assert_eq!(self.line().await, line);
    }
}

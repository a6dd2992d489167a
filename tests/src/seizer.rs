//! Another tracer, in a process of its own: the program `seizer`.

use std::process::Stdio;

use tokio::io::{BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tracehound_sys::Tid;

use crate::{line, soon};

/// Another tracer, of the smallest kind. It is killed when this is dropped.
#[derive(Debug)]
pub struct Seizer {
    process: Child,
    out: Lines<BufReader<ChildStdout>>,
}

impl Seizer {
    /// One that has seized these threads, and lets them go on at every stop.
    ///
    /// # Panics
    ///
    /// If it cannot.
    pub async fn start(program: &str, tids: &[Tid]) -> Seizer {
        Seizer::with(program, &[], tids).await
    }

    /// The same, but it holds them in their exit stops.
    ///
    /// # Panics
    ///
    /// If it cannot.
    pub async fn hold_exits(program: &str, tids: &[Tid]) -> Seizer {
        Seizer::with(program, &["hold-exits"], tids).await
    }

    async fn with(program: &str, options: &[&str], tids: &[Tid]) -> Seizer {
        let mut process = Command::new(program)
            .args(options)
            .args(tids.iter().map(Tid::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let out = process.stdout.take().expect("piped");
        let out = tokio::io::AsyncBufReadExt::lines(BufReader::new(out));
        let mut seizer = Seizer { process, out };
        seizer.says("seized").await;
        seizer
    }

    /// Waits until it says this.
    ///
    /// # Panics
    ///
    /// If it says something else.
    pub async fn says(&mut self, text: &str) {
        assert_eq!(line(&mut self.out).await, text);
    }

    /// Waits until it ends: nobody is left.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub async fn ends(mut self) {
        soon("its end", self.process.wait()).await.expect("status");
    }

    /// Kills it; the kernel lets go whom it traces.
    ///
    /// # Panics
    ///
    /// If it is gone.
    pub fn kill(&mut self) {
        self.process.start_kill().expect("it lives");
    }
}

//! What is logged in a process of tests.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use tracing::Level;

/// The log of this process. Its tests share it, and tell theirs by the ids in it.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Logs whatever is at least as urgent, from the first call in this process on. Later calls
    /// give the same log.
    ///
    /// # Panics
    ///
    /// If the process has another subscriber.
    #[must_use]
    pub fn of(level: Level) -> Log {
        static LOG: OnceLock<Log> = OnceLock::new();
        let start = || {
            let log = Log::default();
            let own = log.clone();
            tracing_subscriber::fmt()
                .with_max_level(level)
                .with_ansi(false)
                .without_time()
                .with_writer(move || own.clone())
                .init();
            log
        };
        LOG.get_or_init(start).clone()
    }

    /// All of it.
    ///
    /// # Panics
    ///
    /// If another thread did while it logged.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

//! Where the lines go.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Standard error or a file. Lines of different threads never mix.
#[derive(Debug)]
pub(crate) struct Output {
    sink: Mutex<Sink>,
}

#[derive(Debug)]
enum Sink {
    Stderr,
    File(BufWriter<File>),
    /// A file that could not be written; that was said once.
    Broken,
}

/// Large enough to hold any line whole.
const BUFFER: usize = 64 * 1024;

impl Output {
    /// Standard error, each line at once.
    pub(crate) fn stderr() -> Self {
        Output {
            sink: Mutex::new(Sink::Stderr),
        }
    }

    /// A new file. What is written is kept back until [`flush`](Output::flush).
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER, File::create(path)?);
        Ok(Output {
            sink: Mutex::new(Sink::File(file)),
        })
    }

    /// Whether standard error has nothing but what the tracer itself has to say.
    pub(crate) fn is_file(&self) -> bool {
        !matches!(*self.lock(), Sink::Stderr)
    }

    /// Writes text that ends with a newline, in one piece.
    pub(crate) fn write(&self, text: &str) {
        let mut sink = self.lock();
        match &mut *sink {
            // There is nobody left to tell.
            Sink::Stderr => drop(io::stderr().lock().write_all(text.as_bytes())),
            Sink::File(file) => {
                let result = file.write_all(text.as_bytes());
                sink.check(result);
            }
            Sink::Broken => {}
        }
    }

    /// Hands over to the system what was kept back.
    pub(crate) fn flush(&self) {
        let mut sink = self.lock();
        if let Sink::File(file) = &mut *sink {
            let result = file.flush();
            sink.check(result);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sink> {
        // A panic elsewhere leaves a sink that can still be written.
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    /// After an error the tracer goes on, without a file.
    fn check(&mut self, result: io::Result<()>) {
        if let Err(error) = result
            && let Sink::File(file) = std::mem::replace(self, Sink::Broken)
        {
            // What could not be written must not be tried again.
            let (_, _) = file.into_parts();
            eprintln!("strace: cannot write the output: {error}");
        }
    }
}

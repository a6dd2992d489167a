//! What the command writes while its terminal is drawn on.

use std::fs::File;
use std::future::pending;
use std::io::{self, IsTerminal, PipeWriter, Read};
use std::os::fd::OwnedFd;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tracehound::{Command, Stdio};

use crate::text;

/// A line that is longer is shown in pieces.
const LONGEST: usize = 4096;

/// As much is read of what was written last; a pipe holds less.
const AT_MOST: u64 = 1 << 20;

/// The reading end of a pipe.
pub(crate) struct Captured {
    /// Nothing if there is no more, or never was any.
    pipe: Option<Receiver>,
    /// The beginning of a line.
    line: Vec<u8>,
}

impl Captured {
    /// Has a command write to a pipe what it would write to a terminal.
    pub(crate) fn new(command: &mut Command) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let same = |writer: &PipeWriter| -> io::Result<Stdio> {
            Ok(Stdio::from(OwnedFd::from(writer.try_clone()?)))
        };
        if io::stdout().is_terminal() {
            command.stdout(same(&writer)?);
        }
        command.stderr(same(&writer)?);
        Ok(Captured {
            pipe: Some(Receiver::from_owned_fd(reader.into())?),
            line: Vec::new(),
        })
    }

    /// The next lines, made harmless; never comes if there are none. Cancel safe: what was
    /// read is kept.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            let Some(pipe) = &mut self.pipe else {
                return pending().await;
            };
            match pipe.read_buf(&mut self.line).await {
                Ok(1..) => {}
                _ => self.pipe = None,
            }
            let lines = self.take_lines();
            if !lines.is_empty() {
                return lines;
            }
        }
    }

    /// What was written until now.
    pub(crate) fn rest(mut self) -> String {
        // From the pipe itself: the runtime may not have heard yet of what came last.
        let pipe = self.pipe.take().map(Receiver::into_nonblocking_fd);
        if let Some(Ok(pipe)) = pipe {
            // Not to the end, but until it would block: who is not traced may hold it.
            let _ = File::from(pipe).take(AT_MOST).read_to_end(&mut self.line);
        }
        self.take_lines()
    }

    /// The lines that are complete. When there is no more, or it is too long, the last one is.
    fn take_lines(&mut self) -> String {
        let newline = self.line.iter().rposition(|&b| b == b'\n');
        let end = match self.pipe.is_none() || self.line.len() > LONGEST {
            true => self.line.len(),
            false => newline.map_or(0, |at| at + 1),
        };
        let rest = self.line.split_off(end);
        let lines = std::mem::replace(&mut self.line, rest);
        let lines = lines.split_inclusive(|&b| b == b'\n').map(harmless);
        lines.collect()
    }
}

/// A line with its end.
fn harmless(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let words = line.split(|&b| b == b'\t').map(text::harmless);
    words.collect::<Vec<_>>().join("    ") + "\n"
}

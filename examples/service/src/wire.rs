//! The bytes of a connection: a client that takes none for too long is given up, and the answers
//! that hyper gives by itself, which have no body, are kept back: the [connection](crate::connection)
//! gives better ones.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// A socket, as hyper sees it.
#[derive(Debug)]
pub(crate) struct Wire {
    tcp: TcpStream,
    /// How long the client may take no bytes.
    patience: Duration,
    /// Runs while bytes wait for it.
    stalled: Option<Pin<Box<Sleep>>>,
    refused: Option<u16>,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream, patience: Duration) -> Self {
        Wire {
            tcp,
            patience,
            stalled: None,
            refused: None,
        }
    }

    /// The status of the answer that was kept back.
    pub(crate) fn refused(&self) -> Option<u16> {
        self.refused
    }

    pub(crate) fn into_tcp(self) -> TcpStream {
        self.tcp
    }

    /// What a write has come to; an error if it has waited for too long.
    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => {
                // Whoever asks again waits as long again.
                stalled.as_mut().reset(Instant::now() + patience);
                let message = "the client takes no bytes";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The status, if this is an answer of hyper's own: an error without a body. Those of the service
/// have one.
fn bodyless_error(bytes: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(bytes).ok()?;
    let status = text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let is_empty = text.ends_with("\r\n\r\n") && text.contains("\r\ncontent-length: 0\r\n");
    (is_empty && (400..500).contains(&status)).then_some(status)
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(status) = bodyless_error(buf) {
            self.refused = Some(status);
            return Poll::Ready(Ok(buf.len()));
        }
        let wrote = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.wrote(cx, wrote)
    }

    // Not vectored: an answer's head and body come in one piece.

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::bodyless_error;

    #[test]
    fn only_answers_without_a_body_are_kept_back() {
        let own = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\
            connection: close\r\n\r\n";
        assert_eq!(bodyless_error(own.as_bytes()), Some(431));
        for other in [
            "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 30\r\n\r\n",
            "HTTP/1.1 4",
            "HTTP/1.1 é00",
            "data: HTTP/1.1 400 \r\ncontent-length: 0\r\n\r\n",
            "",
        ] {
            assert_eq!(bodyless_error(other.as_bytes()), None, "{other}");
        }
    }
}

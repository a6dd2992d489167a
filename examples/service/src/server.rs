//! The server: its socket, its connections, and how it goes down.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracehound::Tracer;

use crate::api;
use crate::config::Config;
use crate::registry::Registry;

/// How long connections have to end.
const GRACE: Duration = Duration::from_secs(2);

/// What the kernel keeps for a reader that does not read. More would only hide that it is slow.
const SEND_BUFFER: usize = 64 * 1024;

/// A service that listens.
#[derive(Debug)]
pub struct Server {
    registry: Arc<Registry>,
    connections: Connections,
    address: SocketAddr,
}

impl Server {
    /// Starts the tracer, and listens. Inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// Those of listening, and of [`Tracer::new`].
    pub async fn bind(config: Config) -> io::Result<Self> {
        let tcp = TcpListener::bind(config.listen).await?;
        let address = tcp.local_addr()?;
        let tracer = Tracer::builder().threads(config.tracer_threads).build()?;
        let most = config.max_connections.min(Semaphore::MAX_PERMITS);
        let connections = Connections {
            tcp,
            places: Arc::new(Semaphore::new(most)),
        };
        Ok(Server {
            registry: Arc::new(Registry::new(config, tracer)),
            connections,
            address,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`. Then it accepts no more, ends the streams, kills commands, lets
    /// attached processes run on, and ends the tracer.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let registry = Arc::clone(&self.registry);
        let mut stopped = registry.closing();
        let stop = async move {
            stop.await;
            registry.close();
        };
        let routes = api::routes(Arc::clone(&self.registry));
        let serve = axum::serve(self.connections, routes).with_graceful_shutdown(stop);
        let late = async {
            // An error: it has ended otherwise.
            let _ = stopped.wait_for(|closing| *closing).await;
            tokio::time::sleep(GRACE).await;
        };
        let served = tokio::select! {
            served = serve => served,
            // Somebody does not read what is left.
            () = late => Ok(()),
        };
        self.registry.close();
        self.registry.end().await;
        served
    }
}

/// A listener that has no more than so many connections at a time. Others wait in the kernel.
#[derive(Debug)]
struct Connections {
    tcp: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (tcp, address) = Listener::accept(&mut self.tcp).await;
        // Without these it works, only not as well.
        let _ = tcp.set_nodelay(true);
        let _ = setsockopt(&tcp, sockopt::SndBuf, &SEND_BUFFER);
        (Connection { tcp, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// A connection, which gives its place back in the end.
#[derive(Debug)]
struct Connection {
    tcp: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

//! The server: its socket, its connections, and how it goes down.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracehound::Tracer;

use crate::api;
use crate::config::Config;
use crate::connection::{Patience, serve};
use crate::registry::Registry;

/// How long connections have to end.
const GRACE: Duration = Duration::from_secs(2);

/// What the kernel keeps for a reader that does not read. More would only hide that it is slow.
const SEND_BUFFER: usize = 64 * 1024;

/// After a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// A service that listens.
#[derive(Debug)]
pub struct Server {
    registry: Arc<Registry>,
    listener: TcpListener,
    most: usize,
    address: SocketAddr,
}

impl Server {
    /// Starts the tracer, and listens. Inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// Those of listening, and of [`Tracer::new`].
    pub async fn bind(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let tracer = Tracer::builder().threads(config.tracer_threads).build()?;
        let most = connections(config.max_connections);
        Ok(Server {
            registry: Arc::new(Registry::new(config, tracer)),
            listener,
            most,
            address,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`. Then it accepts no more, ends the streams, kills commands, lets
    /// attached processes run on, and ends the tracer.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Server {
            registry,
            listener,
            most,
            ..
        } = self;
        let patience = Patience {
            head: registry.config.patience(),
            stall: registry.config.stall_patience(),
        };
        let routes = api::routes(Arc::clone(&registry));
        let mut connections = JoinSet::new();
        let places = Arc::new(Semaphore::new(most));
        let mut stop = std::pin::pin!(stop);
        loop {
            let (tcp, place) = tokio::select! {
                accepted = accept(&listener, &places) => accepted,
                // Those that have ended are not kept.
                Some(_) = connections.join_next() => continue,
                () = &mut stop => break,
            };
            let serve = serve(tcp, routes.clone(), patience, registry.closing());
            connections.spawn(async move {
                serve.await;
                drop(place);
            });
        }
        // Whoever connects from now on is told so by the kernel.
        drop(listener);
        registry.close();
        let ended = async { while connections.join_next().await.is_some() {} };
        // Too late: somebody does not read what is left.
        let _ = timeout(GRACE, ended).await;
        registry.end().await;
    }
}

/// The next connection, once there is a place for it. Others wait in the kernel.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // It is never closed.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                // Without these it works, only not as well.
                let _ = tcp.set_nodelay(true);
                let _ = setsockopt(&tcp, sockopt::SndBuf, &SEND_BUFFER);
                return (tcp, place);
            }
            // Its client has gone already.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                // Others must end first: there are no more descriptors, or no memory.
                sleep(PAUSE).await;
            }
        }
    }
}

/// How many connections there may be, of what was asked for: half of the descriptors are for what
/// is traced.
fn connections(asked: usize) -> usize {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let most = usize::try_from(limit / 2).unwrap_or(usize::MAX).max(1);
    if asked > most {
        tracing::warn!(
            most,
            "fewer connections than asked for: descriptors are limited"
        );
    }
    asked.min(most).min(Semaphore::MAX_PERMITS)
}

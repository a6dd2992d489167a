//! The flags, and what they mean together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::allow::AllowList;

/// An HTTP service that traces commands and processes on request.
#[derive(Clone, Debug, Parser)]
#[command(name = "tracehound-service")]
pub struct Config {
    /// Where to listen. Any other than a loopback address needs a token
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = loopback())]
    pub listen: SocketAddr,

    /// A file with the token that requests must bring: `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The token itself; only from the environment, since arguments are no secret
    #[arg(skip)]
    pub token: Option<String>,

    /// Only these programs may be started, by path or by name as PATH has it (may be repeated)
    #[arg(long, value_name = "PROGRAM")]
    pub allow: Vec<String>,

    /// Their files
    #[arg(skip)]
    pub(crate) allowed: AllowList,

    /// No attaching to running processes
    #[arg(long)]
    pub no_attach: bool,

    /// How many traces may run at a time
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_traces: usize,

    /// How many traces that have ended are kept
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_ended: usize,

    /// How many threads and processes of one trace are followed at a time
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub max_tracees: usize,

    /// How many threads and processes of all traces are followed at a time
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub max_all_tracees: usize,

    /// How many readers of events there may be
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub max_readers: usize,

    /// How many connections there may be; others wait
    #[arg(long, value_name = "N", default_value_t = 4000)]
    pub max_connections: usize,

    /// How long a client may take to send the head of a request, and again for its body
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    pub max_request_ms: u64,

    /// How long a client may take none of the bytes that are there for it
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    pub max_stall_ms: u64,

    /// How many bytes a body may have
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024)]
    pub max_body: usize,

    /// How many arguments a command may have
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_args: usize,

    /// How many events a trace keeps, if its request does not say
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub buffer: usize,

    /// How many events a trace may ask to be kept
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub max_buffer: usize,

    /// How many events all traces may ask to be kept. Those of traces that have ended make room
    #[arg(long, value_name = "N", default_value_t = 4_000_000)]
    pub max_all_events: usize,

    /// For how long a reader with `policy=block` may hold a trace up without reading
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub max_block_ms: u64,

    /// How many threads trace
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub tracer_threads: usize,
}

fn loopback() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7070)
}

/// The variable with the token.
const TOKEN: &str = "TRACEHOUND_TOKEN";

/// A file that is longer holds something else.
const LONGEST_TOKEN: usize = 4096;

/// A shorter token can be guessed.
const SHORTEST_TOKEN: usize = 16;

impl Config {
    /// Takes in the token, and checks that the whole is safe to serve.
    ///
    /// # Errors
    ///
    /// A text for the user.
    pub fn complete(mut self) -> Result<Self, String> {
        if let Some(file) = &self.token_file {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
            self.token = Some(text.trim().to_string());
        } else if self.token.is_none() {
            self.token = std::env::var(TOKEN).ok();
        }
        if let Some(token) = &self.token
            && !(SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&token.len())
        {
            return Err(format!(
                "a token has {SHORTEST_TOKEN} to {LONGEST_TOKEN} bytes"
            ));
        }
        if !self.listen.ip().is_loopback() && self.token.is_none() {
            return Err(format!(
                "{} is no loopback address: a token is required (--token-file or {TOKEN})",
                self.listen
            ));
        }
        self.buffer = self.buffer.clamp(1, self.max_buffer.max(1));
        self.allowed = AllowList::new(&self.allow)?;
        Ok(self)
    }

    /// How long a client may take for the head of a request, and for its body.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.max_request_ms)
    }

    pub(crate) fn stall_patience(&self) -> Duration {
        Duration::from_millis(self.max_stall_ms)
    }

    pub(crate) fn max_block(&self) -> Duration {
        Duration::from_millis(self.max_block_ms)
    }
}

//! An HTTP service that traces on request.
//!
//! One tracer serves all traces. Each tracee has a task of its own on the tracer thread
//! (`watch`), which writes what happens to its trace's [ring] and never waits for a reader.
//! Readers (`events`) have a cursor each. The `registry` knows the traces, `api` makes routes of
//! them all.

mod access;
mod allow;
mod api;
mod config;
mod connection;
mod error;
mod events;
mod metrics;
mod page;
mod record;
mod registry;
mod request;
pub mod ring;
mod server;
mod trace;
mod tree;
mod watch;
mod wire;

pub use config::Config;
pub use server::Server;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic elsewhere has left data that is old at worst.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `CLOCK_MONOTONIC` in nanoseconds: the same in all processes, so that a reader can tell how
/// old an event is.
pub fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    time.ok()
        .and_then(|time| u64::try_from(std::time::Duration::from(time).as_nanos()).ok())
        .unwrap_or_default()
}

//! The tracer thread itself: its start, what it blocks, its end.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tracehound_sys::{Signal, thread};

use super::{Shard, reaper};
use crate::error::{Error, Result};
use crate::placement::{self, start_thread};

/// Marks the thread's end, however it comes.
struct ThreadEnd(Arc<Shard>);

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        drop(self.0.close());
        self.0.ended.send_replace(true);
        self.0.watchdog().stir();
    }
}

/// Starts the tracer thread of a shard, on its CPU if it has one.
///
/// It blocks every signal but the wake signal and SIGCHLD, so that no handler of the host
/// runs there. (A blocked SIGCHLD would be queued at every stop, and interrupt the host's
/// other threads.)
pub(crate) fn start(shard: &Arc<Shard>, runtime: Option<Handle>) -> Result<JoinHandle<()>> {
    let own = Arc::clone(shard);
    let (place, placed) = mpsc::channel();
    let builder = std::thread::Builder::new().name("tracehound".into());
    let thread = start_thread(builder, move || {
        let end = ThreadEnd(Arc::clone(&own));
        let confined = own.cpu().map_or(Ok(()), placement::confine_to);
        let is_placed = confined.is_ok();
        // Without a CPU nobody waits for this.
        let _ = place.send(confined);
        if is_placed {
            run(&own, runtime);
        }
        drop(end);
    })?;
    if shard.cpu().is_some() {
        placed.recv().map_err(|_| Error::Shutdown)??;
    }
    Ok(thread)
}

fn run(shard: &Arc<Shard>, runtime: Option<Handle>) {
    let wake = shard.interrupter().signal();
    thread::block_all_but(&[wake, Signal::SIGCHLD]);
    // So that a blocking executor inside a pinned task is refused.
    let guard = futures::executor::enter();
    match runtime {
        Some(runtime) => runtime.block_on(async { reaper::run(shard) }),
        None => reaper::run(shard),
    }
    drop(guard);
}

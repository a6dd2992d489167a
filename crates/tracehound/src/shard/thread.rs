//! The tracer thread itself: its start, what it blocks, its end.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tracehound_sys::{Signal, thread};

use super::{Shard, reaper};
use crate::error::{Error, Result};

/// Marks the thread's end, however it comes.
struct ThreadEnd(Arc<Shard>);

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        drop(self.0.close());
        self.0.ended.send_replace(true);
    }
}

/// Starts the tracer thread of a shard.
///
/// It blocks every signal but the wake signal and SIGCHLD, so that no handler of the host
/// runs there. (A blocked SIGCHLD would be queued at every stop, and interrupt the host's
/// other threads.)
pub(crate) fn start(shard: &Arc<Shard>, runtime: Option<Handle>) -> Result<JoinHandle<()>> {
    let shard = Arc::clone(shard);
    std::thread::Builder::new()
        .name("tracehound".into())
        .spawn(move || {
            let end = ThreadEnd(Arc::clone(&shard));
            let wake = shard.interrupter().signal();
            thread::block_all_but(&[wake, Signal::SIGCHLD]);
            // So that a blocking executor inside a pinned task is refused.
            let guard = futures::executor::enter();
            match runtime {
                Some(runtime) => runtime.block_on(async { reaper::run(&shard) }),
                None => reaper::run(&shard),
            }
            drop(guard);
            drop(end);
        })
        .map_err(|error| Error::System {
            call: "pthread_create",
            source: tracehound_sys::Errno::from_raw(error.raw_os_error().unwrap_or(libc_eagain())),
        })
}

/// What pthread_create(3) says when there are too many threads.
const fn libc_eagain() -> i32 {
    tracehound_sys::Errno::EAGAIN as i32
}

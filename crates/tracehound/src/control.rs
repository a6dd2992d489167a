//! A handle of a tracee for those who do not run its logic.

use std::fmt;
use std::sync::Arc;

use tracehound_sys::Tid;

use crate::error::Result;
use crate::slot::Slot;
use crate::tracee::memory::memory_methods;

/// Interrupts, kills and reads a tracee from other tasks and threads.
///
/// Given by [`Tracee::control`](crate::Tracee::control); cheap to clone. It does not keep
/// the tracer or the attachment alive.
#[derive(Clone)]
pub struct Control {
    slot: Arc<Slot>,
}

impl Control {
    pub(crate) fn new(slot: Arc<Slot>) -> Self {
        Control { slot }
    }

    fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// The thread's id; see [`Tracee::tid`](crate::Tracee::tid).
    pub fn tid(&self) -> Tid {
        self.slot.tid()
    }

    /// The id of its process.
    pub fn tgid(&self) -> Tid {
        self.slot.tgid()
    }

    /// Stops a running tracee without a signal: `PTRACE_INTERRUPT` (Linux 3.4). Its stream
    /// then has [`Interrupted`](crate::Event::Interrupted), or another stop that came first.
    /// A tracee that is stopped already does not stop twice.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone), [`Error::Detached`](crate::Error::Detached),
    /// [`Error::Shutdown`](crate::Error::Shutdown).
    ///
    /// # Cancel safety
    ///
    /// The request is sent at the first poll and cannot be recalled. One that was dropped before
    /// it was done may come to the tracee after a stop that was reported meanwhile, and after the
    /// resume from that: then it stops once more.
    pub async fn interrupt(&self) -> Result<()> {
        let slot = Arc::clone(&self.slot);
        self.slot
            .shard
            .call(move |local| local.interrupt(&slot))
            .await?
    }

    /// Kills the tracee's process with SIGKILL, in whatever state it is. Its stream ends
    /// with [`Killed`](crate::Event::Killed).
    ///
    /// Where this process may not send it signals any more, having changed its user since,
    /// `PTRACE_KILL` is used. Before Linux 5.19 that does nothing to a tracee that runs.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone), [`Error::Detached`](crate::Error::Detached),
    /// [`Error::Shutdown`](crate::Error::Shutdown). The signal is sent by the tracer thread,
    /// which alone can tell that the id is still the tracee's: success means that it will
    /// be.
    pub fn kill(&self) -> Result<()> {
        self.slot.lock_here()?.check_attached(self.slot.tid())?;
        let slot = Arc::clone(&self.slot);
        self.slot.shard.run(move |local| {
            // An error: it has died since.
            let _ = local.kill(&slot);
        })
    }

    memory_methods!();
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("tid", &self.tid()).finish()
    }
}

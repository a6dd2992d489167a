//! The options of a tracee that is traced already.

use std::sync::Arc;

use tracehound_sys::ptrace::{self, Options, Request};

use super::Tracee;
use crate::error::{Error, Result};

/// What the runtime relies on. Without `TRACESYSGOOD` a syscall-stop looks like a signal;
/// without `TRACEEXEC` the ends of the other threads could not be told; who is followed is
/// decided for a process as a whole, and a thread of it that did otherwise would make its
/// handle's promise of *all threads* a lie.
const FIXED: Options = Options::TRACESYSGOOD
    .union(Options::TRACEEXEC)
    .union(Options::TRACEFORK)
    .union(Options::TRACEVFORK)
    .union(Options::TRACECLONE);

impl Tracee {
    /// The ptrace(2) options that this tracee has.
    pub fn options(&self) -> Options {
        self.slot().options()
    }

    /// Replaces the ptrace(2) options of this tracee, and of tracees that it makes from now
    /// on: `PTRACE_SETOPTIONS`.
    ///
    /// [`TRACEEXIT`](Options::TRACEEXIT) (stops before a death),
    /// [`TRACEVFORKDONE`](Options::TRACEVFORKDONE),
    /// [`TRACESECCOMP`](Options::TRACESECCOMP) (stops that a filter asks for; without it
    /// such calls fail with `ENOSYS`), [`EXITKILL`](Options::EXITKILL) and
    /// [`SUSPEND_SECCOMP`](Options::SUSPEND_SECCOMP) may be changed. The others are what the
    /// tracer relies on, and stay as [`options`](Tracee::options) gives them.
    ///
    /// ```
    /// # async fn exit_stops(mut tracee: tracehound::Tracee) -> tracehound::Result<()> {
    /// use tracehound::requests::Options;
    ///
    /// tracee.set_options(tracee.options() | Options::TRACEEXIT).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::InvalidArgument`] for a change of what the
    /// tracer relies on. For `SUSPEND_SECCOMP`: [`Error::NotPrivileged`] without
    /// `CAP_SYS_ADMIN`, or if this process runs under seccomp itself;
    /// [`Error::NotConfigured`] on a kernel without `CONFIG_CHECKPOINT_RESTORE`.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the options may have been set.
    pub async fn set_options(&mut self, options: Options) -> Result<()> {
        let changed = self.options() ^ options;
        let unknown = changed.bits() & !Options::all().bits();
        if changed.intersects(FIXED) || unknown != 0 {
            return Err(Error::InvalidArgument(
                "options that the tracer relies on cannot be changed",
            ));
        }
        let slot = Arc::clone(self.slot());
        self.request(Request::SETOPTIONS, move |tid| {
            ptrace::set_options(tid, options)?;
            slot.set_options(options);
            Ok(())
        })
        .await
    }
}

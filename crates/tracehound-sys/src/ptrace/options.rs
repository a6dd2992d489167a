//! The options of `PTRACE_SEIZE` and `PTRACE_SETOPTIONS`.

use bitflags::bitflags;

bitflags! {
    /// The `PTRACE_O_…` flags. A new tracee inherits those of the one that made it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Options: u32 {
        /// Syscall-stops report `SIGTRAP | 0x80`.
        const TRACESYSGOOD = libc::PTRACE_O_TRACESYSGOOD as u32;
        /// Stop at fork, and trace the child.
        const TRACEFORK = libc::PTRACE_O_TRACEFORK as u32;
        /// Stop at vfork, and trace the child.
        const TRACEVFORK = libc::PTRACE_O_TRACEVFORK as u32;
        /// Stop at clone, and trace the new thread or process.
        const TRACECLONE = libc::PTRACE_O_TRACECLONE as u32;
        /// Stop at exec, instead of a `SIGTRAP`.
        const TRACEEXEC = libc::PTRACE_O_TRACEEXEC as u32;
        /// Stop when a vfork parent goes on.
        const TRACEVFORKDONE = libc::PTRACE_O_TRACEVFORKDONE as u32;
        /// Stop before a death.
        const TRACEEXIT = libc::PTRACE_O_TRACEEXIT as u32;
        /// Stop at a filter's `SECCOMP_RET_TRACE`.
        const TRACESECCOMP = libc::PTRACE_O_TRACESECCOMP as u32;
        /// Kill the tracee when its tracer ends.
        const EXITKILL = libc::PTRACE_O_EXITKILL as u32;
        /// The tracee's seccomp filters do nothing (Linux 4.3, for checkpointing).
        const SUSPEND_SECCOMP = 1 << 21;
    }
}

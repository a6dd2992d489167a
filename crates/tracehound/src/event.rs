//! What happens to a tracee, as plain data.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use tracehound_sys::ptrace::{Arch, SyscallEntry};
use tracehound_sys::{Errno, ResourceUsage, SigInfo, Signal, Tid};

/// One stop or the end of a tracee.
///
/// A stop leaves the tracee *held*: it takes requests until it is resumed, by a
/// method such as [`cont`](crate::Tracee::cont) or by asking for the next event.
/// The last five, apart from [`Unknown`](Event::Unknown), end the stream.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Event {
    /// The first stop: the tracee has not run yet.
    Started(Started),
    /// Syscall-enter-stop.
    SyscallEnter(SyscallEnter),
    /// Syscall-exit-stop.
    SyscallExit(SyscallExit),
    /// Signal-delivery-stop. Asking for the next event delivers the signal.
    Signal(SignalStop),
    /// Group-stop: job control has stopped the process. Asking for the next event
    /// *listens*: the tracee stays stopped until `SIGCONT`.
    GroupStop(GroupStop),
    /// A group-stop has ended, or `SIGCONT` came while the process ran.
    Continued,
    /// The answer to [`interrupt`](crate::Control::interrupt). A tracee that was in a
    /// group-stop is still: asking for the next event listens again.
    Interrupted,
    /// One instruction was executed in [`step`](crate::Tracee::step) or
    /// [`sysemu_step`](crate::Tracee::sysemu_step), or some in
    /// [`block_step`](crate::Tracee::block_step).
    Step,
    /// A breakpoint in a debug register was met, which
    /// [`set_hardware_breakpoint`](crate::Tracee::set_hardware_breakpoint) had put there.
    HardwareBreakpoint(HardwareStop),
    /// The tracee forked: `PTRACE_EVENT_FORK`.
    Fork(Birth),
    /// The tracee vforked; it sleeps until the child calls exec or ends:
    /// `PTRACE_EVENT_VFORK`.
    Vfork(Birth),
    /// The tracee made a thread, or a process by another clone(2):
    /// `PTRACE_EVENT_CLONE`.
    Clone(Birth),
    /// The child of a vfork has called exec or ended: `PTRACE_EVENT_VFORK_DONE`.
    VforkDone(Birth),
    /// A new program, not begun yet: `PTRACE_EVENT_EXEC`.
    Exec(Exec),
    /// A seccomp filter said `SECCOMP_RET_TRACE`: `PTRACE_EVENT_SECCOMP`.
    Seccomp(Seccomp),
    /// About to die, registers and memory still readable: `PTRACE_EVENT_EXIT`. Only
    /// if asked for: [`exit_stops`](crate::Command::exit_stops).
    Exiting(Exiting),
    /// A stop that this version does not know.
    Unknown(Unknown),
    /// The end: exit(2) or exit_group(2).
    Exited(Exited),
    /// The end: a signal.
    Killed(Killed),
    /// The end of this thread: another thread called exec and took its id.
    Replaced(Replaced),
    /// The end, of which nothing more is known: somebody else in this process waited for
    /// it and took its status, or waits for everything. See
    /// [what cannot work](crate#what-cannot-work).
    Lost,
    /// The end of the attachment; the thread runs on.
    Detached,
}

impl Event {
    /// Whether this is the last event of its tracee.
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Event::Exited(_)
                | Event::Killed(_)
                | Event::Replaced(_)
                | Event::Lost
                | Event::Detached
        )
    }

    /// The birth in a fork, vfork or clone event.
    pub fn birth(&self) -> Option<&Birth> {
        match self {
            Event::Fork(birth) | Event::Vfork(birth) | Event::Clone(birth) => Some(birth),
            _ => None,
        }
    }

    /// The event of a death.
    pub(crate) fn death(death: Death) -> Event {
        let Death { status, usage } = death;
        match status.signal() {
            Some(signal) => Event::Killed(Killed {
                signal: Signal::from_raw(signal),
                core_dumped: status.core_dumped(),
                usage,
            }),
            None => Event::Exited(Exited {
                code: status.code().unwrap_or_default(),
                usage,
            }),
        }
    }
}

/// What is known of a death.
#[derive(Clone, Copy)]
pub(crate) struct Death {
    pub(crate) status: ExitStatus,
    pub(crate) usage: Option<ResourceUsage>,
}

macro_rules! plain_data {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[cfg_attr(feature = "serde", derive(serde::Serialize))]
            #[non_exhaustive]
            pub struct $name {
                $($(#[$field_meta])* pub $field: $type,)*
            }
        )*
    };
}

plain_data! {
    /// The first stop of a tracee.
    Started {
        /// The execve that it is about to make, if it was spawned with
        /// [`stop_before_exec`](crate::Command::stop_before_exec).
        exec: Option<SyscallEntry>,
    }

    /// A syscall-enter-stop: `PTRACE_GET_SYSCALL_INFO` (Linux 5.3).
    SyscallEnter {
        /// The call.
        call: SyscallEntry,
        /// The instruction pointer, behind the call's instruction.
        instruction_pointer: u64,
        /// The stack pointer.
        stack_pointer: u64,
    }

    /// A syscall-exit-stop: `PTRACE_GET_SYSCALL_INFO` (Linux 5.3).
    SyscallExit {
        /// The call, if it was watched from its entry on: it was not if the tracee was
        /// attached in the middle of it, or resumed there with anything but
        /// [`syscall`](crate::Tracee::syscall).
        call: Option<SyscallEntry>,
        /// The architecture of the call.
        arch: Arch,
        /// What the call returned: a negative error number if `is_error`.
        value: i64,
        /// Whether the call failed.
        is_error: bool,
        /// The instruction pointer.
        instruction_pointer: u64,
        /// The stack pointer.
        stack_pointer: u64,
    }

    /// A signal-delivery-stop.
    SignalStop {
        /// The signal.
        signal: Signal,
        /// Why it was sent: `PTRACE_GETSIGINFO`.
        info: SigInfo,
    }

    /// A stop at a breakpoint in a debug register. Which one:
    /// [`fired_hardware_breakpoints`](crate::Tracee::fired_hardware_breakpoints).
    HardwareStop {
        /// The siginfo of the `SIGTRAP`, which the program does not get.
        info: SigInfo,
    }

    /// A group-stop.
    GroupStop {
        /// The signal that stopped the process.
        signal: Signal,
    }

    /// A birth, as the parent's event tells it: `PTRACE_GETEVENTMSG`.
    Birth {
        /// The thread that called fork, vfork or clone.
        parent: Tid,
        /// The new thread or process, as the tracer numbers it.
        child: Tid,
        /// It was let go at once, since there are as many tracees as there
        /// [may be](crate::TracerBuilder::max_tracees).
        over_limit: bool,
    }

    /// An exec.
    Exec {
        /// The id that the calling thread had before: differs from the tracee's id if
        /// it was not the leader.
        former_tid: Tid,
    }

    /// A stop that a seccomp filter asked for.
    Seccomp {
        /// The call.
        call: SyscallEntry,
        /// The filter's `SECCOMP_RET_DATA`.
        data: u32,
        /// The instruction pointer, behind the call's instruction.
        instruction_pointer: u64,
        /// The stack pointer.
        stack_pointer: u64,
    }

    /// The stop before a death.
    Exiting {
        /// The wait status that the thread will end with.
        status: i32,
    }

    /// A stop that this version does not know.
    Unknown {
        /// The number of the `PTRACE_EVENT`.
        event: i32,
        /// The signal reported with it.
        signal: Signal,
    }

    /// The end by exit(2) or exit_group(2).
    Exited {
        /// The exit code. A thread has its own, unless its process began to end before the
        /// thread's end was taken: then the kernel gives the process's. The
        /// [exit stop](Event::Exiting) always has the thread's own.
        code: i32,
        /// What its process had used until then, if that was
        /// [asked for](crate::Command::resource_usage) on its tracer thread.
        usage: Option<ResourceUsage>,
    }

    /// The end by a signal.
    Killed {
        /// The signal.
        signal: Signal,
        /// Whether a core dump was made.
        core_dumped: bool,
        /// What its process had used until then, if that was
        /// [asked for](crate::Command::resource_usage) on its tracer thread.
        usage: Option<ResourceUsage>,
    }

    /// The end of a leader whose id another thread took at its exec.
    Replaced {
        /// The former id of the thread that called exec; nothing if that thread was not
        /// traced by this tracer, where the kernel tells nobody.
        by: Option<Tid>,
    }
}

impl Exiting {
    /// The status as std has it.
    pub fn exit_status(&self) -> ExitStatus {
        ExitStatus::from_raw(self.status)
    }
}

impl SyscallExit {
    /// The error number, if the call failed. It may be one of the kernel's own
    /// (`ERESTARTSYS` and its kind, from 512 on), which the program never sees.
    pub fn errno(&self) -> Option<i32> {
        self.is_error
            .then(|| i32::try_from(-i128::from(self.value)).unwrap_or(i32::MAX))
    }
}

/// The kernel's own error numbers: what becomes of a call that a signal interrupted.
const RESTARTS: [(i32, &str, &str); 4] = [
    (512, "ERESTARTSYS", "To be restarted if SA_RESTART is set"),
    (513, "ERESTARTNOINTR", "To be restarted"),
    (514, "ERESTARTNOHAND", "To be restarted if no handler"),
    (516, "ERESTART_RESTARTBLOCK", "Interrupted by signal"),
];

/// `ENOENT (No such file or directory)`: an error number as strace writes it.
fn write_errno(f: &mut fmt::Formatter<'_>, errno: i32) -> fmt::Result {
    if let Some((_, name, text)) = RESTARTS.iter().find(|(number, ..)| *number == errno) {
        return write!(f, "{name} ({text})");
    }
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => write!(f, "errno {errno}"),
        known => {
            // The C library's text, to which std adds the number.
            let text = std::io::Error::from_raw_os_error(errno).to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            write!(f, "{known:?} ({text})")
        }
    }
}

impl fmt::Display for SyscallEnter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}

impl fmt::Display for SyscallExit {
    /// `openat(0x…, …) = 3`, or `… = -1 ENOENT (No such file or directory)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.call {
            Some(call) => call.fmt(f)?,
            None => f.write_str("…")?,
        }
        self.fmt_result(f)
    }
}

impl SyscallExit {
    fn fmt_result(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno() {
            Some(errno) => {
                f.write_str(" = -1 ")?;
                write_errno(f, errno)
            }
            None => write!(f, " = {}", self.value),
        }
    }
}

impl fmt::Display for SignalStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.signal.fmt(f)
    }
}

//! An async runtime for writing Linux tracers.
//!
//! A tracee (one traced thread) is a [`Stream`](futures_core::Stream) of [`Event`]s plus
//! async methods ([`cont`](Tracee::cont), [`step`](Tracee::step),
//! [`getregs`](Tracee::getregs), …; [`requests`] lists them all). Tracer logic is ordinary async code: one task for each
//! tracee, thousands of them, inside a program that has other work to do.
//!
//! ```
//! use futures::StreamExt;
//! use tracehound::{Command, Event, ResumeMode, Tracer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tracehound::Result<()> {
//! let tracer = Tracer::new()?;
//! let (mut tracee, mut child) = tracer
//!     .spawn(Command::new("true").resume_mode(ResumeMode::Syscall))
//!     .await?;
//! let mut calls = 0;
//! while let Some(event) = tracee.next().await {
//!     if let Event::SyscallEnter(enter) = event {
//!         calls += 1;
//!         println!("{enter}");
//!     }
//! }
//! assert!(calls > 0);
//! assert!(child.wait().await?.success());
//! # Ok(())
//! # }
//! ```
//!
//! # Where code runs
//!
//! ptrace(2) works only from the thread that attached. A [`Tracer`] owns such threads; they
//! wait, and make every request. The same [`Tracee`] and the same code work in either of two
//! places:
//!
//! - in *any task* of any runtime: requests travel to the tracer thread, which costs a hop;
//! - *pinned* on the tracer thread, with [`Tracee::spawn_pinned`] or [`Tracer::trace`]: a
//!   request is a plain system call. [`Tracee::pinned`] goes there for a few requests, and
//!   comes back.
//!
//! # What holds
//!
//! - Every tracee's stream ends with exactly one terminal event, then `None`, whatever
//!   happens.
//! - A stop that was handed out leaves the tracee *held* until it is resumed, by a method or
//!   by asking for the next event.
//! - A tracee is never left frozen: dropping its handle detaches it, or [kills](LetGo) it.
//! - The host is left alone: its children, signal handlers, mask and threads. One signal is
//!   taken, if it is free ([`TracerBuilder::wake_signal`]).
//!
//! # What cannot work
//!
//! A host that waits for *any* child (`wait`, `waitpid(-1)`) takes the tracees' stops from
//! the tracer. So does a `std` or tokio `Child` whose process is traced: processes are made
//! with [`Tracer::spawn`], and attaching to a child of one's own is refused unless
//! [asked for](Attach::own_child).
//!
//! It is noticed: a tracee that is stopped and was not reported is looked for every few
//! seconds, more often while that happens. The stop is then handled as if it had been
//! reported, late; of a death that was taken only [`Event::Lost`] is left. Both are logged
//! as an error.
//!
//! A host with a SIGCHLD handler without `SA_NOCLDSTOP` runs it at each stop, since the kernel
//! sends SIGCHLD at each. A stop then takes a third longer if the handler does nothing, and more if
//! it does more, as tokio's, which writes to a pipe: it is there once `tokio::signal` is asked for
//! SIGCHLD. [`set_nocldstop`] adds the flag to the handler that is there, and leaves
//! it as it is otherwise.
//!
//! # When something fails
//!
//! Every [`Error`], and every reason why a process may not be traced, has a page in the
//! [`guide`].
//!
//! # Kernels
//!
//! Linux 5.4 and up (5.3 is the first with `PTRACE_GET_SYSCALL_INFO`; [`Tracer::new`] says
//! [`Error::Unsupported`] before that), on x86_64 and aarch64.

#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod attach;
mod builder;
mod child;
mod children;
mod command;
mod control;
mod error;
pub mod event;
mod explain;
mod filter;
mod guard;
pub mod guide;
mod let_go;
mod limit;
mod metrics;
mod observe;
mod pace;
mod placement;
mod process;
mod refusal;
pub mod requests;
mod shard;
mod slot;
mod spawner;
mod sync;
mod tracee;
mod tracer;
mod watchdog;

pub use attach::{Attach, AttachThread};
pub use builder::TracerBuilder;
pub use child::Child;
pub use command::{Command, Follow, Stdio};
pub use control::Control;
pub use error::{Error, Privilege, Result};
pub use event::Event;
pub use filter::Unwatched;
pub use let_go::LetGo;
pub use metrics::{DelayHistogram, Metrics, StopCounts};
pub use placement::{CpuRefusal, allowed_cpus};
pub use process::Process;
pub use refusal::Refusal;
pub use tracee::{Panic, PinnedError, PinnedTask, Tracee};
pub use tracehound_sys::proc::{Capabilities, Ids};
pub use tracehound_sys::ptrace::{Arch, Regs, ResumeKind as ResumeMode, SyscallEntry};
pub use tracehound_sys::seccomp::SyscallNumber;
pub use tracehound_sys::syscalls::{self, Sysno};
pub use tracehound_sys::{Errno, NoCldStop, ResourceUsage, SigInfo, Signal, Tid, set_nocldstop};
pub use tracer::Tracer;

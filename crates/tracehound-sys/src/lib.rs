//! Synchronous, safe access to what Linux offers to tracers: ptrace(2), waitid(2),
//! the memory of other processes, `/proc`, and the making of a process that is
//! traced from its first instruction.
//!
//! This is the layer below the `tracehound` runtime. It keeps no state, starts no
//! threads and knows nothing of async. `unsafe` code of the project lives here.

#![cfg(target_os = "linux")]

pub mod cpu;
mod fork_guard;
#[cfg(fuzzing)]
pub mod fuzz;
mod id;
pub mod memory;
mod per_process;
pub mod proc;
mod process;
pub mod ptrace;
pub mod seccomp;
mod sigchld;
mod siginfo;
mod signal;
mod signal_set;
pub mod spawn;
pub mod thread;
mod usage;
pub mod wait;
pub mod wake;

pub use fork_guard::ForkGuard;
pub use id::Tid;
pub use nix::errno::Errno;
pub use per_process::PerProcess;
pub use process::{Pidfd, process_exists, reap, signal_process, signal_thread};
pub use sigchld::{NoCldStop, set_nocldstop};
pub use siginfo::SigInfo;
pub use signal::{SIGNAL_MAX, Signal};
pub use signal_set::SignalSet;
pub use syscalls;
pub use usage::{ResourceUsage, Usage};

/// The result of a system call.
pub type Result<T> = std::result::Result<T, Errno>;

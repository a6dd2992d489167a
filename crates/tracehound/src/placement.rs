//! On which CPUs threads and programs run.
//!
//! A tracer thread confines itself to the CPU that its user chose, and nobody else: what such a
//! thread starts would inherit that. So every thread of the tracer is made by [`start_thread`],
//! which gives it what its maker had before, and so does every program. What foreign code in a pinned task starts inherits
//! it, as from any pinned thread; that is documented.

use std::fmt;
use std::thread::{Builder, JoinHandle};

use tracehound_sys::cpu::{self, CpuState};
use tracehound_sys::{Errno, Tid};

use crate::error::{Error, Result};

/// Why tracer threads cannot run on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CpuRefusal {
    /// The machine has none with this number.
    Missing,
    /// It is switched off.
    Offline,
    /// The cpuset of this process, perhaps that of its container, leaves it out.
    NotAllowed,
}

impl fmt::Display for CpuRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CpuRefusal::Missing => "there is none with this number",
            CpuRefusal::Offline => "it is offline",
            CpuRefusal::NotAllowed => "the cpuset of this process leaves it out",
        })
    }
}

/// The CPUs that the calling thread may run on, of those that are online, in ascending order:
/// sched_getaffinity(2). On a tracer thread, those that it might run on had it not been
/// [given one](crate::TracerBuilder::cpus).
///
/// # Errors
///
/// [`Error::System`] where a seccomp filter forbids to ask.
pub fn allowed_cpus() -> Result<Vec<usize>> {
    let allowed = match cpu::cpus_before() {
        Some(before) => before,
        None => cpu::cpus_of(Tid::current()).map_err(|source| Error::System {
            call: "sched_getaffinity",
            source,
        })?,
    };
    Ok(allowed.iter().collect())
}

/// Starts a thread of the tracer's, which runs where its maker would if that were not confined
/// to a CPU.
pub(crate) fn start_thread(
    builder: Builder,
    f: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>> {
    let cpus = cpu::cpus_before();
    let thread = builder.spawn(move || {
        if let Some(cpus) = cpus {
            // An error: the cpuset was changed, and the kernel has chosen others.
            let _ = cpu::set_cpus_of(Tid::current(), &cpus);
        }
        f();
    });
    thread.map_err(|error| Error::System {
        call: "pthread_create",
        source: Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EAGAIN as i32)),
    })
}

/// Confines the calling tracer thread to a CPU.
pub(crate) fn confine_to(cpu: usize) -> Result<()> {
    cpu::confine_to(cpu).map_err(|errno| match errno {
        Errno::EINVAL => Error::CpuUnavailable {
            cpu,
            reason: match cpu::cpu_state(cpu) {
                CpuState::Missing => CpuRefusal::Missing,
                CpuState::Offline => CpuRefusal::Offline,
                CpuState::Online => CpuRefusal::NotAllowed,
            },
        },
        source => Error::System {
            call: "sched_setaffinity",
            source,
        },
    })
}

/// Lets a child run where the calling tracer thread, which made it, would if that were not confined
/// to a CPU.
pub(crate) fn let_roam(child: Tid) {
    if let Some(cpus) = cpu::cpus_before() {
        // An error: the cpuset was changed, and the kernel has chosen others; or it was killed.
        let _ = cpu::set_cpus_of(child, &cpus);
    }
}

/// Lets a child run only where the calling tracer thread does: on its CPU, or where the kernel
/// has let it go when that was taken away.
pub(crate) fn fetch(child: Tid) -> Result<()> {
    let cpus = cpu::cpus_of(Tid::current());
    match cpus.and_then(|cpus| cpu::set_cpus_of(child, &cpus)) {
        // It was killed, which the next request says.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(source) => Err(Error::System {
            call: "sched_setaffinity",
            source,
        }),
    }
}

//! Words of memory and of the user area, and what only one architecture has.

use tracehound_sys::ptrace::{self, ArchGet, ArchSet, Request, ThreadArea};
use tracehound_sys::{Errno, Tid, proc};

use super::Tracee;
use crate::error::{Error, Result};
use crate::explain::explain;

/// # Words, and what only one architecture has
impl Tracee {
    /// A word of memory: `PTRACE_PEEKDATA`. [`read_memory`](Tracee::read_memory) reads any
    /// length, and without a stop.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::Memory`] if it cannot be read.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn peek_data(&self, address: u64) -> Result<u64> {
        self.request_explained(
            move |tid| ptrace::peek_data(tid, address),
            move |tid, errno| memory(Request::PEEKDATA, tid, address, errno),
        )
        .await
    }

    /// Writes a word of memory, also where the tracee may only read: `PTRACE_POKEDATA`. A
    /// kernel that is told to keep [`write_memory`](Tracee::write_memory) from this
    /// (`proc_mem.force_override`, Linux 6.12) still lets it.
    ///
    /// # Errors
    ///
    /// As [`peek_data`](Tracee::peek_data).
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the word may have been written.
    pub async fn poke_data(&mut self, address: u64, word: u64) -> Result<()> {
        self.request_explained(
            move |tid| ptrace::poke_data(tid, address, word),
            move |tid, errno| memory(Request::POKEDATA, tid, address, errno),
        )
        .await
    }

    /// A word of the user area, at this offset in `struct user`: `PTRACE_PEEKUSER` (x86).
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::InvalidArgument`] for an offset that is not
    /// there, or not a word's; [`Error::Architecture`] on others than x86.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn peek_user(&self, offset: u64) -> Result<u64> {
        self.request(Request::PEEKUSR, move |tid| ptrace::peek_user(tid, offset))
            .await
    }

    /// Writes a word of the user area, at this offset in `struct user`: `PTRACE_POKEUSER`
    /// (x86).
    ///
    /// # Errors
    ///
    /// As [`peek_user`](Tracee::peek_user); [`Error::InvalidArgument`] for a value that user
    /// code may not have.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the word may have been written.
    pub async fn poke_user(&mut self, offset: u64, word: u64) -> Result<()> {
        // It may be a debug register.
        self.note_hardware_breakpoints();
        self.forget_registers();
        self.request(Request::POKEUSR, move |tid| {
            ptrace::poke_user(tid, offset, word)
        })
        .await
    }

    /// A segment for thread-local storage of a 32-bit program, number 12 to 14 of the
    /// descriptor table: `PTRACE_GET_THREAD_AREA` (x86).
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::InvalidArgument`] for another number;
    /// [`Error::NotConfigured`] on a kernel that cannot run 32-bit programs;
    /// [`Error::Architecture`] on others than x86.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn thread_area(&self, number: u32) -> Result<ThreadArea> {
        self.request(Request::GET_THREAD_AREA, move |tid| {
            ptrace::get_thread_area(tid, number)
        })
        .await
    }

    /// Sets a segment for thread-local storage: `PTRACE_SET_THREAD_AREA` (x86).
    ///
    /// # Errors
    ///
    /// As [`thread_area`](Tracee::thread_area); [`Error::InvalidArgument`] for a segment that
    /// user code may not have.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the segment may have been set.
    pub async fn set_thread_area(&mut self, number: u32, area: &ThreadArea) -> Result<()> {
        let area = *area;
        self.forget_registers();
        self.request(Request::SET_THREAD_AREA, move |tid| {
            ptrace::set_thread_area(tid, number, &area)
        })
        .await
    }

    /// Asks arch_prctl(2) about the thread: `PTRACE_ARCH_PRCTL` (x86_64).
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::Unsupported`] and [`Error::NotConfigured`]
    /// for what this kernel does not know; [`Error::Architecture`] on others than x86_64.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn arch_prctl_get(&self, what: ArchGet) -> Result<u64> {
        self.request_explained(
            move |tid| ptrace::arch_prctl_get(tid, what),
            move |tid, errno| arch_prctl(tid, errno, what.name(), what.needs()),
        )
        .await
    }

    /// Sets what arch_prctl(2) can set for another thread: `PTRACE_ARCH_PRCTL` (x86_64).
    ///
    /// # Errors
    ///
    /// As [`arch_prctl_get`](Tracee::arch_prctl_get); [`Error::InvalidArgument`] for an
    /// address that user code may not have.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the value may have been set.
    pub async fn arch_prctl_set(&mut self, what: ArchSet, value: u64) -> Result<()> {
        self.forget_registers();
        self.request_explained(
            move |tid| ptrace::arch_prctl_set(tid, what, value),
            move |tid, errno| arch_prctl(tid, errno, what.name(), what.needs()),
        )
        .await
    }

    /// The memory tags of the 16-byte granules from this address on, at most those of a
    /// mebibyte: `PTRACE_PEEKMTETAGS` (arm64, Linux 5.10).
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::Memory`] if nothing is mapped there, or not
    /// with `PROT_MTE`; [`Error::Unsupported`] before Linux 5.10; [`Error::Architecture`] on
    /// processors without memory tags.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn peek_mte_tags(&self, address: u64, count: usize) -> Result<Vec<u8>> {
        self.request_explained(
            move |tid| ptrace::peek_mte_tags(tid, address, count),
            move |tid, errno| tags(Request::PEEKMTETAGS, tid, address, errno),
        )
        .await
    }

    /// Writes the memory tags of the 16-byte granules from this address on; gives how many:
    /// `PTRACE_POKEMTETAGS` (arm64, Linux 5.10).
    ///
    /// # Errors
    ///
    /// As [`peek_mte_tags`](Tracee::peek_mte_tags).
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the tags may have been written.
    pub async fn poke_mte_tags(&mut self, address: u64, tags_: &[u8]) -> Result<usize> {
        let new = tags_.to_vec();
        self.request_explained(
            move |tid| ptrace::poke_mte_tags(tid, address, &new),
            move |tid, errno| tags(Request::POKEMTETAGS, tid, address, errno),
        )
        .await
    }
}

fn memory(request: Request, tid: Tid, address: u64, errno: Errno) -> Error {
    match errno {
        source @ (Errno::EIO | Errno::EFAULT | Errno::EOPNOTSUPP) => Error::Memory {
            tid,
            address,
            source,
        },
        errno => explain(request, tid, errno),
    }
}

fn tags(request: Request, tid: Tid, address: u64, errno: Errno) -> Error {
    let missing = request.code().is_none() || proc::kernel_is_older_than(request.since());
    match errno {
        errno if missing => explain(request, tid, errno),
        Errno::EIO => Error::Architecture {
            what: "memory tags",
        },
        errno => memory(request, tid, address, errno),
    }
}

fn arch_prctl(
    tid: Tid,
    errno: Errno,
    what: &'static str,
    needs: Option<(&'static str, &'static str)>,
) -> Error {
    match (errno, needs) {
        (Errno::EINVAL, Some((since, _))) if proc::kernel_is_older_than(since) => {
            Error::Unsupported { what, since }
        }
        (Errno::EINVAL, Some((_, option))) => Error::NotConfigured { what, option },
        (errno, _) => explain(Request::ARCH_PRCTL, tid, errno),
    }
}

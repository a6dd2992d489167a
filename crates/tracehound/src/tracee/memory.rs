//! The tracee's memory, read and written from any thread without a hop.
//!
//! A read needs no stop. It blocks where the tracee arranges that (a userfaultfd, a FUSE
//! mapping): it is for tracees that one trusts not to. The guarded methods are for others:
//! they cost a hop to another thread and back.

use tracehound_sys::{Errno, Tid, memory};

use super::{Tracee, chunks};
use crate::error::{Error, Result};
use crate::slot::Slot;

pub(crate) fn read(slot: &Slot, address: u64, buf: &mut [u8]) -> Result<usize> {
    check(slot)?;
    if buf.is_empty() {
        return Ok(0);
    }
    memory::read(slot.tid(), address, buf).map_err(|e| explain(slot.tid(), address, e))
}

pub(crate) fn write(slot: &Slot, address: u64, data: &[u8]) -> Result<usize> {
    check(slot)?;
    if data.is_empty() {
        return Ok(0);
    }
    memory::write(slot.tid(), address, data).map_err(|e| explain(slot.tid(), address, e))
}

pub(crate) fn read_bytes(slot: &Slot, address: u64, len: usize) -> Result<Vec<u8>> {
    check_length(len)?;
    chunks::bytes(address, len, |from, buf| read(slot, from, buf))
}

pub(crate) fn read_cstring(slot: &Slot, address: u64, max: usize) -> Result<Vec<u8>> {
    check_length(max)?;
    chunks::cstring(address, max, |from, buf| read(slot, from, buf))
}

fn check_length(len: usize) -> Result<()> {
    match isize::try_from(len) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::InvalidArgument("no memory is that long")),
    }
}

/// Once the tracee has ended its id may be another's.
fn check(slot: &Slot) -> Result<()> {
    slot.lock_here()?.check_attached(slot.tid())
}

fn explain(tid: Tid, address: u64, source: Errno) -> Error {
    match source {
        Errno::ESRCH => Error::Gone(tid),
        source => Error::Memory {
            tid,
            address,
            source,
        },
    }
}

macro_rules! memory_methods {
    () => {
        /// [`read_bytes`](Self::read_bytes) of a tracee that one does not trust.
        ///
        /// A tracee can arrange that a read of its memory blocks, in a state that no signal
        /// ends (userfaultfd(2), a mapping of a FUSE file). This one is made on a thread of
        /// its own kind, and given up after `timeout`; that thread stays behind, without
        /// holding up anything, until the tracee answers or is dead. Until then each guarded
        /// access to the same process fails at once: best kill it.
        ///
        /// # Errors
        ///
        /// As [`read_bytes`](Self::read_bytes);
        /// [`Error::TimedOut`](crate::Error::TimedOut), also if all the 32 threads that a
        /// tracer may have for this are taken for that long;
        /// [`Error::Shutdown`](crate::Error::Shutdown).
        ///
        /// # Cancel safety
        ///
        /// This method is cancel safe: the tracee does not change.
        pub async fn read_bytes_guarded(
            &self,
            address: u64,
            len: usize,
            timeout: std::time::Duration,
        ) -> crate::Result<Vec<u8>> {
            let read = move |slot: &$crate::slot::Slot| {
                $crate::tracee::memory::read_bytes(slot, address, len)
            };
            $crate::guard::run(self.slot(), "a read of memory", timeout, read).await
        }

        /// [`read_cstring`](Self::read_cstring) of a tracee that one does not trust; see
        /// [`read_bytes_guarded`](Self::read_bytes_guarded).
        ///
        /// # Errors
        ///
        /// As [`read_bytes_guarded`](Self::read_bytes_guarded).
        ///
        /// # Cancel safety
        ///
        /// This method is cancel safe: the tracee does not change.
        pub async fn read_cstring_guarded(
            &self,
            address: u64,
            max: usize,
            timeout: std::time::Duration,
        ) -> crate::Result<Vec<u8>> {
            let read = move |slot: &$crate::slot::Slot| {
                $crate::tracee::memory::read_cstring(slot, address, max)
            };
            $crate::guard::run(self.slot(), "a read of a string", timeout, read).await
        }

        /// [`write_memory`](Self::write_memory) of a tracee that one does not trust; see
        /// [`read_bytes_guarded`](Self::read_bytes_guarded). A write that was given up may
        /// still be made when the tracee lets it.
        ///
        /// # Errors
        ///
        /// As [`read_bytes_guarded`](Self::read_bytes_guarded).
        ///
        /// # Cancel safety
        ///
        /// A write that was begun cannot be recalled.
        pub async fn write_memory_guarded(
            &self,
            address: u64,
            data: impl Into<Vec<u8>>,
            timeout: std::time::Duration,
        ) -> crate::Result<usize> {
            let data = data.into();
            let write = move |slot: &$crate::slot::Slot| {
                $crate::tracee::memory::write(slot, address, &data)
            };
            $crate::guard::run(self.slot(), "a write of memory", timeout, write).await
        }

        /// Reads memory into `buf`; gives how many bytes were read: fewer than asked for
        /// if the next page cannot be read.
        ///
        /// Works at any time and on any thread, also while the tracee runs:
        /// process_vm_readv(2), and `/proc/PID/mem` where that fails.
        ///
        /// # Errors
        ///
        /// [`Error::Memory`](crate::Error::Memory) if not even the first byte can be read;
        /// [`Error::Gone`](crate::Error::Gone), [`Error::Detached`](crate::Error::Detached).
        pub fn read_memory(&self, address: u64, buf: &mut [u8]) -> crate::Result<usize> {
            $crate::tracee::memory::read(self.slot(), address, buf)
        }

        /// Reads up to `len` bytes; fewer if a page cannot be read.
        ///
        /// Memory is taken as it is read, not in advance.
        ///
        /// # Errors
        ///
        /// As [`read_memory`](Self::read_memory);
        /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a length that no
        /// memory has.
        pub fn read_bytes(&self, address: u64, len: usize) -> crate::Result<Vec<u8>> {
            $crate::tracee::memory::read_bytes(self.slot(), address, len)
        }

        /// Reads a string up to and with its NUL byte, or `max` bytes, or as far as the
        /// memory can be read, whichever comes first.
        ///
        /// # Errors
        ///
        /// As [`read_bytes`](Self::read_bytes).
        pub fn read_cstring(&self, address: u64, max: usize) -> crate::Result<Vec<u8>> {
            $crate::tracee::memory::read_cstring(self.slot(), address, max)
        }

        /// Writes memory; gives how many bytes were written.
        ///
        /// Pages that the tracee itself may not write are written as well, as a debugger
        /// needs it: process_vm_writev(2), and `/proc/PID/mem` where that fails.
        ///
        /// # Errors
        ///
        /// As [`read_memory`](Self::read_memory).
        pub fn write_memory(&self, address: u64, data: &[u8]) -> crate::Result<usize> {
            $crate::tracee::memory::write(self.slot(), address, data)
        }
    };
}

pub(crate) use memory_methods;

/// # Memory
impl Tracee {
    memory_methods!();
}

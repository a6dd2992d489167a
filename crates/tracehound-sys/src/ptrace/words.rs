//! Words of the tracee: of its memory, and of its `struct user`.
//!
//! Memory is better read by [`memory`](crate::memory): any length at once, and without a
//! stop. What is left for these: a kernel that is told to keep `/proc/PID/mem` from writing
//! where the tracee may not (`proc_mem.force_override`, Linux 6.12) still lets them.

use std::ffi::c_void;
use std::ptr;

use super::{Request, plain, read_into};
use crate::{Errno, Result, Tid};

/// An address in the tracee, which means nothing here: it only travels in a pointer's place.
fn there(address: u64) -> Result<*mut c_void> {
    let address = usize::try_from(address).map_err(|_| Errno::EIO)?;
    Ok(ptr::without_provenance_mut(address))
}

fn peek(request: Request, tid: Tid, address: u64) -> Result<u64> {
    let mut word: libc::c_ulong = 0;
    // SAFETY: the kernel writes one word, which `word` is; the address is the tracee's.
    unsafe { read_into(request, tid, there(address)?, &mut word)? };
    Ok(word as u64)
}

fn poke(request: Request, tid: Tid, address: u64, word: u64) -> Result<()> {
    let address = usize::try_from(address).map_err(|_| Errno::EIO)?;
    let word = usize::try_from(word).map_err(|_| Errno::EIO)?;
    plain(request, tid, address, word)
}

/// `PTRACE_PEEKDATA`: a word of memory. The address need not be aligned.
///
/// # Errors
///
/// `EIO` if it cannot be read.
pub fn peek_data(tid: Tid, address: u64) -> Result<u64> {
    peek(Request::PEEKDATA, tid, address)
}

/// `PTRACE_POKEDATA`: writes a word of memory, also where the tracee may not.
///
/// # Errors
///
/// `EIO` if it cannot be written.
pub fn poke_data(tid: Tid, address: u64, word: u64) -> Result<()> {
    poke(Request::POKEDATA, tid, address, word)
}

/// `PTRACE_PEEKTEXT`: the same as [`peek_data`] on Linux.
///
/// # Errors
///
/// As [`peek_data`].
pub fn peek_text(tid: Tid, address: u64) -> Result<u64> {
    peek(Request::PEEKTEXT, tid, address)
}

/// `PTRACE_POKETEXT`: the same as [`poke_data`] on Linux.
///
/// # Errors
///
/// As [`poke_data`].
pub fn poke_text(tid: Tid, address: u64, word: u64) -> Result<()> {
    poke(Request::POKETEXT, tid, address, word)
}

/// `PTRACE_PEEKUSER` (x86): a word of the tracee's `struct user`, at this offset:
/// registers, debug registers.
///
/// # Errors
///
/// `EIO` for an offset that is not there, or not a word's.
pub fn peek_user(tid: Tid, offset: u64) -> Result<u64> {
    peek(Request::PEEKUSR, tid, offset)
}

/// `PTRACE_POKEUSER` (x86): writes a word of the tracee's `struct user`.
///
/// # Errors
///
/// `EIO` for an offset that cannot be written, or a value that user code may not have;
/// `EINVAL` for what a debug register cannot be.
pub fn poke_user(tid: Tid, offset: u64, word: u64) -> Result<()> {
    poke(Request::POKEUSR, tid, offset, word)
}

/// Where the debug register with this number, 0 to 7, is in `struct user`.
#[cfg(target_arch = "x86_64")]
pub const fn debug_register_offset(number: usize) -> Option<u64> {
    if number < 8 {
        Some((std::mem::offset_of!(libc::user, u_debugreg) + 8 * number) as u64)
    } else {
        None
    }
}

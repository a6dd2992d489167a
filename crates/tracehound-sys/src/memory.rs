//! Reading and writing another process's memory.
//!
//! process_vm_readv(2) first: it needs no file descriptor, no stop and no
//! particular thread. What it refuses (pages without read permission, writes to
//! read-only pages) goes through `/proc/PID/mem`, which looks at the attachment
//! instead of the page's protection, as a debugger needs for breakpoints.
//! `PTRACE_PEEKDATA` is not used: a word at a time, and on one thread only.
//!
//! A read blocks while a page of the target is served by a userfaultfd or a FUSE
//! mapping that does not answer; no signal ends that.

use std::fs::{File, OpenOptions};
use std::io::{IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;

use crate::{Result, Tid};

/// Reads into `buf` from `address` on; gives how many bytes were read.
///
/// Fewer than asked for means that the next page cannot be read.
///
/// # Errors
///
/// `EFAULT` if not even the first byte can be read, `ESRCH` if there is no such
/// process, `EPERM` if it may not be read.
pub fn read(tid: Tid, address: u64, buf: &mut [u8]) -> Result<usize> {
    let len = clamp(address, buf.len())?;
    let buf = &mut buf[..len];
    let done = read_mapped(tid, address, buf)?;
    if done == len {
        return Ok(done);
    }
    let rest = &mut buf[done..];
    match open_mem(tid, false).and_then(|mem| read_file(&mem, address + done as u64, rest)) {
        Ok(more) if done + more > 0 => Ok(done + more),
        _ if done > 0 => Ok(done),
        Ok(_) => Err(Errno::EFAULT),
        Err(error) => Err(error),
    }
}

/// Writes `data` to `address`; gives how many bytes were written.
///
/// Pages that the target itself may not write are written too, as far as the
/// caller's attachment allows (a private copy is made of a mapped file's page).
///
/// # Errors
///
/// As [`read`].
pub fn write(tid: Tid, address: u64, data: &[u8]) -> Result<usize> {
    let len = clamp(address, data.len())?;
    let data = &data[..len];
    let done = write_mapped(tid, address, data)?;
    if done == len {
        return Ok(done);
    }
    let rest = &data[done..];
    match open_mem(tid, true).and_then(|mem| write_file(&mem, address + done as u64, rest)) {
        Ok(more) if done + more > 0 => Ok(done + more),
        _ if done > 0 => Ok(done),
        Ok(_) => Err(Errno::EFAULT),
        Err(error) => Err(error),
    }
}

/// How much of a range lies below the end of the address space; a range that
/// starts beyond every user address is a fault.
fn clamp(address: u64, len: usize) -> Result<usize> {
    // File offsets are signed; no architecture has user memory in that half.
    let end = i64::MAX as u64;
    if address >= end {
        return Err(Errno::EFAULT);
    }
    Ok(len.min(usize::try_from(end - address).unwrap_or(usize::MAX)))
}

/// process_vm_readv until nothing more comes. An error that the file may not
/// have is no error yet: it gives zero bytes.
fn read_mapped(tid: Tid, address: u64, buf: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        let remote = RemoteIoVec {
            base: (address + done as u64) as usize,
            len: buf.len() - done,
        };
        let local = &mut [IoSliceMut::new(&mut buf[done..])];
        match process_vm_readv(Pid::from_raw(tid.as_raw()), local, &[remote]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Errno::EINTR) => {}
            Err(Errno::ESRCH) if done == 0 => return Err(Errno::ESRCH),
            Err(_) => break,
        }
    }
    Ok(done)
}

fn write_mapped(tid: Tid, address: u64, data: &[u8]) -> Result<usize> {
    let mut done = 0;
    while done < data.len() {
        let remote = RemoteIoVec {
            base: (address + done as u64) as usize,
            len: data.len() - done,
        };
        let local = &[IoSlice::new(&data[done..])];
        match process_vm_writev(Pid::from_raw(tid.as_raw()), local, &[remote]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Errno::EINTR) => {}
            Err(Errno::ESRCH) if done == 0 => return Err(Errno::ESRCH),
            Err(_) => break,
        }
    }
    Ok(done)
}

fn open_mem(tid: Tid, write: bool) -> Result<File> {
    OpenOptions::new()
        .read(!write)
        .write(write)
        .open(format!("/proc/{tid}/mem"))
        .map_err(|error| match errno(&error) {
            // The directory is gone with its thread.
            Errno::ENOENT => Errno::ESRCH,
            Errno::EACCES => Errno::EPERM,
            other => other,
        })
}

fn read_file(mem: &File, address: u64, buf: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match mem.read_at(&mut buf[done..], address + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if errno(&error) == Errno::EINTR => {}
            Err(error) if done == 0 => return Err(fault(&error)),
            Err(_) => break,
        }
    }
    Ok(done)
}

fn write_file(mem: &File, address: u64, data: &[u8]) -> Result<usize> {
    let mut done = 0;
    while done < data.len() {
        match mem.write_at(&data[done..], address + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if errno(&error) == Errno::EINTR => {}
            Err(error) if done == 0 => return Err(fault(&error)),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// `/proc/PID/mem` reports an unmapped page as `EIO`.
fn fault(error: &std::io::Error) -> Errno {
    match errno(error) {
        Errno::EIO => Errno::EFAULT,
        other => other,
    }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_in_the_address_space() {
        assert_eq!(clamp(0, 10), Ok(10));
        assert_eq!(clamp(i64::MAX as u64 - 1, usize::MAX), Ok(1));
        assert_eq!(clamp(i64::MAX as u64, 1), Err(Errno::EFAULT));
        assert_eq!(clamp(u64::MAX, 1), Err(Errno::EFAULT));
    }

    #[test]
    fn own_memory_reads_back() {
        let data = *b"tracehound";
        let mut copy = [0; 10];
        let address = data.as_ptr() as u64;
        assert_eq!(read(Tid::current_process(), address, &mut copy), Ok(10));
        assert_eq!(copy, data);
    }

    #[test]
    fn a_wild_address_is_a_fault() {
        let mut byte = [0];
        let own = Tid::current_process();
        assert_eq!(read(own, 8, &mut byte), Err(Errno::EFAULT));
        assert_eq!(read(own, u64::MAX, &mut byte), Err(Errno::EFAULT));
        assert_eq!(read(Tid::from_raw(0), 8, &mut byte), Err(Errno::ESRCH));
    }
}

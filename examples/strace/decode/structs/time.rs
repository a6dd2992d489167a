//! Times, intervals, timers.

use std::fmt::Write;

use super::super::frame::Frame;
use super::super::names::one_of;
use super::super::names::time as set;

/// `struct timespec`.
pub(crate) fn timespec(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    write_timespec(out, frame, frame.args[index])
}

/// `struct timespec` with 64-bit fields, also of 32-bit programs.
pub(crate) fn timespec64(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let at = frame.args[index];
    let (seconds, rest) = (frame.u64_at(at)?, frame.u64_at(at.checked_add(8)?)?);
    write_pair(out, "nsec", seconds as i64, rest as i64);
    Some(())
}

/// Writes the `struct timespec` at an address.
pub(crate) fn write_timespec(out: &mut String, frame: &Frame<'_>, at: u64) -> Option<()> {
    let [seconds, rest] = frame.words(at)?;
    write_pair(
        out,
        "nsec",
        frame.sign_extend(seconds),
        frame.sign_extend(rest),
    );
    Some(())
}

/// As [`write_timespec`], with the two numbers of nanoseconds that utimensat(2) reads as
/// something else.
pub(crate) fn write_file_time(out: &mut String, frame: &Frame<'_>, at: u64) -> Option<()> {
    let [_, rest] = frame.words(at)?;
    match frame.sign_extend(rest) {
        libc::UTIME_NOW => out.push_str("UTIME_NOW"),
        libc::UTIME_OMIT => out.push_str("UTIME_OMIT"),
        _ => return write_timespec(out, frame, at),
    }
    Some(())
}

/// `struct timeval`.
pub(crate) fn timeval(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    write_timeval(out, frame, frame.args[index])
}

/// Writes the `struct timeval` at an address.
pub(crate) fn write_timeval(out: &mut String, frame: &Frame<'_>, at: u64) -> Option<()> {
    let [seconds, rest] = frame.words(at)?;
    write_pair(
        out,
        "usec",
        frame.sign_extend(seconds),
        frame.sign_extend(rest),
    );
    Some(())
}

fn write_pair(out: &mut String, unit: &str, seconds: i64, rest: i64) {
    let _ = write!(out, "{{tv_sec={seconds}, tv_{unit}={rest}}}");
}

/// `struct itimerspec`.
pub(crate) fn itimerspec(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    interval(out, frame, index, write_timespec)
}

/// `struct itimerval`.
pub(crate) fn itimerval(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    interval(out, frame, index, write_timeval)
}

type WriteTime = fn(&mut String, &Frame<'_>, u64) -> Option<()>;

fn interval(out: &mut String, frame: &Frame<'_>, index: usize, write: WriteTime) -> Option<()> {
    let at = frame.args[index];
    out.push_str("{it_interval=");
    write(out, frame, at)?;
    out.push_str(", it_value=");
    write(out, frame, at.checked_add(2 * frame.word_size())?)?;
    out.push('}');
    Some(())
}

/// A clock: one of the system's, or a process's.
pub(crate) fn clock(out: &mut String, frame: &Frame<'_>, index: usize) {
    match frame.int(index) {
        // A process's or a device's: the pid or descriptor is in the upper bits.
        id if id < 0 => {
            let _ = write!(out, "{id:#x}");
        }
        id => one_of(out, set::CLOCK, id as u64),
    }
}

//! Arguments of calls on files: modes, status, locks, vectors, sets of descriptors.

use std::fmt::Write;

use super::super::arg::{hex, mode};
use super::super::frame::{Frame, Outcome};
use super::super::names::{self, files as set, flags, one_of};
use super::super::text::{CUT, quote, quote_hex};
use super::{field, time};

/// Flags of open(2): the access mode, then the bits.
pub(crate) fn open_flags(out: &mut String, frame: &Frame<'_>, index: usize) {
    write_open_flags(out, frame.args[index] as u32);
}

fn write_open_flags(out: &mut String, value: u32) {
    let access = u64::from(value) & libc::O_ACCMODE as u64;
    one_of(out, set::ACCESS_MODE, access);
    let rest = u64::from(value) & !access;
    if rest != 0 {
        out.push('|');
        flags(out, set::OPEN, rest);
    }
}

/// The file type and permissions of mknod(2).
pub(crate) fn file_mode(out: &mut String, frame: &Frame<'_>, index: usize) {
    write_file_mode(out, frame.args[index] as u32);
}

fn write_file_mode(out: &mut String, value: u32) {
    let kind = value & libc::S_IFMT;
    if let Some(name) = names::find(set::FILE_TYPE, u64::from(kind)) {
        out.push_str(name);
        for (bit, name) in [
            (libc::S_ISUID, "|S_ISUID"),
            (libc::S_ISGID, "|S_ISGID"),
            (libc::S_ISVTX, "|S_ISVTX"),
        ] {
            if value & bit != 0 {
                out.push_str(name);
            }
        }
        out.push('|');
        mode(out, value & 0o777);
    } else {
        mode(out, value);
    }
}

/// A device number.
pub(crate) fn device(out: &mut String, frame: &Frame<'_>, index: usize) {
    write_device(out, frame.args[index]);
}

fn write_device(out: &mut String, device: u64) {
    let (major, minor) = (libc::major(device), libc::minor(device));
    let _ = write!(out, "makedev({major:#x}, {minor:#x})");
}

/// `struct stat` of 64-bit programs of the tracer's own architecture.
pub(crate) fn stat(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    use std::mem::offset_of;
    if !frame.is_wide() {
        return None;
    }
    let at = frame.args[index];
    let bits = frame.u32_at(at.checked_add(offset_of!(libc::stat, st_mode) as u64)?)?;
    out.push_str("{st_mode=");
    write_file_mode(out, bits);
    match bits & libc::S_IFMT {
        libc::S_IFCHR | libc::S_IFBLK => {
            field(out, "st_rdev");
            let rdev = frame.u64_at(at.checked_add(offset_of!(libc::stat, st_rdev) as u64)?)?;
            write_device(out, rdev);
        }
        _ => {
            let size = frame.u64_at(at.checked_add(offset_of!(libc::stat, st_size) as u64)?)?;
            field(out, "st_size");
            let _ = write!(out, "{}", size as i64);
        }
    }
    out.push_str(", ...}");
    Some(())
}

/// Flags of statx(2): how to synchronise, then the bits.
pub(crate) fn statx_flags(out: &mut String, frame: &Frame<'_>, index: usize) {
    let value = frame.args[index] & 0xffff_ffff;
    let sync = value & libc::AT_STATX_SYNC_TYPE as u64;
    one_of(out, set::STATX_SYNC, sync);
    if value != sync {
        out.push('|');
        flags(out, set::AT, value & !sync);
    }
}

/// `struct statx`, the same for all architectures.
pub(crate) fn statx(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let at = frame.args[index];
    let mask = frame.u32_at(at)?;
    let bits = u16::from_ne_bytes(frame.array(at.checked_add(28)?)?);
    let attributes = frame.u64_at(at.checked_add(8)?)?;
    let size = frame.u64_at(at.checked_add(40)?)?;
    out.push_str("{stx_mask=");
    flags(out, set::STATX, u64::from(mask));
    field(out, "stx_attributes");
    flags(out, set::STATX_ATTR, attributes);
    field(out, "stx_mode");
    write_file_mode(out, u32::from(bits));
    let _ = write!(out, ", stx_size={size}, ...}}");
    Some(())
}

/// `struct open_how` of openat2(2).
pub(crate) fn open_how(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let at = frame.args[index];
    let open = frame.u64_at(at)?;
    let permissions = frame.u64_at(at.checked_add(8)?)?;
    let resolve = frame.u64_at(at.checked_add(16)?)?;
    out.push_str("{flags=");
    write_open_flags(out, open as u32);
    field(out, "mode");
    mode(out, permissions as u32);
    field(out, "resolve");
    flags(out, set::RESOLVE, resolve);
    out.push('}');
    Some(())
}

/// `struct flock` of 64-bit programs; with the holder of the lock if the call gave it.
pub(crate) fn flock(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    if !frame.is_wide() {
        return None;
    }
    let at = frame.args[index];
    let [a, b, c, d] = frame.array::<4>(at)?;
    let start = frame.u64_at(at.checked_add(8)?)?;
    let len = frame.u64_at(at.checked_add(16)?)?;
    out.push_str("{l_type=");
    one_of(out, set::LOCK, u64::from(u16::from_ne_bytes([a, b])));
    field(out, "l_whence");
    one_of(out, set::SEEK, u64::from(u16::from_ne_bytes([c, d])));
    let _ = write!(out, ", l_start={}, l_len={}", start as i64, len as i64);
    if frame.outcome != Outcome::None {
        let holder = frame.u32_at(at.checked_add(24)?)? as i32;
        let _ = write!(out, ", l_pid={holder}");
    }
    out.push('}');
    Some(())
}

/// Two descriptors: pipe(2), socketpair(2).
pub(crate) fn pair(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let at = frame.args[index];
    let first = frame.u32_at(at)? as i32;
    let second = frame.u32_at(at.checked_add(4)?)? as i32;
    let _ = write!(out, "[{first}, {second}]");
    Some(())
}

/// An int that is pointed to.
pub(crate) fn int_at(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let _ = write!(out, "[{}]", frame.u32_at(frame.args[index])? as i32);
    Some(())
}

/// An offset of 64 bits that is pointed to.
pub(crate) fn offset_at(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let _ = write!(out, "[{}]", frame.u64_at(frame.args[index])? as i64);
    Some(())
}

/// The directory that getcwd(2) gives, or the link of readlink(2): a name of as many
/// bytes as the result says.
pub(crate) fn name_out(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let Outcome::Value(len) = frame.outcome else {
        return None;
    };
    let mut bytes = frame.bytes(frame.args[index], usize::try_from(len).ok()?)?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    quote(out, &bytes);
    Some(())
}

/// Bytes that are no text, as many as the result says.
pub(crate) fn random(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let Outcome::Value(len) = frame.outcome else {
        return None;
    };
    let len = usize::try_from(len).ok()?;
    quote_hex(out, &frame.bytes(frame.args[index], len.min(CUT))?);
    if len > CUT {
        out.push_str("...");
    }
    Some(())
}

/// What getdents(2) gives: records that begin with two words.
pub(crate) fn entries(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    write_entries(out, frame, index, 2 * frame.word_size() as usize)
}

/// What getdents64(2) gives: records that begin with two numbers of 64 bits.
pub(crate) fn entries64(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    write_entries(out, frame, index, 16)
}

/// Counts records; `len_at` is where in each its length is.
fn write_entries(out: &mut String, frame: &Frame<'_>, index: usize, len_at: usize) -> Option<()> {
    let Outcome::Value(len) = frame.outcome else {
        return None;
    };
    let records = frame.bytes(frame.args[index], usize::try_from(len).ok()?)?;
    let (mut at, mut count) = (0, 0);
    while let Some(&[low, high]) = records.get(at + len_at..at + len_at + 2) {
        let step = usize::from(u16::from_ne_bytes([low, high]));
        if step == 0 {
            break;
        }
        at += step;
        count += 1;
    }
    frame.pointer(out, frame.args[index]);
    let _ = write!(out, " /* {count} entries */");
    Some(())
}

/// A vector of buffers that are written out; its length is the next argument.
pub(crate) fn vector(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    write_vector(out, frame, frame.args[index], frame.args[index + 1], None);
    Some(())
}

/// A vector of buffers that the call fills, as far as the result says.
pub(crate) fn vector_out(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let filled = match frame.outcome {
        Outcome::Value(len) => u64::try_from(len).unwrap_or(0),
        _ => 0,
    };
    let count = frame.args[index + 1];
    write_vector(out, frame, frame.args[index], count, Some(filled));
    Some(())
}

/// Writes a vector of buffers; only `filled` bytes of them if that is given.
pub(crate) fn write_vector(
    out: &mut String,
    frame: &Frame<'_>,
    address: u64,
    count: u64,
    filled: Option<u64>,
) {
    let mut rest = filled;
    let size = 2 * frame.word_size();
    frame.list(out, address, count, size, |out, at| {
        let [base, len] = frame.words(at)?;
        let shown = rest.map_or(len, |rest| rest.min(len));
        rest = rest.map(|rest| rest - shown);
        out.push_str("{iov_base=");
        frame.data(out, base, shown);
        let _ = write!(out, ", iov_len={len}}}");
        Some(())
    });
}

/// The descriptors of poll(2); their number is the next argument.
pub(crate) fn poll(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let count = u64::from(frame.args[index + 1] as u32);
    frame.list(out, frame.args[index], count, 8, |out, at| {
        let (fd, events, _) = poll_fd(frame, at)?;
        let _ = write!(out, "{{fd={fd}");
        if fd >= 0 {
            out.push_str(", events=");
            flags(out, set::POLL, events);
        }
        out.push('}');
        Some(())
    });
    Some(())
}

fn poll_fd(frame: &Frame<'_>, at: u64) -> Option<(i32, u64, u64)> {
    let [a, b, c, d, e, f, g, h] = frame.array::<8>(at)?;
    let fd = i32::from_ne_bytes([a, b, c, d]);
    let events = u16::from_ne_bytes([e, f]);
    let revents = u16::from_ne_bytes([g, h]);
    Some((fd, u64::from(events), u64::from(revents)))
}

/// What became ready in poll(2): the result, then `([{fd=3, revents=POLLIN}])`.
pub(crate) fn after_poll(out: &mut String, frame: &Frame<'_>) {
    match frame.outcome {
        Outcome::Value(0) => out.push_str(" (Timeout)"),
        Outcome::Value(_) => {
            let start = out.len();
            if ready(out, frame).is_none() {
                out.truncate(start);
            }
        }
        _ => {}
    }
}

fn ready(out: &mut String, frame: &Frame<'_>) -> Option<()> {
    out.push_str(" ([");
    let mut shown = 0;
    // A program may poll many of which few are ready: both numbers are bounded.
    for at in 0..u64::from(frame.args[1] as u32).min(1024) {
        let place = frame.args[0].checked_add(at * 8)?;
        let (fd, _, revents) = poll_fd(frame, place)?;
        if revents == 0 || fd < 0 {
            continue;
        }
        if shown > 0 {
            out.push_str(", ");
        }
        if shown == CUT {
            out.push_str("...");
            break;
        }
        let _ = write!(out, "{{fd={fd}, revents=");
        flags(out, set::POLL, revents);
        out.push('}');
        shown += 1;
    }
    out.push_str("])");
    Some(())
}

/// A set of descriptors of select(2), below the number that is the first argument.
pub(crate) fn fd_set(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    write_fd_set(out, frame, frame.args[index])
}

fn write_fd_set(out: &mut String, frame: &Frame<'_>, address: u64) -> Option<()> {
    let below = usize::try_from(frame.int(0)).ok()?.min(64 * 1024);
    let bytes = frame.bytes(address, below.div_ceil(8))?;
    out.push('[');
    let start = out.len();
    let members = (0..below).filter(|fd| bytes[fd / 8] & (1 << (fd % 8)) != 0);
    for (shown, fd) in members.enumerate() {
        if out.len() > start {
            out.push(' ');
        }
        if shown == CUT {
            out.push_str("...");
            break;
        }
        let _ = write!(out, "{fd}");
    }
    out.push(']');
    Some(())
}

/// What became ready in select(2).
pub(crate) fn after_select(out: &mut String, frame: &Frame<'_>) {
    if frame.outcome == Outcome::Value(0) {
        out.push_str(" (Timeout)");
        return;
    }
    let start = out.len();
    for (index, name) in [(1, "in"), (2, "out"), (3, "except")] {
        let before = out.len();
        let separator = if before == start { " (" } else { ", " };
        let _ = write!(out, "{separator}{name} ");
        let done = frame.args[index] != 0
            && write_fd_set(out, frame, frame.args[index]).is_some()
            && !out.ends_with("[]");
        if !done {
            out.truncate(before);
        }
    }
    if out.len() > start {
        out.push(')');
    }
}

/// The command of fcntl(2) has told what the result is.
pub(crate) fn after_fcntl(out: &mut String, frame: &Frame<'_>) {
    let Outcome::Value(value @ 0..) = frame.outcome else {
        return;
    };
    let command = frame.int(1);
    if command != libc::F_GETFL && (command != libc::F_GETFD || value == 0) {
        return;
    }
    out.truncate(out.len() - value.to_string().len());
    hex(out, value as u64);
    out.push_str(" (flags ");
    match command {
        libc::F_GETFL => write_open_flags(out, value as u32),
        _ => flags(out, set::FD, value as u64),
    }
    out.push(')');
}

/// One event of epoll_ctl(2).
pub(crate) fn epoll_event(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    write_epoll_event(out, frame, frame.args[index])
}

/// The events that epoll_wait(2) gives, as many as its result says.
pub(crate) fn epoll_events(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let Outcome::Value(count) = frame.outcome else {
        return None;
    };
    let count = u64::try_from(count).ok()?;
    let size = size_of::<libc::epoll_event>() as u64;
    frame.list(out, frame.args[index], count, size, |out, at| {
        write_epoll_event(out, frame, at)
    });
    Some(())
}

fn write_epoll_event(out: &mut String, frame: &Frame<'_>, at: u64) -> Option<()> {
    let events = frame.u32_at(at)?;
    let data_at = std::mem::offset_of!(libc::epoll_event, u64) as u64;
    let data = frame.u64_at(at.checked_add(data_at)?)?;
    out.push_str("{events=");
    flags(out, set::EPOLL, u64::from(events));
    let _ = write!(out, ", data={{u32={}, u64={data}}}}}", data as u32);
    Some(())
}

/// The size of a terminal.
pub(crate) fn window_size(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let bytes = frame.array::<8>(frame.args[index])?;
    let short = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let (rows, columns, x, y) = (short(0), short(2), short(4), short(6));
    let _ = write!(
        out,
        "{{ws_row={rows}, ws_col={columns}, ws_xpixel={x}, ws_ypixel={y}}}"
    );
    Some(())
}

/// Two times that a file gets.
pub(crate) fn two_timespecs(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    frame.list(
        out,
        frame.args[index],
        2,
        2 * frame.word_size(),
        |out, at| time::write_file_time(out, frame, at),
    );
    Some(())
}

/// Two times that a file gets, in microseconds.
pub(crate) fn two_timevals(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    frame.list(
        out,
        frame.args[index],
        2,
        2 * frame.word_size(),
        |out, at| time::write_timeval(out, frame, at),
    );
    Some(())
}

//! Options of sockets: level and name, which go together, and value.

use std::fmt::Write;

use super::super::frame::Frame;
use super::super::names::{Names, net as set, one_of};
use super::super::text::quote_cut;
use super::{net, time};

/// The level, or the protocol, of an option.
pub(crate) const LEVEL: usize = 1;
/// Its name.
pub(crate) const NAME: usize = 2;

/// The names of a level's options.
fn names_of(level: i32) -> Names {
    match level {
        libc::SOL_SOCKET => set::SO,
        libc::SOL_TCP => set::TCP,
        libc::SOL_IP => set::IP,
        libc::SOL_IPV6 => set::IPV6,
        libc::SOL_NETLINK => set::NETLINK_OPTION,
        _ => &[],
    }
}

/// The option's name.
pub(crate) fn name(out: &mut String, frame: &Frame<'_>, index: usize) {
    one_of(out, names_of(frame.int(LEVEL)), frame.args[index]);
}

/// The value that setsockopt(2) is given; its length is the next argument.
pub(crate) fn value(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    write_value(out, frame, index, u64::from(frame.args[index + 1] as u32))
}

/// The value that getsockopt(2) gives; its length is where the next argument points.
pub(crate) fn value_out(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let len = frame.u32_at(frame.args[index + 1])?;
    if (frame.int(LEVEL), frame.int(NAME)) == (libc::SOL_SOCKET, libc::SO_ERROR) {
        return write_error(out, frame, index);
    }
    write_value(out, frame, index, u64::from(len))
}

fn write_value(out: &mut String, frame: &Frame<'_>, index: usize, len: u64) -> Option<()> {
    let at = frame.args[index];
    match (frame.int(LEVEL), frame.int(NAME), len) {
        (libc::SOL_SOCKET, libc::SO_LINGER, 8) => {
            let (on, seconds) = (
                frame.u32_at(at)? as i32,
                frame.u32_at(at.checked_add(4)?)? as i32,
            );
            let _ = write!(out, "{{l_onoff={on}, l_linger={seconds}}}");
        }
        (libc::SOL_SOCKET, libc::SO_PEERCRED, 12) => net::credentials(out, frame, at)?,
        (libc::SOL_SOCKET, libc::SO_RCVTIMEO | libc::SO_SNDTIMEO, _)
            if len == 2 * frame.word_size() =>
        {
            time::write_timeval(out, frame, at)?;
        }
        (_, _, 4) => {
            let _ = write!(out, "[{}]", frame.u32_at(at)? as i32);
        }
        _ => {
            let shown = frame.bytes(at, len.min(64) as usize)?;
            quote_cut(out, &shown, false);
        }
    }
    Some(())
}

/// The error that a socket had: its name, or 0.
fn write_error(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let _ = match frame.u32_at(frame.args[index])? as i32 {
        0 => write!(out, "[0]"),
        errno => write!(out, "[{:?}]", tracehound::Errno::from_raw(errno)),
    };
    Some(())
}

//! Arguments of calls on sockets: types, addresses, messages.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::frame::{Frame, Outcome};
use super::super::names::{self, flags, net as set, one_of};
use super::super::text::{CUT, quote, quote_cut};
use super::{field, files};

/// The type of a socket with its flags.
pub(crate) fn socket_type(out: &mut String, frame: &Frame<'_>, index: usize) {
    let value = frame.args[index] & 0xffff_ffff;
    one_of(out, set::SOCK, value & 0xf);
    if value & !0xf != 0 {
        out.push('|');
        flags(out, set::SOCK_FLAGS, value & !0xf);
    }
}

/// The protocol of a socket, which depends on the family: the first argument.
pub(crate) fn protocol(out: &mut String, frame: &Frame<'_>, index: usize) {
    let value = frame.args[index];
    match frame.int(0) {
        libc::AF_INET | libc::AF_INET6 => one_of(out, set::IPPROTO, value),
        libc::AF_NETLINK => one_of(out, set::NETLINK, value),
        _ => {
            let _ = write!(out, "{}", value as i32);
        }
    }
}

/// An address; its length is the next argument.
pub(crate) fn address(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let len = u64::from(frame.args[index + 1] as u32);
    write_address(out, frame, frame.args[index], len)
}

/// An address that the call gives; its length is where the next argument points.
pub(crate) fn address_out(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let len = frame.u32_at(frame.args[index + 1])?;
    write_address(out, frame, frame.args[index], u64::from(len))
}

/// The kernel takes no longer address.
const ADDRESS_MAX: u64 = 128;

fn write_address(out: &mut String, frame: &Frame<'_>, at: u64, len: u64) -> Option<()> {
    let bytes = frame.bytes(at, len.min(ADDRESS_MAX) as usize)?;
    let [a, b, rest @ ..] = bytes.as_slice() else {
        return None;
    };
    let family = u16::from_ne_bytes([*a, *b]);
    out.push_str("{sa_family=");
    one_of(out, set::AF, u64::from(family));
    let start = out.len();
    let known = match i32::from(family) {
        libc::AF_UNIX => unix(out, rest),
        libc::AF_INET => inet(out, rest),
        libc::AF_INET6 => inet6(out, rest),
        libc::AF_NETLINK => netlink(out, rest),
        _ => None,
    };
    if known.is_none() {
        out.truncate(start);
        if !rest.is_empty() {
            field(out, "sa_data");
            quote_cut(out, rest, false);
        }
    }
    out.push('}');
    Some(())
}

fn unix(out: &mut String, path: &[u8]) -> Option<()> {
    match path {
        [] => {}
        // An abstract name: all bytes count.
        [0, name @ ..] if !name.is_empty() => {
            out.push_str(", sun_path=@");
            let end = name
                .iter()
                .rposition(|&byte| byte != 0)
                .map_or(0, |at| at + 1);
            quote(out, &name[..end]);
        }
        _ => {
            field(out, "sun_path");
            quote(out, path.split(|&byte| byte == 0).next().unwrap_or(path));
        }
    }
    Some(())
}

/// The first `N` bytes, and the rest.
fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    Some((*first, rest))
}

fn inet(out: &mut String, bytes: &[u8]) -> Option<()> {
    let (port, rest) = take::<2>(bytes)?;
    let (address, _) = take::<4>(rest)?;
    let port = u16::from_be_bytes(port);
    let address = Ipv4Addr::from(address);
    let _ = write!(
        out,
        ", sin_port=htons({port}), sin_addr=inet_addr(\"{address}\")"
    );
    Some(())
}

fn inet6(out: &mut String, bytes: &[u8]) -> Option<()> {
    let (port, rest) = take::<2>(bytes)?;
    let (flow, rest) = take::<4>(rest)?;
    let (address, rest) = take::<16>(rest)?;
    let (scope, _) = take::<4>(rest)?;
    let (port, flow) = (u16::from_be_bytes(port), u32::from_be_bytes(flow));
    let (address, scope) = (Ipv6Addr::from(address), u32::from_ne_bytes(scope));
    let _ = write!(
        out,
        ", sin6_port=htons({port}), sin6_flowinfo=htonl({flow}), \
         inet_pton(AF_INET6, \"{address}\", &sin6_addr), sin6_scope_id={scope}"
    );
    Some(())
}

fn netlink(out: &mut String, bytes: &[u8]) -> Option<()> {
    let (_, rest) = take::<2>(bytes)?;
    let (pid, rest) = take::<4>(rest)?;
    let (groups, _) = take::<4>(rest)?;
    let (pid, groups) = (u32::from_ne_bytes(pid), u32::from_ne_bytes(groups));
    let _ = write!(out, ", nl_pid={pid}, nl_groups={groups:08x}");
    Some(())
}

/// A message to be sent.
pub(crate) fn message(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    write_message(out, frame, frame.args[index], None)
}

/// A message that was received.
pub(crate) fn message_out(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let Outcome::Value(len) = frame.outcome else {
        return None;
    };
    write_message(
        out,
        frame,
        frame.args[index],
        Some(u64::try_from(len).ok()?),
    )
}

/// Messages of sendmmsg(2) or recvmmsg(2); their number is the next argument, and of
/// received ones the result.
pub(crate) fn messages(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let (count, received) = match frame.outcome {
        Outcome::Value(count) => (u64::try_from(count).ok()?, true),
        _ => (u64::from(frame.args[index + 1] as u32), false),
    };
    // A msghdr of seven words, and a length that is padded to one.
    let size = 8 * frame.word_size();
    frame.list(out, frame.args[index], count, size, |out, at| {
        let len = frame.u32_at(at.checked_add(7 * frame.word_size())?)?;
        out.push_str("{msg_hdr=");
        write_message(out, frame, at, received.then_some(u64::from(len)))?;
        if received {
            let _ = write!(out, ", msg_len={len}");
        }
        out.push('}');
        Some(())
    });
    Some(())
}

fn write_message(out: &mut String, frame: &Frame<'_>, at: u64, len: Option<u64>) -> Option<()> {
    let [name, name_len, vector, count, control, control_len, bits] = frame.words(at)?;
    let name_len = u64::from(name_len as u32);
    out.push_str("{msg_name=");
    frame.pointee(out, name, |out, at| write_address(out, frame, at, name_len));
    let _ = write!(out, ", msg_namelen={name_len}, msg_iov=");
    files::write_vector(out, frame, vector, count, len);
    let _ = write!(out, ", msg_iovlen={count}");
    if control != 0 && control_len != 0 {
        field(out, "msg_control");
        frame.pointee(out, control, |out, at| {
            write_control(out, frame, at, control_len)
        });
    }
    let _ = write!(out, ", msg_controllen={control_len}, msg_flags=");
    flags(out, set::MSG, bits & 0xffff_ffff);
    out.push('}');
    Some(())
}

/// Writes control messages; of the kinds, only passed descriptors are taken apart.
fn write_control(out: &mut String, frame: &Frame<'_>, at: u64, len: u64) -> Option<()> {
    let word = frame.word_size();
    let head = word + 8;
    let end = at.checked_add(len)?;
    let mut place = at;
    out.push('[');
    for shown in 0..=CUT {
        if place.checked_add(head)? > end {
            break;
        }
        if shown > 0 {
            out.push_str(", ");
        }
        if shown == CUT {
            out.push_str("...");
            break;
        }
        let size = frame.word_at(place)?;
        write_control_message(out, frame, place, size)?;
        if size < head {
            break;
        }
        place = place.checked_add(size.checked_next_multiple_of(word)?)?;
    }
    out.push(']');
    Some(())
}

fn write_control_message(out: &mut String, frame: &Frame<'_>, place: u64, size: u64) -> Option<()> {
    let word = frame.word_size();
    let level = frame.u32_at(place.checked_add(word)?)? as i32;
    let kind = frame.u32_at(place.checked_add(word + 4)?)? as i32;
    let _ = write!(out, "{{cmsg_len={size}, cmsg_level=");
    one_of(out, set::SOL, level as u64);
    field(out, "cmsg_type");
    let payload = place.checked_add(word + 8)?;
    let payload_len = size.saturating_sub(word + 8);
    match (level, kind) {
        (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
            out.push_str("SCM_RIGHTS, cmsg_data=");
            frame.list(out, payload, payload_len / 4, 4, |out, at| {
                let _ = write!(out, "{}", frame.u32_at(at)? as i32);
                Some(())
            });
        }
        (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
            out.push_str("SCM_CREDENTIALS, cmsg_data=");
            credentials(out, frame, payload)?;
        }
        _ => {
            let _ = write!(out, "{kind:#x}");
        }
    }
    out.push('}');
    Some(())
}

/// Writes a `struct ucred`.
pub(crate) fn credentials(out: &mut String, frame: &Frame<'_>, at: u64) -> Option<()> {
    let pid = frame.u32_at(at)? as i32;
    let uid = frame.u32_at(at.checked_add(4)?)?;
    let gid = frame.u32_at(at.checked_add(8)?)?;
    let _ = write!(out, "{{pid={pid}, uid={uid}, gid={gid}}}");
    Some(())
}

/// The call that socketcall(2) stands for.
pub(crate) fn socketcall(out: &mut String, frame: &Frame<'_>, index: usize) {
    names::one_of(out, set::SOCKETCALL, frame.args[index]);
}

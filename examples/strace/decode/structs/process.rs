//! Arguments of calls on processes: programs, clones, futexes, limits.

use std::fmt::Write;

use super::super::arg::hex;
use super::super::frame::{Frame, Outcome};
use super::super::names::{self, flags, one_of, process as set};
use super::super::text::{CUT, quote};
use super::{field, signals};

/// The strings of a new program's arguments: an array that a null pointer ends.
pub(crate) fn argv(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let at = frame.args[index];
    out.push('[');
    for element in 0..=CUT as u64 {
        let place = at.checked_add(element * frame.word_size())?;
        let separator = if element > 0 { ", " } else { "" };
        match frame.word_at(place) {
            Some(0) => break,
            Some(_) if element == CUT as u64 => out.push_str(", ..."),
            Some(string) => {
                out.push_str(separator);
                frame.string(out, string);
            }
            None if element == 0 => return None,
            None => {
                let _ = write!(out, "{separator}... /* {place:#x} */");
                break;
            }
        }
    }
    out.push(']');
    Some(())
}

/// How many variables of an environment are counted.
const ENV_MAX: u64 = 64 * 1024;

/// Pointers that are read at once when an environment is counted.
const ENV_CHUNK: u64 = 64;

/// A new program's environment: only how large it is.
pub(crate) fn envp(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let at = frame.args[index];
    let count = count_pointers(frame, at);
    frame.pointer(out, at);
    let _ = match count {
        Some((1, true)) => write!(out, " /* 1 var */"),
        Some((count, true)) => write!(out, " /* {count} vars */"),
        Some((count, false)) => write!(out, " /* {count} vars, unterminated */"),
        None => Ok(()),
    };
    Some(())
}

/// How many pointers there are, and whether a null pointer ends them. `None` if there is
/// no memory at all.
fn count_pointers(frame: &Frame<'_>, at: u64) -> Option<(u64, bool)> {
    let word = frame.word_size();
    let mut count = 0;
    while count < ENV_MAX {
        let place = at.checked_add(count * word)?;
        let chunk = frame.bytes(place, (ENV_CHUNK * word) as usize);
        let Some(bytes) = chunk else {
            return count_singly(frame, at, count);
        };
        let words = bytes.chunks_exact(word as usize);
        match (0..)
            .zip(words)
            .find(|(_, bytes)| bytes.iter().all(|&byte| byte == 0))
        {
            Some((more, _)) => return Some((count + more, true)),
            None => count += ENV_CHUNK,
        }
    }
    Some((count, false))
}

/// The rest of [`count_pointers`] where less than a chunk can be read.
fn count_singly(frame: &Frame<'_>, at: u64, from: u64) -> Option<(u64, bool)> {
    for count in from..from + ENV_CHUNK {
        match frame.word_at(at.checked_add(count * frame.word_size())?) {
            Some(0) => return Some((count, true)),
            Some(_) => {}
            None => return (count > 0).then_some((count, false)),
        }
    }
    Some((from + ENV_CHUNK, false))
}

/// Writes flags of clone with the signal in their lowest byte.
fn clone_flags(out: &mut String, value: u64) {
    let start = out.len();
    let (bits, signal) = (value & !0xff, (value & 0xff) as i32);
    if bits != 0 {
        flags(out, set::CLONE, bits);
    }
    if signal != 0 {
        names::join(out, start, "");
        signals::write_signal(out, signal);
    } else if bits == 0 {
        out.push('0');
    }
}

/// All arguments of clone(2), named: their order depends on the architecture.
pub(crate) fn clone(out: &mut String, frame: &Frame<'_>, _index: usize) {
    let [bits, stack, parent_tid, ..] = frame.args;
    // Only 64-bit x86 has the thread's pointer last.
    let (child_tid, tls) = match cfg!(target_arch = "x86_64") && frame.is_wide() {
        true => (frame.args[3], frame.args[4]),
        false => (frame.args[4], frame.args[3]),
    };
    out.push_str("child_stack=");
    frame.pointer(out, stack);
    out.push_str(", flags=");
    clone_flags(out, bits);
    let has = |flag: i32| bits & flag as u64 != 0;
    if has(libc::CLONE_PARENT_SETTID | libc::CLONE_PIDFD) {
        out.push_str(", parent_tid=");
        frame.pointer(out, parent_tid);
    }
    if has(libc::CLONE_SETTLS) {
        out.push_str(", tls=");
        frame.pointer(out, tls);
    }
    if has(libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID) {
        out.push_str(", child_tidptr=");
        frame.pointer(out, child_tid);
    }
}

/// `struct clone_args` of clone3(2), the same for all architectures.
pub(crate) fn clone_args(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let at = frame.args[index];
    let word = |number: u64| frame.u64_at(at.checked_add(number * 8)?);
    out.push_str("{flags=");
    let bits = word(0)?;
    flags(out, set::CLONE, bits);
    let has = |flag: i32| bits & flag as u64 != 0;
    let tids = [
        ("pidfd", 1, has(libc::CLONE_PIDFD)),
        (
            "child_tid",
            2,
            has(libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID),
        ),
        ("parent_tid", 3, has(libc::CLONE_PARENT_SETTID)),
    ];
    for (name, number, shown) in tids {
        if shown {
            field(out, name);
            frame.pointer(out, word(number)?);
        }
    }
    field(out, "exit_signal");
    signals::write_signal(out, word(4)? as i32);
    field(out, "stack");
    frame.pointer(out, word(5)?);
    field(out, "stack_size");
    hex(out, word(6)?);
    if has(libc::CLONE_SETTLS) {
        field(out, "tls");
        frame.pointer(out, word(7)?);
    }
    out.push('}');
    Some(())
}

/// The operation of futex(2) with its flags.
pub(crate) fn futex_op(out: &mut String, frame: &Frame<'_>, index: usize) {
    let op = frame.int(index);
    one_of(out, set::FUTEX, (op & libc::FUTEX_CMD_MASK) as u64);
    if op & libc::FUTEX_PRIVATE_FLAG != 0 {
        out.push_str("_PRIVATE");
    }
    if op & libc::FUTEX_CLOCK_REALTIME != 0 {
        out.push_str("|FUTEX_CLOCK_REALTIME");
    }
}

/// The bits that futex(2) waits for.
pub(crate) fn futex_bits(out: &mut String, frame: &Frame<'_>, index: usize) {
    match frame.args[index] as u32 {
        u32::MAX => out.push_str("FUTEX_BITSET_MATCH_ANY"),
        bits => hex(out, u64::from(bits)),
    }
}

/// `struct rlimit`, of words.
pub(crate) fn rlimit(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let [soft, hard] = frame.words(frame.args[index])?;
    let infinity = frame.sign_extend(u64::MAX) as u64;
    let widen = |limit: u64| match frame.sign_extend(limit) {
        -1 => infinity,
        _ => limit,
    };
    write_rlimit(out, widen(soft), widen(hard), "RLIM_INFINITY");
    Some(())
}

/// `struct rlimit64`.
pub(crate) fn rlimit64(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let at = frame.args[index];
    let (soft, hard) = (frame.u64_at(at)?, frame.u64_at(at.checked_add(8)?)?);
    write_rlimit(out, soft, hard, "RLIM64_INFINITY");
    Some(())
}

fn write_rlimit(out: &mut String, soft: u64, hard: u64, infinity: &str) {
    let write = |out: &mut String, limit: u64| {
        let _ = match limit {
            u64::MAX => write!(out, "{infinity}"),
            _ if limit > 1024 && limit.is_multiple_of(1024) => write!(out, "{}*1024", limit / 1024),
            _ => write!(out, "{limit}"),
        };
    };
    out.push_str("{rlim_cur=");
    write(out, soft);
    out.push_str(", rlim_max=");
    write(out, hard);
    out.push('}');
}

/// `struct utsname`: three of its names.
pub(crate) fn utsname(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let at = frame.args[index];
    out.push('{');
    for (number, name) in [(0, "sysname"), (1, "nodename"), (2, "release")] {
        field(out, name);
        let bytes = frame.array::<65>(at.checked_add(number * 65)?)?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(65);
        quote(out, &bytes[..end]);
    }
    out.push_str(", ...}");
    Some(())
}

/// A name of at most 15 bytes, which prctl(2) gives.
pub(crate) fn thread_name(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    frame.string(out, frame.args[index]);
    Some(())
}

/// Ids of groups; their number is the argument before.
pub(crate) fn groups(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let count = match frame.outcome {
        Outcome::Value(count @ 1..) => count as u64,
        _ => u64::from(frame.args[0] as u32),
    };
    if count == 0 {
        return None;
    }
    frame.list(out, frame.args[index], count, 4, |out, at| {
        let _ = write!(out, "{}", frame.u32_at(at)?);
        Some(())
    });
    Some(())
}

/// The processors of an affinity mask, as many bytes as `len` says.
fn write_cpus(out: &mut String, frame: &Frame<'_>, address: u64, len: u64) -> Option<()> {
    let bytes = frame.bytes(address, len.min(1024) as usize)?;
    out.push('[');
    let members = (0..bytes.len() * 8).filter(|cpu| bytes[cpu / 8] & (1 << (cpu % 8)) != 0);
    for (shown, cpu) in members.enumerate() {
        if shown > 0 {
            out.push(' ');
        }
        if shown == CUT {
            out.push_str("...");
            break;
        }
        let _ = write!(out, "{cpu}");
    }
    out.push(']');
    Some(())
}

/// The mask that sched_setaffinity(2) is given; its size is the argument before.
pub(crate) fn cpus(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    write_cpus(out, frame, frame.args[index], frame.args[index - 1])
}

/// The mask that sched_getaffinity(2) gives, as many bytes as its result says.
pub(crate) fn cpus_out(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    match frame.outcome {
        Outcome::Value(len) => write_cpus(out, frame, frame.args[index], u64::try_from(len).ok()?),
        _ => None,
    }
}

/// A pointer that is pointed to.
pub(crate) fn pointer_at(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let pointer = frame.word_at(frame.args[index])?;
    out.push('[');
    frame.pointer(out, pointer);
    out.push(']');
    Some(())
}

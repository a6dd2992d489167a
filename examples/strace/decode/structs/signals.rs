//! Signals: numbers, sets, actions, siginfo.

use std::fmt::Write;

use tracehound::Signal;

use super::super::frame::Frame;
use super::super::names::{self, flags, one_of, process as set};
use super::field;

/// A signal's number; 0 asks only whether one could be sent.
pub(crate) fn signal(out: &mut String, frame: &Frame<'_>, index: usize) {
    write_signal(out, frame.int(index));
}

/// Writes a signal's name, or a number that is none as it is.
pub(crate) fn write_signal(out: &mut String, number: i32) {
    let signal = Signal::from_raw(number);
    let _ = match signal.is_valid() {
        true => write!(out, "{signal}"),
        false => write!(out, "{number}"),
    };
}

/// A set of signals; its size in bytes is the argument after the next for the first of
/// two sets, else the next.
pub(crate) fn signal_set(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    write_set_at(out, frame, frame.args[index])
}

/// Writes the set of signals at an address.
pub(crate) fn write_set_at(out: &mut String, frame: &Frame<'_>, at: u64) -> Option<()> {
    write_set(out, frame.u64_at(at)?);
    Some(())
}

fn write_set(out: &mut String, set: u64) {
    // A set of most signals is easier to read by what it lacks.
    let inverted = set.count_ones() > 32;
    out.push_str(if inverted { "~[" } else { "[" });
    let members = if inverted { !set } else { set };
    let start = out.len();
    for number in (1..=64).filter(|number| members & (1 << (number - 1)) != 0) {
        if out.len() > start {
            out.push(' ');
        }
        let signal = Signal::from_raw(number);
        let _ = match signal.name() {
            Some(name) => write!(out, "{}", name.trim_start_matches("SIG")),
            None if number == 32 => write!(out, "RTMIN"),
            None => write!(out, "RT_{}", number - 32),
        };
    }
    out.push(']');
}

/// `struct sigaction` as rt_sigaction(2) has it: handler, flags, restorer, mask.
pub(crate) fn action(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let at = frame.args[index];
    let [handler, bits, restorer] = frame.words(at)?;
    let mask = frame.u64_at(at.checked_add(3 * frame.word_size())?)?;
    out.push_str("{sa_handler=");
    match names::find(set::HANDLER, handler) {
        Some(name) if handler < 2 => out.push_str(name),
        _ => frame.pointer(out, handler),
    }
    field(out, "sa_mask");
    write_set(out, mask);
    field(out, "sa_flags");
    flags(out, set::SA, bits & 0xffff_ffff);
    if bits & 0x0400_0000 != 0 {
        field(out, "sa_restorer");
        frame.pointer(out, restorer);
    }
    out.push('}');
    Some(())
}

/// `stack_t` of sigaltstack(2).
pub(crate) fn stack(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let [base, bits, size] = frame.words(frame.args[index])?;
    out.push_str("{ss_sp=");
    frame.pointer(out, base);
    field(out, "ss_flags");
    flags(out, set::SS, bits & 0xffff_ffff);
    let _ = write!(out, ", ss_size={size}}}");
    Some(())
}

/// A siginfo: the signal, its code, and for a child's what became of it.
pub(crate) fn siginfo(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let at = frame.args[index];
    let int = |offset: u64| Some(frame.u32_at(at.checked_add(offset)?)? as i32);
    let (number, code) = (int(0)?, int(8)?);
    if number == 0 {
        out.push_str("{}");
        return Some(());
    }
    out.push_str("{si_signo=");
    write_signal(out, number);
    field(out, "si_code");
    if number == libc::SIGCHLD && code > 0 {
        one_of(out, set::CLD, code as u64);
        // The union begins where a pointer may.
        let fields = if frame.is_wide() { 16 } else { 12 };
        let (pid, uid, status) = (int(fields)?, int(fields + 4)?, int(fields + 8)?);
        let _ = write!(out, ", si_pid={pid}, si_uid={uid}, si_status=");
        match code {
            libc::CLD_EXITED => {
                let _ = write!(out, "{status}");
            }
            _ => write_signal(out, status),
        }
    } else {
        let _ = write!(out, "{code}");
    }
    out.push_str(", ...}");
    Some(())
}

/// The pointer and size that pselect6(2) packs into its last argument.
pub(crate) fn packed_set(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let [address, len] = frame.words(frame.args[index])?;
    out.push_str("{sigmask=");
    frame.pointee(out, address, |out, at| write_set_at(out, frame, at));
    let _ = write!(out, ", sigsetsize={len}}}");
    Some(())
}

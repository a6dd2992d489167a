//! Arguments of calls on memory.

use super::super::arg::mode;
use super::super::frame::Frame;
use super::super::names::{self, flags, memory as set, one_of};

/// The kind of a mapping, then its flags.
pub(crate) fn map_flags(out: &mut String, frame: &Frame<'_>, index: usize) {
    let value = frame.args[index] & 0xffff_ffff;
    one_of(out, set::MAP_TYPE, value & 0xf);
    // The size of its huge pages is a number among the bits.
    let (huge, rest) = (value >> 26, value & 0x03ff_ffff & !0xf);
    if rest != 0 {
        out.push('|');
        flags(out, set::MAP, rest);
    }
    if huge != 0 {
        out.push_str(&format!("|{huge}<<MAP_HUGE_SHIFT"));
    }
}

/// The key of a System V object.
pub(crate) fn ipc_key(out: &mut String, frame: &Frame<'_>, index: usize) {
    one_of(out, set::IPC_KEY, frame.args[index]);
}

/// Flags and permissions of a System V object.
pub(crate) fn shm_flags(out: &mut String, frame: &Frame<'_>, index: usize) {
    let value = frame.args[index] & 0xffff_ffff;
    if value & !0o777 != 0 {
        flags(out, set::SHMGET, value & !0o777);
        out.push('|');
    }
    mode(out, (value & 0o777) as u32);
}

/// A command on a System V object, which C libraries mark as the new form.
pub(crate) fn ipc_command(out: &mut String, frame: &Frame<'_>, index: usize) {
    const IPC_64: u64 = 0x100;
    let command = frame.args[index] & 0xffff_ffff;
    match names::find(set::IPC, command & !IPC_64) {
        Some(name) if command & IPC_64 != 0 => {
            out.push_str("IPC_64|");
            out.push_str(name);
        }
        _ => one_of(out, set::IPC, command),
    }
}

//! The four debug registers of x86, with their control (`DR7`) and status (`DR6`).
//!
//! The kernel checks at each write of one register that the whole makes sense: a register
//! is switched off, with its length and kind reset, before its address is changed.

use super::{BreakpointKind, HardwareBreakpoint};
use crate::ptrace::words::{debug_register_offset, peek_user, poke_user};
use crate::{Errno, Result, Tid};

const REGISTERS: usize = 4;
const STATUS: usize = 6;
const CONTROL: usize = 7;

fn read(tid: Tid, register: usize) -> Result<u64> {
    peek_user(tid, debug_register_offset(register).ok_or(Errno::EIO)?)
}

fn write(tid: Tid, register: usize, value: u64) -> Result<()> {
    poke_user(
        tid,
        debug_register_offset(register).ok_or(Errno::EIO)?,
        value,
    )
}

/// The bits of `DR7` that belong to a register: two to enable it, two for the kind, two for
/// the length.
const fn mask(register: usize) -> u64 {
    0b11 << (2 * register) | 0b1111 << (16 + 4 * register)
}

/// The bits of `DR7` for a breakpoint in this register; `None` if x86 has no such thing.
fn encode(register: usize, breakpoint: &HardwareBreakpoint) -> Option<u64> {
    let kind = match breakpoint.kind {
        BreakpointKind::Execute if breakpoint.length == 1 => 0,
        BreakpointKind::Write => 0b01,
        BreakpointKind::ReadWrite => 0b11,
        _ => return None,
    };
    let length = match breakpoint.length {
        1 => 0b00,
        2 => 0b01,
        8 => 0b10,
        4 => 0b11,
        _ => return None,
    };
    Some(1 << (2 * register) | (length << 2 | kind) << (16 + 4 * register))
}

/// What `DR7` says of a register; `None` if it is off.
fn decode(register: usize, control: u64, address: u64) -> Option<HardwareBreakpoint> {
    if control & 0b11 << (2 * register) == 0 {
        return None;
    }
    let bits = control >> (16 + 4 * register);
    Some(HardwareBreakpoint {
        address,
        kind: match bits & 0b11 {
            0b00 => BreakpointKind::Execute,
            0b01 => BreakpointKind::Write,
            // 0b10 watches ports, which the kernel does not allow.
            _ => BreakpointKind::ReadWrite,
        },
        length: match bits >> 2 & 0b11 {
            0b00 => 1,
            0b01 => 2,
            0b10 => 8,
            _ => 4,
        },
    })
}

/// What is in the registers, and the control word of these alone.
///
/// A new thread gets its parent's control word without the addresses, which are then zero
/// (x86, Linux 6.18): such a register is off, whatever the word says, and must not be
/// switched on with the next that is written.
fn all(tid: Tid) -> Result<(u64, [Option<HardwareBreakpoint>; REGISTERS])> {
    let told = read(tid, CONTROL)?;
    let mut control = 0;
    let mut found = [None; REGISTERS];
    for (register, slot) in found.iter_mut().enumerate() {
        if told & 0b11 << (2 * register) == 0 {
            continue;
        }
        let address = read(tid, register)?;
        if address != 0 {
            *slot = decode(register, told, address);
            control |= told & mask(register);
        }
    }
    Ok((control, found))
}

pub(super) fn list(tid: Tid) -> Result<Vec<HardwareBreakpoint>> {
    Ok(all(tid)?.1.into_iter().flatten().collect())
}

pub(super) fn set(tid: Tid, breakpoint: &HardwareBreakpoint) -> Result<()> {
    let (control, found) = all(tid)?;
    if found.contains(&Some(*breakpoint)) {
        return Ok(());
    }
    let register = found
        .iter()
        .position(Option::is_none)
        .ok_or(Errno::ENOSPC)?;
    let bits = encode(register, breakpoint).ok_or(Errno::EINVAL)?;
    write(tid, CONTROL, control)?;
    write(tid, register, breakpoint.address)?;
    write(tid, CONTROL, control | bits)
}

pub(super) fn clear(tid: Tid, breakpoint: &HardwareBreakpoint) -> Result<bool> {
    let (control, found) = all(tid)?;
    let Some(register) = found.iter().position(|slot| *slot == Some(*breakpoint)) else {
        return Ok(false);
    };
    write(tid, CONTROL, control & !mask(register))?;
    Ok(true)
}

pub(super) fn clear_all(tid: Tid) -> Result<()> {
    write(tid, CONTROL, 0)
}

pub(super) fn fired(tid: Tid) -> Result<Vec<HardwareBreakpoint>> {
    let status = read(tid, STATUS)?;
    let (_, found) = all(tid)?;
    let fired = found.into_iter().enumerate();
    Ok(fired
        .filter_map(|(register, slot)| slot.filter(|_| status & 1 << register != 0))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_control_word_decodes(register in 0..REGISTERS, control: u64, address: u64) {
            let Some(found) = decode(register, control, address) else {
                return Ok(());
            };
            prop_assert!(control & mask(register) != 0);
            if let Some(bits) = encode(register, &found) {
                prop_assert_eq!(decode(register, bits, address), Some(found));
                prop_assert_eq!(bits & !mask(register), 0);
            }
        }
    }
}

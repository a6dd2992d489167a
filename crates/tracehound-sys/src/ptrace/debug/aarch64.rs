//! The debug registers of arm64: a bank of breakpoints and one of watchpoints, each a
//! register set (`struct user_hwdebug_state`): a word that tells how many there are, then
//! for each an address and a control word.
//!
//! A watchpoint watches bytes of an aligned word of eight: its address is the word's, and a
//! mask in the control word says which of the bytes.

#![cfg_attr(not(target_arch = "aarch64"), allow(dead_code))]

use super::{BreakpointKind, HardwareBreakpoint};

/// Where the registers begin in the set, and how long each is.
const HEAD: usize = 8;
const ENTRY: usize = 16;

/// The control word: enabled, for user code (two bits), kind (two), bytes (eight).
const ENABLED: u32 = 1;
const USER: u32 = 2 << 1;
const KIND: u32 = 3;
const BYTES: u32 = 5;

/// A bank of debug registers, as the kernel gives it.
pub(super) struct Bank(Vec<u8>);

impl Bank {
    /// How many registers the processor has, as far as the set has room for them.
    fn len(&self) -> usize {
        let told = self.0.first().copied().map_or(0, usize::from);
        told.min(self.0.len().saturating_sub(HEAD) / ENTRY)
    }

    fn get(&self, register: usize) -> Option<HardwareBreakpoint> {
        if register >= self.len() {
            return None;
        }
        let entry = self.0.get(HEAD + ENTRY * register..)?;
        let word = u64::from_ne_bytes(entry.get(..8)?.try_into().ok()?);
        let control = u32::from_ne_bytes(entry.get(8..12)?.try_into().ok()?);
        if control & ENABLED == 0 {
            return None;
        }
        let bytes = (control >> BYTES) as u8;
        Some(HardwareBreakpoint {
            address: word.wrapping_add(u64::from(bytes.trailing_zeros() % 8)),
            kind: match control >> KIND & 0b11 {
                0b00 => BreakpointKind::Execute,
                0b01 => BreakpointKind::Read,
                0b10 => BreakpointKind::Write,
                _ => BreakpointKind::ReadWrite,
            },
            length: bytes.count_ones() as u8,
        })
    }

    fn put(&mut self, register: usize, address: u64, control: u32) {
        let at = HEAD + ENTRY * register;
        if let Some(entry) = self.0.get_mut(at..at + ENTRY) {
            entry[..8].copy_from_slice(&address.to_ne_bytes());
            entry[8..12].copy_from_slice(&control.to_ne_bytes());
            entry[12..].fill(0);
        }
    }

    /// What the kernel has to be given to change this register: the set up to its end.
    fn up_to(&self, register: usize) -> &[u8] {
        let end = HEAD + ENTRY * (register + 1);
        self.0.get(..end).unwrap_or(&self.0)
    }

    fn free(&self) -> Option<usize> {
        (0..self.len()).find(|&register| self.get(register).is_none())
    }

    fn find(&self, breakpoint: &HardwareBreakpoint) -> Option<usize> {
        (0..self.len()).find(|&register| self.get(register) == Some(*breakpoint))
    }

    fn list(&self) -> impl Iterator<Item = HardwareBreakpoint> {
        (0..self.len()).filter_map(|register| self.get(register))
    }
}

/// Address and control word of a breakpoint; `None` if arm64 has no such thing.
fn encode(breakpoint: &HardwareBreakpoint) -> Option<(u64, u32)> {
    let kind = match breakpoint.kind {
        BreakpointKind::Execute if breakpoint.length == 4 => 0b00,
        BreakpointKind::Execute => return None,
        BreakpointKind::Read => 0b01,
        BreakpointKind::Write => 0b10,
        BreakpointKind::ReadWrite => 0b11,
    };
    let bytes = 1_u32.checked_shl(breakpoint.length.into())? - 1;
    let (word, offset) = match breakpoint.kind {
        BreakpointKind::Execute => (breakpoint.address, 0),
        _ => (breakpoint.address & !7, breakpoint.address & 7),
    };
    let bytes = bytes << offset;
    (bytes <= 0xff).then_some((word, ENABLED | USER | kind << KIND | bytes << BYTES))
}

#[cfg(target_arch = "aarch64")]
mod requests {
    use super::{Bank, encode};
    use crate::ptrace::debug::{BreakpointKind, HardwareBreakpoint};
    use crate::ptrace::{RegSet, getregset, getsiginfo, setregset};
    use crate::{Errno, Result, Tid};

    const BANKS: [RegSet; 2] = [RegSet::ARM_HW_BREAK, RegSet::ARM_HW_WATCH];

    fn bank_of(breakpoint: &HardwareBreakpoint) -> RegSet {
        match breakpoint.kind {
            BreakpointKind::Execute => RegSet::ARM_HW_BREAK,
            _ => RegSet::ARM_HW_WATCH,
        }
    }

    fn read(tid: Tid, set: RegSet) -> Result<Bank> {
        getregset(tid, set).map(Bank)
    }

    pub(in crate::ptrace::debug) fn list(tid: Tid) -> Result<Vec<HardwareBreakpoint>> {
        let mut found = Vec::new();
        for set in BANKS {
            found.extend(read(tid, set)?.list());
        }
        Ok(found)
    }

    pub(in crate::ptrace::debug) fn set(tid: Tid, breakpoint: &HardwareBreakpoint) -> Result<()> {
        let set = bank_of(breakpoint);
        let mut bank = read(tid, set)?;
        if bank.find(breakpoint).is_some() {
            return Ok(());
        }
        let (address, control) = encode(breakpoint).ok_or(Errno::EINVAL)?;
        let register = bank.free().ok_or(Errno::ENOSPC)?;
        bank.put(register, address, control);
        setregset(tid, set, bank.up_to(register)).map(drop)
    }

    pub(in crate::ptrace::debug) fn clear(
        tid: Tid,
        breakpoint: &HardwareBreakpoint,
    ) -> Result<bool> {
        let set = bank_of(breakpoint);
        let mut bank = read(tid, set)?;
        let Some(register) = bank.find(breakpoint) else {
            return Ok(false);
        };
        bank.put(register, 0, 0);
        setregset(tid, set, bank.up_to(register))?;
        Ok(true)
    }

    pub(in crate::ptrace::debug) fn clear_all(tid: Tid) -> Result<()> {
        for set in BANKS {
            let mut bank = read(tid, set)?;
            let used: Vec<usize> = (0..bank.len()).filter(|&r| bank.get(r).is_some()).collect();
            for register in used {
                bank.put(register, 0, 0);
                setregset(tid, set, bank.up_to(register))?;
            }
        }
        Ok(())
    }

    /// The kernel tells the address: of the instruction, or of the access.
    pub(in crate::ptrace::debug) fn fired(tid: Tid) -> Result<Vec<HardwareBreakpoint>> {
        let Some(address) = getsiginfo(tid)?.address() else {
            return Ok(Vec::new());
        };
        let mut all = list(tid)?;
        all.retain(|breakpoint| breakpoint.covers(address));
        Ok(all)
    }
}

#[cfg(target_arch = "aarch64")]
pub(super) use requests::{clear, clear_all, fired, list, set};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bank(registers: u8) -> Bank {
        let mut bytes = vec![0; HEAD + 16 * ENTRY];
        bytes[0] = registers;
        Bank(bytes)
    }

    #[test]
    fn what_is_put_is_found() {
        let mut bank = bank(4);
        let watch = HardwareBreakpoint::watch(0x1004, 2, BreakpointKind::Write);
        let (address, control) = encode(&watch).expect("possible");
        // Two bytes of the word at 0x1000, the fourth and the fifth; stores, by user code.
        assert_eq!(
            (address, control),
            (0x1000, 0x30 << 5 | 0b10 << 3 | 0b10 << 1 | 1)
        );
        assert_eq!(bank.free(), Some(0));
        bank.put(0, 0, 0);
        bank.put(1, address, control);
        assert_eq!(bank.find(&watch), Some(1));
        assert_eq!(bank.list().collect::<Vec<_>>(), [watch]);
        assert_eq!(bank.up_to(1).len(), HEAD + 2 * ENTRY);
        assert!(watch.covers(0x1005) && !watch.covers(0x1006) && !watch.covers(0x1003));
        let wide = HardwareBreakpoint::watch(0x1008, 8, BreakpointKind::ReadWrite);
        let (address, control) = encode(&wide).expect("possible");
        assert_eq!(
            (address, control),
            (0x1008, 0xff << 5 | 0b11 << 3 | 0b10 << 1 | 1)
        );
        let execute = HardwareBreakpoint {
            length: 4,
            ..HardwareBreakpoint::execute(0x4004)
        };
        assert_eq!(encode(&execute), Some((0x4004, 0xf << 5 | 0b10 << 1 | 1)));
    }

    proptest! {
        #[test]
        fn any_bank_is_read(bytes: Vec<u8>, register in 0_usize..300, address: u64, control: u32) {
            let mut bank = Bank(bytes);
            let (len, size) = (bank.len(), bank.0.len());
            prop_assert!(bank.list().count() <= len);
            bank.put(register, address, control);
            prop_assert!(bank.up_to(register).len() <= size);
            prop_assert!(register < len || bank.get(register).is_none());
            if register > 0 || size == 0 {
                prop_assert_eq!((bank.len(), bank.0.len()), (len, size));
            }
        }

        #[test]
        fn any_breakpoint_is_encoded_or_refused(address: u64, length: u8, kind in 0..4) {
            let kind = [
                BreakpointKind::Execute,
                BreakpointKind::Read,
                BreakpointKind::Write,
                BreakpointKind::ReadWrite,
            ][kind as usize];
            let breakpoint = HardwareBreakpoint::watch(address, length, kind);
            if let Some((word, control)) = encode(&breakpoint).filter(|_| length > 0) {
                let mut bank = bank(1);
                bank.put(0, word, control);
                prop_assert_eq!(bank.get(0), Some(breakpoint));
            }
        }
    }
}

//! A call's arguments together with the memory they point into.

use std::fmt::Write;

use tracehound::{Arch, SyscallEntry};

use super::memory::{self, CStr, Memory, PATH_MAX};
use super::text::{CUT, quote, quote_cut};

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has not returned.
    None,
    /// It returned this.
    Value(i64),
    /// It failed.
    Failed,
}

/// A list goes on only in a line shorter than this: lists of lists of strings get long.
const LINE_MAX: usize = 16 * 1024;

/// How a call takes a file offset of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offsets {
    /// In one register.
    Whole,
    /// In two.
    Halves,
    /// In two, of which the first has an even number.
    EvenHalves,
}

/// Bit 30 of an x86_64 call's number: the x32 ABI, whose pointers have 32 bits.
const X32_BIT: u64 = 0x4000_0000;

/// One call at its entry or exit.
pub(crate) struct Frame<'a> {
    /// The arguments, of which as many bits count as the call's architecture has.
    pub(crate) args: [u64; 6],
    /// How far the call has come.
    pub(crate) outcome: Outcome,
    /// Bytes of a `long` or a pointer: 4 or 8.
    word: usize,
    arch: Arch,
    memory: &'a dyn Memory,
}

impl<'a> Frame<'a> {
    /// A frame of the call.
    pub(crate) fn new(entry: &SyscallEntry, outcome: Outcome, memory: &'a dyn Memory) -> Self {
        let word = word_of(entry);
        let args = match word {
            4 if entry.arch != Arch::X86_64 => entry.args.map(|arg| arg & 0xffff_ffff),
            _ => entry.args,
        };
        Frame {
            args,
            outcome,
            word,
            arch: entry.arch,
            memory,
        }
    }

    /// The argument as a C `int`.
    pub(crate) fn int(&self, index: usize) -> i32 {
        self.args[index] as i32
    }

    /// The argument as a C `long`.
    pub(crate) fn long(&self, index: usize) -> i64 {
        self.sign_extend(self.args[index])
    }

    /// A word of the program as a signed number.
    pub(crate) fn sign_extend(&self, word: u64) -> i64 {
        match self.word {
            4 => i64::from(word as i32),
            _ => word as i64,
        }
    }

    /// Bytes of a `long` or a pointer.
    pub(crate) fn word_size(&self) -> u64 {
        self.word as u64
    }

    /// Whether the structures are those of a 64-bit program.
    pub(crate) fn is_wide(&self) -> bool {
        self.word == 8
    }

    /// How the call takes a file offset.
    pub(crate) fn offsets(&self) -> Offsets {
        match self.arch {
            Arch::I386 => Offsets::Halves,
            Arch::ARM => Offsets::EvenHalves,
            _ => Offsets::Whole,
        }
    }

    /// Exactly `N` bytes at `address`.
    pub(crate) fn array<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        memory::array(self.memory, address)
    }

    /// Exactly `len` bytes at `address`, if that is not too much.
    pub(crate) fn bytes(&self, address: u64, len: usize) -> Option<Vec<u8>> {
        memory::bytes(self.memory, address, len)
    }

    /// An `int` at `address`.
    pub(crate) fn u32_at(&self, address: u64) -> Option<u32> {
        self.array(address).map(u32::from_ne_bytes)
    }

    /// Eight bytes at `address`.
    pub(crate) fn u64_at(&self, address: u64) -> Option<u64> {
        self.array(address).map(u64::from_ne_bytes)
    }

    /// A `long` or pointer at `address`.
    pub(crate) fn word_at(&self, address: u64) -> Option<u64> {
        match self.word {
            4 => self.u32_at(address).map(u64::from),
            _ => self.u64_at(address),
        }
    }

    /// `N` words that lie one behind the other.
    pub(crate) fn words<const N: usize>(&self, address: u64) -> Option<[u64; N]> {
        let mut words = [0; N];
        for (at, word) in (0..).zip(&mut words) {
            *word = self.word_at(address.checked_add(at * self.word_size())?)?;
        }
        Some(words)
    }

    /// Writes a pointer.
    pub(crate) fn pointer(&self, out: &mut String, address: u64) {
        match address {
            0 => out.push_str("NULL"),
            _ => {
                let _ = write!(out, "{address:#x}");
            }
        }
    }

    /// Writes what `decode` makes of the memory at `address`; the pointer if that fails.
    pub(crate) fn pointee(
        &self,
        out: &mut String,
        address: u64,
        decode: impl FnOnce(&mut String, u64) -> Option<()>,
    ) {
        let start = out.len();
        if address == 0 || decode(out, address).is_none() {
            out.truncate(start);
            self.pointer(out, address);
        }
    }

    /// Writes a file name, whole.
    pub(crate) fn path(&self, out: &mut String, address: u64) {
        self.pointee(out, address, |out, address| {
            let CStr { bytes, whole } = memory::c_str(self.memory, address, PATH_MAX)?;
            quote(out, &bytes);
            if !whole {
                out.push_str("...");
            }
            Some(())
        });
    }

    /// Writes the beginning of a string.
    pub(crate) fn string(&self, out: &mut String, address: u64) {
        self.pointee(out, address, |out, address| {
            let CStr { bytes, whole } = memory::c_str(self.memory, address, CUT + 1)?;
            quote_cut(out, &bytes, !whole);
            Some(())
        });
    }

    /// Writes the beginning of `len` bytes of data.
    pub(crate) fn data(&self, out: &mut String, address: u64, len: u64) {
        self.pointee(out, address, |out, address| {
            let shown = len.min(CUT as u64) as usize;
            quote_cut(out, &self.bytes(address, shown)?, len > CUT as u64);
            Some(())
        });
    }

    /// Writes `[a, b, c]`: at most [`CUT`] of `count` elements, each `size` bytes long.
    pub(crate) fn list(
        &self,
        out: &mut String,
        address: u64,
        count: u64,
        size: u64,
        mut element: impl FnMut(&mut String, u64) -> Option<()>,
    ) {
        self.pointee(out, address, |out, address| {
            out.push('[');
            for at in 0..count.min(CUT as u64) {
                if at > 0 {
                    out.push_str(", ");
                }
                if out.len() > LINE_MAX {
                    out.push_str("...");
                    break;
                }
                let start = out.len();
                let place = address.checked_add(at.checked_mul(size)?)?;
                if element(out, place).is_none() {
                    if at == 0 {
                        return None;
                    }
                    // What could be read is shown, then where it ended.
                    out.truncate(start);
                    let _ = write!(out, "... /* {place:#x} */");
                    break;
                }
            }
            if count > CUT as u64 {
                out.push_str(", ...");
            }
            out.push(']');
            Some(())
        });
    }
}

/// Bytes of a `long` in the program that made the call.
fn word_of(entry: &SyscallEntry) -> usize {
    match entry.arch {
        Arch::I386 | Arch::ARM => 4,
        Arch::X86_64 if entry.nr & X32_BIT != 0 => 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Fake;
    use super::*;

    fn with_frame(arch: Arch, memory: &Fake, check: impl FnOnce(&Frame<'_>, &mut String)) {
        let entry = SyscallEntry {
            arch,
            nr: 0,
            args: [u64::MAX; 6],
        };
        check(
            &Frame::new(&entry, Outcome::None, memory),
            &mut String::new(),
        );
    }

    #[test]
    fn words_have_the_size_of_the_program() {
        let memory = Fake::default().with(8, [1, 0, 0, 0, 2, 0, 0, 0]);
        with_frame(Arch::I386, &memory, |frame, _| {
            assert_eq!(frame.args[0], 0xffff_ffff);
            assert_eq!(frame.long(0), -1);
            assert_eq!(frame.words(8), Some([1, 2]));
        });
        with_frame(Arch::X86_64, &memory, |frame, _| {
            assert_eq!(frame.words(8), Some([0x2_0000_0001]));
            assert_eq!(frame.words::<2>(8), None);
        });
    }

    #[test]
    fn what_cannot_be_read_is_a_pointer() {
        with_frame(Arch::X86_64, &Fake::default(), |frame, out| {
            frame.path(out, 0);
            frame.string(out, 1);
            frame.data(out, u64::MAX, u64::MAX);
            frame.list(out, 16, u64::MAX, u64::MAX, |_, _| None);
            assert_eq!(out, "NULL0x10xffffffffffffffff0x10");
        });
    }

    #[test]
    fn lists_are_bounded() {
        with_frame(Arch::X86_64, &Fake::default(), |frame, out| {
            let mut seen = 0;
            frame.list(out, 16, u64::MAX, 4, |out, _| {
                seen += 1;
                out.push('x');
                Some(())
            });
            assert_eq!(seen, CUT);
            assert!(out.ends_with("x, ...]"), "{out}");
        });
    }

    #[test]
    fn a_list_ends_where_memory_does() {
        let memory = Fake::default().with(8, [7, 0, 0, 0]);
        with_frame(Arch::X86_64, &memory, |frame, out| {
            frame.list(out, 8, 3, 4, |out, at| {
                let _ = write!(out, "{}", frame.u32_at(at)?);
                Some(())
            });
            assert_eq!(out, "[7, ... /* 0xc */]");
        });
    }
}

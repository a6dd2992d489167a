//! Numbers with names: sets of flags, and values of which there is one.

pub(crate) mod files;
pub(crate) mod memory;
pub(crate) mod net;
pub(crate) mod process;
pub(crate) mod system;
pub(crate) mod time;

use std::fmt::Write;

/// Numbers and their names. Of flags that share bits, the one with more bits is first.
pub(crate) type Names = &'static [(u64, &'static str)];

/// A list of [`Names`]: `NAME` for a constant of libc, `NAME = number` for others.
macro_rules! names {
    ($($name:ident $(= $value:expr)?),* $(,)?) => {
        &[$(($crate::decode::names::names!(@value $name $($value)?), stringify!($name))),*]
    };
    // By way of 32 bits: an int whose highest bit is set must not become a wider number.
    (@value $name:ident) => { libc::$name as u32 as u64 };
    (@value $name:ident $value:expr) => { $value as u64 };
}
pub(crate) use names;

/// Writes flags joined by `|`, what has no name in hexadecimal.
pub(crate) fn flags(out: &mut String, names: Names, value: u64) {
    let mut rest = value;
    let start = out.len();
    for (bits, name) in names {
        if *bits == 0 && value == 0 {
            out.push_str(name);
            return;
        }
        if *bits != 0 && rest & bits == *bits {
            rest &= !bits;
            join(out, start, name);
        }
    }
    if rest != 0 {
        or_rest(out, start, rest);
    } else if out.len() == start {
        out.push('0');
    }
}

/// Appends `name`, after a `|` if it is not the first since `start`.
pub(crate) fn join(out: &mut String, start: usize, name: &str) {
    if out.len() > start {
        out.push('|');
    }
    out.push_str(name);
}

/// Appends bits without names.
pub(crate) fn or_rest(out: &mut String, start: usize, rest: u64) {
    join(out, start, "");
    let _ = write!(out, "{rest:#x}");
}

/// The name of a 32-bit value.
pub(crate) fn find(names: Names, value: u64) -> Option<&'static str> {
    // Compared as 32 bits: the upper half of a register that holds an int is arbitrary.
    names
        .iter()
        .find(|(number, _)| *number as u32 == value as u32)
        .map(|(_, name)| *name)
}

/// Writes the name of a 32-bit value, or the value in hexadecimal.
pub(crate) fn one_of(out: &mut String, names: Names, value: u64) {
    match find(names, value) {
        Some(name) => out.push_str(name),
        None => {
            let _ = write!(out, "{:#x}", value as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: Names = names![BOTH = 3, ONE = 1, TWO = 2, BIG = 0x100];

    fn flags_text(value: u64) -> String {
        let mut out = String::new();
        flags(&mut out, SET, value);
        out
    }

    #[test]
    fn flags_are_joined() {
        assert_eq!(flags_text(0), "0");
        assert_eq!(flags_text(1), "ONE");
        assert_eq!(flags_text(3), "BOTH");
        assert_eq!(flags_text(0x102), "TWO|BIG");
        assert_eq!(flags_text(0x1201), "ONE|0x1200");
        assert_eq!(flags_text(u64::MAX), "BOTH|BIG|0xfffffffffffffefc");
    }

    #[test]
    fn zero_may_have_a_name() {
        let mut out = String::new();
        flags(&mut out, names![PROT_NONE, PROT_READ], 0);
        assert_eq!(out, "PROT_NONE");
    }

    #[test]
    fn values_are_ints() {
        let mut out = String::new();
        one_of(&mut out, names![MINUS = -1i32], 0xffff_ffff);
        one_of(&mut out, names![MINUS = -1i32], 7);
        assert_eq!(out, "MINUS0x7");
    }
}

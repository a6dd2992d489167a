//! The kinds of arguments and how each is written.

use std::fmt::Write;

use super::frame::{Frame, Outcome};
use super::names::{self, Names};

/// Writes an argument that is a value; the last parameter is its index.
pub(crate) type Show = fn(&mut String, &Frame<'_>, usize);

/// Writes what an argument points to; `None` if it cannot be read.
pub(crate) type Decode = fn(&mut String, &Frame<'_>, usize) -> Option<()>;

/// What an argument is.
#[derive(Clone, Copy)]
pub(crate) enum Arg {
    /// A C `int`.
    Int,
    /// An `unsigned int`.
    Uint,
    /// A `long`, or an offset of 64 bits.
    Long,
    /// A `size_t`.
    Size,
    /// An offset of 64 bits in this register and the next.
    Halves,
    /// A register without an argument, or one that another argument has shown.
    Skip,
    /// A number with no better form.
    Hex,
    /// Permissions of a file.
    Mode,
    /// A pointer.
    Ptr,
    /// A descriptor of a directory, or `AT_FDCWD`.
    Dir,
    /// A file name.
    Path,
    /// A string that is not a file name.
    Str,
    /// Data, as long as the argument with this index says.
    Data(usize),
    /// Data that the call gives, as long as its result says.
    DataOut,
    /// Flags of 32 bits.
    Flags(Names),
    /// One of several values.
    OneOf(Names),
    /// Any other value.
    Value(Show),
    /// A pointer to what the call is given.
    In(Decode),
    /// A pointer to what the call gives.
    Out(Decode),
}

impl Arg {
    /// Whether the argument can only be shown when the call has returned.
    pub(crate) fn is_output(&self) -> bool {
        matches!(self, Arg::DataOut | Arg::Out(_))
    }

    /// Writes the argument with this index.
    pub(crate) fn write(&self, out: &mut String, frame: &Frame<'_>, index: usize) {
        let value = frame.args[index];
        let _ = match *self {
            Arg::Int => write!(out, "{}", value as i32),
            Arg::Uint => write!(out, "{}", value as u32),
            Arg::Long => write!(out, "{}", frame.long(index)),
            Arg::Size => write!(out, "{value}"),
            Arg::Halves => write!(out, "{}", halves(frame, index)),
            Arg::Skip => Ok(()),
            Arg::Hex => return hex(out, value),
            // The kernel's type for it has 16 bits.
            Arg::Mode => return mode(out, value as u32 & 0xffff),
            Arg::Ptr => return frame.pointer(out, value),
            Arg::Dir => return directory(out, value as i32),
            Arg::Path => return frame.path(out, value),
            Arg::Str => return frame.string(out, value),
            Arg::Data(len) => return frame.data(out, value, size(frame, len)),
            Arg::DataOut => return data_out(out, frame, value),
            Arg::Flags(names) => return names::flags(out, names, value & 0xffff_ffff),
            Arg::OneOf(names) => return names::one_of(out, names, value),
            Arg::Value(show) => return show(out, frame, index),
            Arg::In(decode) => return pointee(out, frame, index, decode),
            Arg::Out(decode) => match frame.outcome {
                Outcome::Value(_) => return pointee(out, frame, index, decode),
                _ => return frame.pointer(out, value),
            },
        };
    }
}

/// A size given by another argument; a table that names none gives 0.
fn size(frame: &Frame<'_>, index: usize) -> u64 {
    frame.args.get(index).copied().unwrap_or(0)
}

/// The number whose lower half is in this register.
fn halves(frame: &Frame<'_>, index: usize) -> i64 {
    let upper = frame.args.get(index + 1).copied().unwrap_or(0);
    (upper << 32 | frame.args[index] & 0xffff_ffff) as i64
}

fn pointee(out: &mut String, frame: &Frame<'_>, index: usize, decode: Decode) {
    frame.pointee(out, frame.args[index], |out, _| decode(out, frame, index));
}

fn data_out(out: &mut String, frame: &Frame<'_>, address: u64) {
    match frame.outcome {
        Outcome::Value(len) => frame.data(out, address, u64::try_from(len).unwrap_or(0)),
        _ => frame.pointer(out, address),
    }
}

/// Writes a number in hexadecimal.
pub(crate) fn hex(out: &mut String, value: u64) {
    let _ = match value {
        0 => write!(out, "0"),
        _ => write!(out, "{value:#x}"),
    };
}

/// Writes permissions in octal.
pub(crate) fn mode(out: &mut String, value: u32) {
    let _ = match value {
        0..0o100 => write!(out, "{value:03o}"),
        _ => write!(out, "0{value:o}"),
    };
}

/// Writes a descriptor that may be `AT_FDCWD`.
fn directory(out: &mut String, fd: i32) {
    let _ = match fd {
        libc::AT_FDCWD => write!(out, "AT_FDCWD"),
        _ => write!(out, "{fd}"),
    };
}

//! Calls with file offsets, which take two registers each in 32-bit programs; those of
//! 32-bit ARM begin at an even register.

use super::super::arg::Arg::{self, *};
use super::super::frame::{Frame, Offsets};
use super::super::names::files as set;
use super::super::structs::files::{vector, vector_out};
use super::Shape::By;
use super::Table;

pub(super) const CALLS: Table = &[
    ("pread64", By(pread)),
    ("pwrite64", By(pwrite)),
    ("preadv", By(preadv)),
    ("pwritev", By(pwritev)),
    ("preadv2", By(preadv2)),
    ("pwritev2", By(pwritev2)),
    ("truncate", By(|_| &[Path, Long])),
    ("ftruncate", By(|_| &[Int, Long])),
    ("truncate64", By(truncate64)),
    ("ftruncate64", By(ftruncate64)),
    ("readahead", By(readahead)),
    ("fallocate", By(fallocate)),
    ("fadvise64", By(fadvise64)),
    ("fadvise64_64", By(fadvise64_64)),
    (
        "arm_fadvise64_64",
        By(|_| &[Int, ADVICE, Halves, Skip, Halves, Skip]),
    ),
    ("sync_file_range", By(sync_file_range)),
    (
        "arm_sync_file_range",
        By(|_| &[Int, SYNC, Halves, Skip, Halves, Skip]),
    ),
    ("fanotify_mark", By(fanotify_mark)),
];

const ADVICE: Arg = OneOf(set::FADVISE);
const SYNC: Arg = Flags(set::SYNC_RANGE);
const RWF: Arg = Flags(set::RWF);

fn pread(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Int, DataOut, Size, Long],
        Offsets::Halves => &[Int, DataOut, Size, Halves, Skip],
        Offsets::EvenHalves => &[Int, DataOut, Size, Skip, Halves, Skip],
    }
}

fn pwrite(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Int, Data(2), Size, Long],
        Offsets::Halves => &[Int, Data(2), Size, Halves, Skip],
        Offsets::EvenHalves => &[Int, Data(2), Size, Skip, Halves, Skip],
    }
}

// The next four take the offset as two explicit arguments on every architecture; one
// of 64 bits ignores the second.

fn preadv(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Int, Out(vector_out), Size, Long],
        _ => &[Int, Out(vector_out), Size, Halves, Skip],
    }
}

fn pwritev(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Int, In(vector), Size, Long],
        _ => &[Int, In(vector), Size, Halves, Skip],
    }
}

fn preadv2(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Int, Out(vector_out), Size, Long, Skip, RWF],
        _ => &[Int, Out(vector_out), Size, Halves, Skip, RWF],
    }
}

fn pwritev2(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Int, In(vector), Size, Long, Skip, RWF],
        _ => &[Int, In(vector), Size, Halves, Skip, RWF],
    }
}

fn truncate64(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Path, Long],
        Offsets::Halves => &[Path, Halves, Skip],
        Offsets::EvenHalves => &[Path, Skip, Halves, Skip],
    }
}

fn ftruncate64(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Int, Long],
        Offsets::Halves => &[Int, Halves, Skip],
        Offsets::EvenHalves => &[Int, Skip, Halves, Skip],
    }
}

fn readahead(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Int, Long, Size],
        Offsets::Halves => &[Int, Halves, Skip, Size],
        Offsets::EvenHalves => &[Int, Skip, Halves, Skip, Size],
    }
}

fn fallocate(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Int, Flags(set::FALLOCATE), Long, Long],
        _ => &[Int, Flags(set::FALLOCATE), Halves, Skip, Halves, Skip],
    }
}

fn fadvise64(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Int, Long, Long, ADVICE],
        _ => &[Int, Halves, Skip, Long, ADVICE],
    }
}

fn fadvise64_64(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Int, Long, Long, ADVICE],
        _ => &[Int, Halves, Skip, Halves, Skip, ADVICE],
    }
}

fn sync_file_range(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Int, Long, Long, SYNC],
        _ => &[Int, Halves, Skip, Halves, Skip, SYNC],
    }
}

fn fanotify_mark(frame: &Frame<'_>) -> &'static [Arg] {
    match frame.offsets() {
        Offsets::Whole => &[Int, Hex, Hex, Dir, Path],
        _ => &[Int, Hex, Hex, Skip, Dir, Path],
    }
}

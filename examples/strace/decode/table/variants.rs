//! Calls whose arguments depend on the values of some of them.

use super::super::arg::Arg::{self, *};
use super::super::frame::Frame;
use super::super::names::{files, memory, process as set};
use super::super::structs::files::*;
use super::super::structs::process::{futex_bits, futex_op, thread_name};
use super::super::structs::signals::signal;
use super::super::structs::time::{timespec, timespec64};
use super::Shape::{Args, By};
use super::Table;

pub(super) const CALLS: Table = &[
    ("open", By(open)),
    ("openat", By(openat)),
    ("mq_open", By(mq_open)),
    ("mknod", By(mknod)),
    ("mknodat", By(mknodat)),
    ("fcntl", By(fcntl)),
    ("fcntl64", By(fcntl)),
    ("ioctl", By(ioctl)),
    ("mremap", By(mremap)),
    ("futex", By(futex)),
    ("futex_time64", By(futex_time64)),
    ("prctl", By(prctl)),
    ("ptrace", By(ptrace)),
    // Not in the table of obsolete calls, because it is a keyword.
    ("break", Args(&[])),
];

/// Whether open(2) with these flags makes a file, and takes its permissions.
fn creates(flags: i32) -> bool {
    flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE
}

fn open(frame: &Frame<'_>) -> &'static [Arg] {
    match creates(frame.int(1)) {
        true => &[Path, Value(open_flags), Mode],
        false => &[Path, Value(open_flags)],
    }
}

fn openat(frame: &Frame<'_>) -> &'static [Arg] {
    match creates(frame.int(2)) {
        true => &[Dir, Path, Value(open_flags), Mode],
        false => &[Dir, Path, Value(open_flags)],
    }
}

fn mq_open(frame: &Frame<'_>) -> &'static [Arg] {
    match creates(frame.int(1)) {
        true => &[Str, Value(open_flags), Mode, Ptr],
        false => &[Str, Value(open_flags)],
    }
}

/// Whether mknod(2) with this mode makes a device, and takes its number.
fn is_device(mode: i32) -> bool {
    matches!(mode as u32 & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK)
}

fn mknod(frame: &Frame<'_>) -> &'static [Arg] {
    match is_device(frame.int(1)) {
        true => &[Path, Value(file_mode), Value(device)],
        false => &[Path, Value(file_mode)],
    }
}

fn mknodat(frame: &Frame<'_>) -> &'static [Arg] {
    match is_device(frame.int(2)) {
        true => &[Dir, Path, Value(file_mode), Value(device)],
        false => &[Dir, Path, Value(file_mode)],
    }
}

fn fcntl(frame: &Frame<'_>) -> &'static [Arg] {
    const COMMAND: Arg = OneOf(files::FCNTL);
    const F_GETSIG: i32 = 11;
    const F_SETSIG: i32 = 10;
    const F_DUPFD_QUERY: i32 = 1027;
    match frame.int(1) {
        libc::F_GETFD
        | libc::F_GETFL
        | libc::F_GETOWN
        | F_GETSIG
        | libc::F_GETLEASE
        | libc::F_GETPIPE_SZ
        | libc::F_GET_SEALS => &[Int, COMMAND],
        libc::F_DUPFD
        | libc::F_DUPFD_CLOEXEC
        | libc::F_SETOWN
        | libc::F_SETPIPE_SZ
        | F_DUPFD_QUERY => &[Int, COMMAND, Int],
        libc::F_SETFD => &[Int, COMMAND, Flags(files::FD)],
        libc::F_SETFL => &[Int, COMMAND, Value(open_flags)],
        libc::F_SETLEASE => &[Int, COMMAND, OneOf(files::LOCK)],
        libc::F_ADD_SEALS => &[Int, COMMAND, Flags(files::SEALS)],
        F_SETSIG => &[Int, COMMAND, Value(signal)],
        libc::F_SETLK | libc::F_SETLKW | libc::F_OFD_SETLK | libc::F_OFD_SETLKW => {
            &[Int, COMMAND, In(flock)]
        }
        libc::F_GETLK | libc::F_OFD_GETLK => &[Int, COMMAND, Out(flock)],
        _ => &[Int, COMMAND, Hex],
    }
}

fn ioctl(frame: &Frame<'_>) -> &'static [Arg] {
    const REQUEST: Arg = OneOf(files::IOCTL);
    match frame.args[1] as u32 as libc::Ioctl {
        request if request == libc::TIOCGWINSZ => &[Int, REQUEST, Out(window_size)],
        request if request == libc::TIOCSWINSZ => &[Int, REQUEST, In(window_size)],
        request if request == libc::TIOCGPGRP || request == libc::FIONREAD => {
            &[Int, REQUEST, Out(int_at)]
        }
        request if request == libc::TIOCSPGRP || request == libc::FIONBIO => {
            &[Int, REQUEST, In(int_at)]
        }
        request if request == libc::FIOCLEX || request == libc::FIONCLEX => &[Int, REQUEST],
        _ => &[Int, REQUEST, Hex],
    }
}

fn mremap(frame: &Frame<'_>) -> &'static [Arg] {
    const FLAGS: Arg = Flags(memory::MREMAP);
    match frame.int(3) & libc::MREMAP_FIXED != 0 {
        true => &[Ptr, Size, Size, FLAGS, Ptr],
        false => &[Ptr, Size, Size, FLAGS],
    }
}

/// The fourth argument of futex(2) is a time or a number, or is not used.
macro_rules! futex_by {
    ($frame:expr, $time:expr) => {{
        const OP: Arg = Value(futex_op);
        match $frame.int(1) & libc::FUTEX_CMD_MASK {
            libc::FUTEX_WAIT => &[Ptr, OP, Uint, In($time)],
            libc::FUTEX_WAIT_BITSET => &[Ptr, OP, Uint, In($time), Ptr, Value(futex_bits)],
            libc::FUTEX_WAKE | libc::FUTEX_FD => &[Ptr, OP, Int],
            libc::FUTEX_WAKE_BITSET => &[Ptr, OP, Int, Skip, Skip, Value(futex_bits)],
            libc::FUTEX_REQUEUE => &[Ptr, OP, Int, Int, Ptr],
            libc::FUTEX_CMP_REQUEUE | libc::FUTEX_CMP_REQUEUE_PI => &[Ptr, OP, Int, Int, Ptr, Uint],
            libc::FUTEX_WAKE_OP => &[Ptr, OP, Int, Int, Ptr, Hex],
            libc::FUTEX_LOCK_PI => &[Ptr, OP, Skip, In($time)],
            libc::FUTEX_UNLOCK_PI | libc::FUTEX_TRYLOCK_PI => &[Ptr, OP],
            libc::FUTEX_WAIT_REQUEUE_PI => &[Ptr, OP, Uint, In($time), Ptr],
            _ => &[Ptr, OP, Uint, Hex, Ptr, Hex],
        }
    }};
}

fn futex(frame: &Frame<'_>) -> &'static [Arg] {
    futex_by!(frame, timespec)
}

fn futex_time64(frame: &Frame<'_>) -> &'static [Arg] {
    futex_by!(frame, timespec64)
}

fn prctl(frame: &Frame<'_>) -> &'static [Arg] {
    const OPTION: Arg = OneOf(set::PRCTL);
    match frame.int(0) {
        libc::PR_GET_DUMPABLE
        | libc::PR_GET_KEEPCAPS
        | libc::PR_GET_SECCOMP
        | libc::PR_GET_TIMING
        | libc::PR_GET_SECUREBITS
        | libc::PR_GET_TIMERSLACK => &[OPTION],
        libc::PR_SET_NAME => &[OPTION, Str],
        libc::PR_GET_NAME => &[OPTION, Out(thread_name)],
        libc::PR_SET_PDEATHSIG => &[OPTION, Value(signal)],
        libc::PR_GET_PDEATHSIG | libc::PR_GET_CHILD_SUBREAPER => &[OPTION, Out(int_at)],
        libc::PR_SET_DUMPABLE => &[OPTION, OneOf(set::DUMPABLE)],
        libc::PR_SET_KEEPCAPS
        | libc::PR_SET_TIMING
        | libc::PR_CAPBSET_READ
        | libc::PR_CAPBSET_DROP
        | libc::PR_SET_TIMERSLACK
        | libc::PR_SET_CHILD_SUBREAPER => &[OPTION, Size],
        libc::PR_SET_NO_NEW_PRIVS => &[OPTION, Size, Hex, Hex, Hex],
        libc::PR_SET_SECCOMP => &[OPTION, Hex, Ptr],
        _ => &[OPTION, Hex, Hex, Hex, Hex],
    }
}

fn ptrace(frame: &Frame<'_>) -> &'static [Arg] {
    const REQUEST: Arg = OneOf(set::PTRACE);
    const TRACEME: i32 = 0;
    const CONT: i32 = 7;
    const SINGLESTEP: i32 = 9;
    const DETACH: i32 = 17;
    const SYSCALL: i32 = 24;
    const SETOPTIONS: i32 = 0x4200;
    const SEIZE: i32 = 0x4206;
    const INTERRUPT: i32 = 0x4207;
    const LISTEN: i32 = 0x4208;
    match frame.int(0) {
        TRACEME => &[REQUEST],
        INTERRUPT | LISTEN => &[REQUEST, Int],
        CONT | SINGLESTEP | DETACH | SYSCALL => &[REQUEST, Int, Ptr, Value(signal)],
        SETOPTIONS | SEIZE => &[REQUEST, Int, Ptr, Flags(set::PTRACE_OPTIONS)],
        _ => &[REQUEST, Int, Ptr, Ptr],
    }
}

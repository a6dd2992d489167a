//! What `/proc` tells about threads. Everything read here is hostile input: names
//! hold any bytes, files end half-way, directories vanish.

mod credentials;
mod system;
#[cfg(any(test, fuzzing))]
pub(crate) mod written;

#[cfg(any(test, fuzzing))]
pub(crate) use credentials::parse as parse_credentials;
pub use credentials::{
    Capabilities, Credentials, Ids, UserNamespace, credentials, in_first_user_namespace,
    is_dumpable, user_namespace,
};
pub use system::{kernel_is_older_than, kernel_version, security_modules, yama_scope};

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;

use crate::{SignalSet, Tid};

/// The parts of `/proc/TID/status` that a tracer needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// The state's letter: `R`, `S`, `D`, `T`, `t`, `Z`, `X`, `I`.
    pub state: char,
    /// The process.
    pub tgid: Tid,
    /// The parent process.
    pub parent: Tid,
    /// Who traces it; zero for nobody.
    pub tracer: Tid,
    /// How many threads its process has; zero once it is dead.
    pub threads: usize,
    /// Whether it is a kernel thread.
    pub kernel_thread: bool,
    /// Its seccomp mode: 0 for none, 1 for strict, 2 for filters.
    pub seccomp: u32,
    /// The signals that it blocks at the moment. (`PTRACE_GETSIGMASK` gives those that it will
    /// block after sigsuspend(2) and its like.)
    pub blocked: SignalSet,
}

/// A file of a thread. Only ids that can name a thread become part of a path.
fn path(tid: Tid, file: &str) -> io::Result<String> {
    match tid.is_valid() {
        true => Ok(format!("/proc/{tid}/{file}")),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Reads `/proc/TID/status`.
///
/// # Errors
///
/// `NotFound` if there is no such thread; `InvalidData` if the text is not what
/// Linux writes.
pub fn status(tid: Tid) -> io::Result<Status> {
    let text = read(&path(tid, "status")?)?;
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let (mut status, told) = parse_status(&text).ok_or_else(invalid)?;
    if told == Told::Nothing {
        let text = read(&path(tid, "stat")?)?;
        status.kernel_thread = parse_flags(&text).ok_or_else(invalid)? & PF_KTHREAD != 0;
    }
    Ok(status)
}

/// The name of a thread, as it has set it: `/proc/TID/comm`. Any bytes but NUL; at most 15,
/// and 63 for a kernel thread.
///
/// # Errors
///
/// `NotFound` if there is no such thread.
pub fn comm(tid: Tid) -> io::Result<OsString> {
    let mut name = read(&path(tid, "comm")?)?;
    // The kernel's own; the name may hold others.
    name.pop_if(|last| *last == b'\n');
    Ok(OsString::from_vec(name))
}

/// The letter of [`Status::state`] alone, of a thread of this process, at a third of its
/// cost.
///
/// # Errors
///
/// As [`status`], also if it is no thread of this process.
pub fn state(pid: Tid, tid: Tid) -> io::Result<char> {
    // The file of that name in `/proc/TID` adds up the times of all threads.
    let text = read(&path(pid, &format!("task/{tid}/stat"))?)?;
    parse_state(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Reads a file that the kernel writes in one piece, in one read if it is not long.
/// ([`fs::read`] makes five to nine, each of which writes all of it.)
fn read(path: &str) -> io::Result<Vec<u8>> {
    const USUAL: usize = 4096;
    let mut file = File::open(path).map_err(vanished)?;
    let mut text = vec![0; USUAL];
    let mut length = 0;
    loop {
        length += match file.read(&mut text[length..]) {
            Ok(more) => more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(vanished(error)),
        };
        if length < text.len() {
            text.truncate(length);
            return Ok(text);
        }
        text.resize(2 * length, 0);
    }
}

/// A read of a file in the directory of a thread that has just been reaped fails
/// with `ESRCH`: the same as no such directory.
fn vanished(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
        _ => error,
    }
}

/// What `/proc/TID/status` says about kernel threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// Whether it is one.
    Yes,
    /// Nothing, before Linux 6.8, and neither has it memory, which they never have.
    Nothing,
}

/// The kernel's mark of its own threads, in the flags of `/proc/TID/stat`.
const PF_KTHREAD: u32 = 0x0020_0000;

/// The lines of `/proc/TID/status`: names and values.
fn fields(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    // The kernel escapes newlines in Name, so that no name makes a line.
    text.split(|&b| b == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&b| b == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        Some((name, value.get(1..)?.trim_ascii()))
    })
}

pub(crate) fn parse_status(text: &[u8]) -> Option<(Status, Told)> {
    let mut state = None;
    let mut tgid = None;
    let mut parent = None;
    let mut tracer = None;
    let mut threads = 0;
    let mut seccomp = 0;
    let mut blocked = SignalSet::EMPTY;
    let mut kernel_thread = false;
    let mut told = Told::Nothing;
    for (name, value) in fields(text) {
        match name {
            b"State" => state = value.first().map(|&b| b as char),
            b"Tgid" => tgid = number(value),
            b"PPid" => parent = number(value),
            b"TracerPid" => tracer = number(value),
            b"Threads" => threads = number(value).map_or(0, |n| n.as_raw().max(0) as usize),
            b"Seccomp" => seccomp = number(value).map_or(0, |n| n.as_raw().max(0) as u32),
            b"SigBlk" => blocked = SignalSet::from_bits(hexadecimal(value).unwrap_or(0)),
            b"VmSize" => told = Told::Yes,
            b"Kthread" => {
                told = Told::Yes;
                kernel_thread = value == b"1";
            }
            _ => {}
        }
    }
    let status = Status {
        state: state?,
        tgid: tgid?,
        parent: parent?,
        tracer: tracer?,
        threads,
        kernel_thread,
        seccomp,
        blocked,
    };
    Some((status, told))
}

/// The fields of `/proc/TID/stat` after the thread's name, which holds any bytes.
fn stat_fields(text: &[u8]) -> Option<impl Iterator<Item = &str>> {
    let end = text.iter().rposition(|&b| b == b')')?;
    let fields = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    Some(fields.split_ascii_whitespace())
}

pub(crate) fn parse_state(text: &[u8]) -> Option<char> {
    stat_fields(text)?.next()?.chars().next()
}

/// The kernel's flags of a thread.
pub(crate) fn parse_flags(text: &[u8]) -> Option<u32> {
    stat_fields(text)?.nth(6)?.parse().ok()
}

fn number(value: &[u8]) -> Option<Tid> {
    let text = std::str::from_utf8(value).ok()?;
    text.parse().ok().map(Tid::from_raw)
}

fn hexadecimal(value: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(value).ok()?, 16).ok()
}

/// The threads of a process: one reading of `/proc/PID/task`.
///
/// One reading misses threads that are made meanwhile.
///
/// # Errors
///
/// `NotFound` if there is no such process.
pub fn tasks(pid: Tid) -> io::Result<Vec<Tid>> {
    numbers_in(&path(pid, "task")?)
}

/// All processes of the pid namespace whose `/proc` this is: one reading of it.
///
/// # Errors
///
/// Those of reading the directory.
pub fn processes() -> io::Result<Vec<Tid>> {
    numbers_in("/proc")
}

fn numbers_in(directory: &str) -> io::Result<Vec<Tid>> {
    let mut tids = Vec::new();
    for entry in fs::read_dir(directory).map_err(vanished)? {
        let name = match entry {
            Ok(entry) => entry.file_name(),
            Err(error) => return Err(vanished(error)),
        };
        tids.extend(number(name.as_encoded_bytes()));
    }
    Ok(tids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn own_status_is_read() {
        let own = status(Tid::current()).expect("this thread exists");
        assert_eq!(own.tgid, Tid::current_process());
        assert!(matches!(own.state, 'R' | 'S'));
        let state = state(Tid::current_process(), Tid::current());
        assert_eq!(state.ok(), Some('R'));
        assert!(!own.kernel_thread);
        let tids = tasks(Tid::current_process()).expect("this process exists");
        assert!(tids.contains(&Tid::current()));
        let processes = processes().expect("there is a /proc");
        assert!(processes.contains(&Tid::current_process()));
    }

    #[test]
    fn nobody_is_not_found() {
        for raw in [0, -1, i32::MIN, i32::MAX] {
            let error = status(Tid::from_raw(raw)).expect_err("no such thread");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            let error = state(Tid::current(), Tid::from_raw(raw)).expect_err("no such thread");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            let error = tasks(Tid::from_raw(raw)).expect_err("no such process");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn kernel_threads_before_linux_6_8() {
        let text = b"State:\tS\nTgid:\t2\nPPid:\t0\nTracerPid:\t0\n";
        let (_, told) = parse_status(text).expect("complete");
        assert_eq!(told, Told::Nothing);
        let stat = fs::read("/proc/self/stat").expect("it exists");
        assert_eq!(parse_flags(&stat).expect("a number") & PF_KTHREAD, 0);
        let stat = b"2 (a) 1 2) S 0 0 0 0 -1 2129984 0 0 0";
        assert_ne!(parse_flags(stat).expect("a number") & PF_KTHREAD, 0);
    }

    #[test]
    fn names_are_read_as_they_are() {
        let name = comm(Tid::current()).expect("this thread exists");
        let text = fs::read("/proc/thread-self/comm").expect("it exists");
        assert_eq!(name.as_encoded_bytes(), text.trim_ascii_end());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: Vec<u8>) {
            let _ = parse_status(&text);
            let _ = parse_flags(&text);
            let _ = parse_state(&text);
        }

        #[test]
        fn no_name_makes_a_line_or_a_field(
            name in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(b"\n\\():\t S\x1b".to_vec())],
                0..15,
            ),
            ids: [i32; 3],
            flags: u32,
        ) {
            written::check(&name, ids, flags);
        }
    }
}

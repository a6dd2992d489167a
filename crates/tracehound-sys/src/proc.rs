//! What `/proc` tells about threads. Everything read here is hostile input: names
//! hold any bytes, files end half-way, directories vanish.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;

use crate::Tid;

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
    /// Whether it is a kernel thread (Linux 6.8; `false` before).
    pub kernel_thread: bool,
}

/// Reads `/proc/TID/status`.
///
/// # Errors
///
/// `NotFound` if there is no such thread; `InvalidData` if the text is not what
/// Linux writes.
pub fn status(tid: Tid) -> io::Result<Status> {
    if !tid.is_valid() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let text = fs::read(format!("/proc/{tid}/status")).map_err(vanished)?;
    parse_status(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The name of a thread, as it has set it: `/proc/TID/comm`. Any bytes but NUL; at most 15,
/// and 63 for a kernel thread.
///
/// # Errors
///
/// `NotFound` if there is no such thread.
pub fn comm(tid: Tid) -> io::Result<OsString> {
    if !tid.is_valid() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut name = fs::read(format!("/proc/{tid}/comm")).map_err(vanished)?;
    // The kernel's own; the name may hold others.
    name.pop_if(|last| *last == b'\n');
    Ok(OsString::from_vec(name))
}

/// A read of a file in the directory of a thread that has just been reaped fails
/// with `ESRCH`: the same as no such directory.
fn vanished(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
        _ => error,
    }
}

fn parse_status(text: &[u8]) -> Option<Status> {
    let mut state = None;
    let mut tgid = None;
    let mut parent = None;
    let mut tracer = None;
    let mut kernel_thread = false;
    for line in text.split(|&b| b == b'\n') {
        // The kernel escapes newlines in Name, so that no name makes a line.
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            continue;
        };
        let value = line[colon + 1..].trim_ascii();
        match &line[..colon] {
            b"State" => state = value.first().map(|&b| b as char),
            b"Tgid" => tgid = number(value),
            b"PPid" => parent = number(value),
            b"TracerPid" => tracer = number(value),
            b"Kthread" => kernel_thread = value == b"1",
            _ => {}
        }
    }
    Some(Status {
        state: state?,
        tgid: tgid?,
        parent: parent?,
        tracer: tracer?,
        kernel_thread,
    })
}

fn number(value: &[u8]) -> Option<Tid> {
    let text = std::str::from_utf8(value).ok()?;
    text.parse().ok().map(Tid::from_raw)
}

/// The threads of a process: one reading of `/proc/PID/task`.
///
/// One reading misses threads that are made meanwhile.
///
/// # Errors
///
/// `NotFound` if there is no such process.
pub fn tasks(pid: Tid) -> io::Result<Vec<Tid>> {
    if !pid.is_valid() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut tids = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).map_err(vanished)? {
        let name = match entry {
            Ok(entry) => entry.file_name(),
            Err(error) => return Err(vanished(error)),
        };
        tids.extend(number(name.as_encoded_bytes()));
    }
    Ok(tids)
}

/// The release of the running kernel as major and minor number.
pub fn kernel_version() -> (u32, u32) {
    let release = nix::sys::utsname::uname()
        .map(|names| names.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    parse_release(&release)
}

fn parse_release(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
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
        assert!(!own.kernel_thread);
        let tids = tasks(Tid::current_process()).expect("this process exists");
        assert!(tids.contains(&Tid::current()));
    }

    #[test]
    fn nobody_is_not_found() {
        for raw in [0, -1, i32::MIN, i32::MAX] {
            let error = status(Tid::from_raw(raw)).expect_err("no such thread");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            let error = tasks(Tid::from_raw(raw)).expect_err("no such process");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn releases_of_every_vendor() {
        assert_eq!(parse_release("6.18.44-fc-v669"), (6, 18));
        assert_eq!(parse_release("5.4.0-1103-aws"), (5, 4));
        assert_eq!(parse_release("5.10+"), (5, 10));
        assert_eq!(parse_release(""), (0, 0));
        assert_eq!(parse_release("99999999999.1"), (0, 1));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: Vec<u8>) {
            let _ = parse_status(&text);
        }
    }
}

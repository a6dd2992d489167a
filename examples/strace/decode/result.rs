//! What a call returned.

use std::fmt::Write;

use tracehound::Errno;

use super::arg::mode;
use super::names::{self, Names, names};

/// The kernel's own error numbers, which the program never sees: what becomes of a call
/// that a signal interrupted.
const RESTARTS: Names = names![
    ERESTARTSYS = 512,
    ERESTARTNOINTR = 513,
    ERESTARTNOHAND = 514,
    ERESTART_RESTARTBLOCK = 516,
];

/// Calls that return an address.
const ADDRESSES: [&str; 6] = [
    "brk",
    "mmap",
    "mmap2",
    "mremap",
    "shmat",
    "map_shadow_stack",
];

/// Writes the result of a call that succeeded.
pub(crate) fn value(out: &mut String, name: &str, value: i64) {
    let _ = match name {
        _ if ADDRESSES.contains(&name) => write!(out, "{value:#x}"),
        "umask" => return mode(out, value as u32),
        _ => write!(out, "{value}"),
    };
}

/// Writes the result of a call that failed.
pub(crate) fn error(out: &mut String, errno: i32) {
    let known = Errno::from_raw(errno);
    let _ = match names::find(RESTARTS, errno as u64) {
        Some(name) => write!(out, "? {name} ({})", restart(errno)),
        None if known == Errno::UnknownErrno => write!(out, "-1 (errno {errno})"),
        None => write!(out, "-1 {known:?} ({})", description(errno)),
    };
}

fn restart(errno: i32) -> &'static str {
    match errno {
        512 => "To be restarted if SA_RESTART is set",
        513 => "To be restarted",
        514 => "To be restarted if no handler",
        _ => "Interrupted by signal",
    }
}

fn description(errno: i32) -> String {
    reason(&std::io::Error::from_raw_os_error(errno))
}

/// The C library's text of an error, without the number that std adds to it.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.rfind(" (os error") {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn errors_have_names_and_texts() {
        let no_file = text(|out| error(out, libc::ENOENT));
        assert_eq!(no_file, "-1 ENOENT (No such file or directory)");
        let again = text(|out| error(out, libc::EAGAIN));
        assert_eq!(again, "-1 EAGAIN (Resource temporarily unavailable)");
        assert_eq!(text(|out| error(out, 999)), "-1 (errno 999)");
        assert_eq!(text(|out| error(out, -1)), "-1 (errno -1)");
        assert_eq!(
            text(|out| error(out, 512)),
            "? ERESTARTSYS (To be restarted if SA_RESTART is set)"
        );
    }

    #[test]
    fn values_are_decimal_but_for_addresses() {
        assert_eq!(text(|out| value(out, "read", -3)), "-3");
        assert_eq!(text(|out| value(out, "mmap", 0x7f00)), "0x7f00");
        assert_eq!(text(|out| value(out, "umask", 0o22)), "022");
        assert_eq!(text(|out| value(out, "umask", 0)), "000");
    }
}

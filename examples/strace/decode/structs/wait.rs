//! What becomes of children: wait statuses and resource usage.

use std::fmt::Write;

use super::super::frame::{Frame, Outcome};
use super::signals::write_signal;
use super::time;

/// The status that wait4(2) gives; nothing is written if no child was there.
pub(crate) fn status(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    if frame.outcome == Outcome::Value(0) {
        return None;
    }
    let status = frame.u32_at(frame.args[index])? as i32;
    out.push('[');
    write_status(out, status);
    out.push(']');
    Some(())
}

fn write_status(out: &mut String, status: i32) {
    if libc::WIFEXITED(status) {
        let code = libc::WEXITSTATUS(status);
        let _ = write!(out, "{{WIFEXITED(s) && WEXITSTATUS(s) == {code}}}");
    } else if libc::WIFSIGNALED(status) {
        out.push_str("{WIFSIGNALED(s) && WTERMSIG(s) == ");
        write_signal(out, libc::WTERMSIG(status));
        if libc::WCOREDUMP(status) {
            out.push_str(" && WCOREDUMP(s)");
        }
        out.push('}');
    } else if libc::WIFCONTINUED(status) {
        out.push_str("{WIFCONTINUED(s)}");
    } else if libc::WIFSTOPPED(status) {
        out.push_str("{WIFSTOPPED(s) && WSTOPSIG(s) == ");
        write_signal(out, libc::WSTOPSIG(status));
        out.push('}');
        if status >> 16 != 0 {
            let _ = write!(out, " | {:#x} << 16", status >> 16);
        }
    } else {
        let _ = write!(out, "{status:#x}");
    }
}

/// `struct rusage`: the two times it begins with.
pub(crate) fn usage(out: &mut String, frame: &Frame<'_>, index: usize) -> Option<()> {
    let at = frame.args[index];
    out.push_str("{ru_utime=");
    time::write_timeval(out, frame, at)?;
    out.push_str(", ru_stime=");
    time::write_timeval(out, frame, at.checked_add(2 * frame.word_size())?)?;
    out.push_str(", ...}");
    Some(())
}

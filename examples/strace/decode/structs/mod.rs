//! Structures and other arguments that take more than a line to write.

pub(crate) mod files;
pub(crate) mod memory;
pub(crate) mod net;
pub(crate) mod process;
pub(crate) mod signals;
pub(crate) mod sockopt;
pub(crate) mod time;
pub(crate) mod wait;

use super::frame::Frame;

/// What some results are followed by: the meaning of flags, what became ready.
pub(crate) fn after_result(out: &mut String, name: &str, frame: &Frame<'_>) {
    match name {
        "fcntl" | "fcntl64" => files::after_fcntl(out, frame),
        "poll" | "ppoll" => files::after_poll(out, frame),
        "select" | "pselect6" | "_newselect" => files::after_select(out, frame),
        _ => {}
    }
}

/// Writes `name=`, for a field.
fn field(out: &mut String, name: &str) {
    if !out.ends_with('{') {
        out.push_str(", ");
    }
    out.push_str(name);
    out.push('=');
}

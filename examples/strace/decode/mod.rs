//! System calls as text: `openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3`.
//!
//! What a call is given is read at its entry, because the call may change it (a
//! successful execve replaces all of memory); what it gives, at its exit. In between a
//! [`Call`] is text with holes.

mod arg;
mod frame;
mod memory;
mod names;
mod result;
mod structs;
mod table;
mod text;

use std::fmt::Write;

use tracehound::SyscallEntry;

use arg::Arg;
use frame::{Frame, Outcome};
pub(crate) use memory::Memory;
pub(crate) use result::reason;
pub(crate) use table::known_name;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    /// With this value.
    Value(i64),
    /// With this error number.
    Error(i32),
    /// Not, as far as was seen.
    Never,
}

/// The name of a call.
pub(crate) fn name(entry: &SyscallEntry) -> Option<&'static str> {
    // One name is a keyword of Rust: the table of names has it as an identifier.
    entry.name().map(|name| name.trim_start_matches("r#"))
}

/// A call that was entered.
pub(crate) struct Call {
    entry: SyscallEntry,
    args: &'static [Arg],
    /// The call without what it gives.
    text: String,
    /// Where in the text an argument is missing, and which.
    holes: Vec<(usize, usize)>,
}

impl Call {
    /// Reads the arguments of a call that is being entered.
    pub(crate) fn enter(entry: &SyscallEntry, memory: &dyn Memory) -> Self {
        let frame = Frame::new(entry, Outcome::None, memory);
        let mut call = Call {
            entry: *entry,
            args: table::args(name(entry), &frame),
            text: String::with_capacity(128),
            holes: Vec::new(),
        };
        call.write_name();
        call.text.push('(');
        // There are at most as many arguments as registers, whatever the table says.
        for (index, arg) in call.args.iter().enumerate().take(frame.args.len()) {
            if matches!(arg, Arg::Skip) {
                continue;
            }
            if index > 0 {
                call.text.push_str(", ");
            }
            if arg.is_output() {
                call.holes.push((call.text.len(), index));
            } else {
                arg.write(&mut call.text, &frame, index);
            }
        }
        call.text.push(')');
        call
    }

    fn write_name(&mut self) {
        match name(&self.entry) {
            Some(name) => self.text.push_str(name),
            None => {
                let _ = write!(self.text, "syscall_{:#x}", self.entry.nr);
            }
        }
    }

    /// The call with its result.
    pub(crate) fn finish(self, ended: Return, memory: &dyn Memory) -> String {
        let outcome = match ended {
            Return::Value(value) => Outcome::Value(value),
            Return::Error(_) => Outcome::Failed,
            Return::Never => Outcome::None,
        };
        let frame = Frame::new(&self.entry, outcome, memory);
        let mut line = self.fill(&frame);
        line.push_str(" = ");
        let name = name(&self.entry).unwrap_or_default();
        match ended {
            Return::Value(value) => {
                result::value(&mut line, name, frame.sign_extend(value as u64));
                structs::after_result(&mut line, name, &frame);
            }
            Return::Error(errno) => result::error(&mut line, errno),
            Return::Never => line.push('?'),
        }
        line
    }

    /// The call without a result: it will not be seen to return.
    pub(crate) fn unfinished(self) -> String {
        let nothing = |_: u64, _: &mut [u8]| 0;
        self.finish(Return::Never, &nothing)
    }

    /// The text with the missing arguments put in.
    fn fill(&self, frame: &Frame<'_>) -> String {
        let mut line = String::with_capacity(self.text.len() + 64);
        let mut done = 0;
        for &(at, index) in &self.holes {
            line.push_str(&self.text[done..at]);
            self.args[index].write(&mut line, frame, index);
            done = at;
        }
        line.push_str(&self.text[done..]);
        line
    }
}

#[cfg(test)]
mod tests;

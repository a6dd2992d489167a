//! A terminal on which the tree is drawn, and drawn again.
//!
//! The cursor stands below the tree. To draw again it goes up by as many lines as were drawn,
//! and everything from there on is written anew. So the tree must not be higher than the
//! terminal, and no line longer: it does not wrap while the tree is drawn.

use std::io::{self, Write};

use crate::model::Line;

/// The size of a terminal that does not tell.
const USUAL: (usize, usize) = (24, 80);

/// Standard error.
#[derive(Default)]
pub(crate) struct Screen {
    drawn: usize,
}

impl Screen {
    /// How high and wide a tree may be.
    pub(crate) fn room() -> (usize, usize) {
        // SAFETY: zero is a value of every field.
        let mut size: libc::winsize = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes a winsize to `size`. Where it does not, it stays zero.
        unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) };
        let known = |size: u16, usual| if size > 0 { usize::from(size) } else { usual };
        let (rows, columns) = (known(size.ws_row, USUAL.0), known(size.ws_col, USUAL.1));
        // The cursor has a line of its own, and one column of each: to clear what is behind a
        // line that reaches to the end would clear its last character.
        (rows.saturating_sub(1).max(1), columns.saturating_sub(1))
    }

    /// Draws the tree in place of the one before.
    pub(crate) fn draw(&mut self, lines: &[Line]) {
        let mut out = self.up();
        out += NO_WRAP;
        for line in lines {
            out += &branches(&line.more);
            out += &line.text;
            out += CLEAR_LINE;
            out += "\r\n";
        }
        out += WRAP;
        out += CLEAR_BELOW;
        self.drawn = lines.len();
        write(&out);
    }

    /// Writes lines above the tree, which is to be drawn again.
    pub(crate) fn above(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut out = self.up();
        out += CLEAR_BELOW;
        for line in text.lines() {
            out += line;
            out += "\r\n";
        }
        self.drawn = 0;
        write(&out);
    }

    /// To where the tree begins.
    fn up(&self) -> String {
        match self.drawn {
            0 => "\r".to_string(),
            drawn => format!("\r\x1b[{drawn}A"),
        }
    }
}

const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

fn branches(more: &[bool]) -> String {
    let Some((own, above)) = more.split_last() else {
        return String::new();
    };
    let above = above.iter().map(|more| if *more { "│  " } else { "   " });
    above.chain([if *own { "├─ " } else { "└─ " }]).collect()
}

fn write(text: &str) {
    // In one piece, so that nothing comes in between. A terminal that is gone hangs up.
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_go_on_where_more_follows() {
        assert_eq!(branches(&[]), "");
        assert_eq!(branches(&[true]), "├─ ");
        assert_eq!(branches(&[true, false]), "│  └─ ");
        assert_eq!(branches(&[false, true]), "   ├─ ");
    }
}

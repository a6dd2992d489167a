//! Texts from outside, made harmless.

use std::io;

use tracehound::{Errno, ResourceUsage};

/// What is shown of a command or a line at most.
const MOST: usize = 1000;

/// Text in which nothing is left that a terminal obeys: no control character, and none that
/// changes the direction of text or has no width.
pub(crate) fn harmless(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match is_harmless(c) {
                true => text.push(c),
                false => text.extend(c.escape_default()),
            }
        }
        let bytes = chunk.invalid().iter().copied();
        text.extend(bytes.flat_map(std::ascii::escape_default).map(char::from));
        if text.len() > MOST {
            break;
        }
    }
    // Only what is too long in bytes can be so in characters.
    if let Some((end, _)) = text.char_indices().nth(MOST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn is_harmless(c: char) -> bool {
    let invisible = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !c.is_control() && !invisible
}

/// Time on a CPU and the most memory at a time, in a few characters.
pub(crate) fn usage(usage: &ResourceUsage) -> String {
    let time = usage.user_time.saturating_add(usage.system_time);
    let time = match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        1..100 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{seconds} s"),
    };
    const MIB: f64 = 1_048_576.0;
    format!("{time}, {:.1} MiB", usage.max_rss as f64 / MIB)
}

/// The text of an error, without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => Errno::from_raw(errno).desc().to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(harmless(b"make -j2"), "make -j2");
        assert_eq!(harmless("grüße".as_bytes()), "grüße");
        assert_eq!(harmless(b"\x1b[2J\n\x07\x7f"), r"\u{1b}[2J\n\u{7}\u{7f}");
        assert_eq!(harmless(b"\xff\xc2\x9b31m"), r"\xff\u{9b}31m");
        assert_eq!(harmless("\u{202e}gpj".as_bytes()), r"\u{202e}gpj");
    }

    #[test]
    fn nothing_is_longer_than_can_be_shown() {
        for long in ["x", "é", "\x1b"] {
            let text = harmless(long.repeat(5000).as_bytes());
            assert_eq!(text.chars().count(), MOST + 1);
        }
        assert_eq!(harmless(&[0xff; 5000]).chars().count(), MOST + 1);
    }
}

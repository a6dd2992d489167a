//! Bytes as C string literals, escaped the way strace does.

use std::fmt::Write;

/// How many bytes of data are shown.
pub(crate) const CUT: usize = 32;

/// Writes `bytes` in quotes: printable ASCII as it is, the usual letters for control
/// characters, octal for the rest, in as few digits as leave no doubt.
pub(crate) fn quote(out: &mut String, bytes: &[u8]) {
    out.reserve(bytes.len() + 2);
    out.push('"');
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x0b => out.push_str("\\v"),
            0x0c => out.push_str("\\f"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                // A digit that follows would be read as part of a short escape.
                let digit_follows = matches!(bytes.get(at + 1), Some(b'0'..=b'7'));
                let width = if digit_follows { 3 } else { 0 };
                let _ = write!(out, "\\{byte:0width$o}");
            }
        }
    }
    out.push('"');
}

/// As [`quote`], but all in hexadecimal: for bytes that are no text.
pub(crate) fn quote_hex(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
    out.push('"');
}

/// As [`quote`], but at most [`CUT`] bytes; `...` says that there are more.
pub(crate) fn quote_cut(out: &mut String, bytes: &[u8], more: bool) {
    quote(out, &bytes[..bytes.len().min(CUT)]);
    if more || bytes.len() > CUT {
        out.push_str("...");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(bytes: &[u8]) -> String {
        let mut out = String::new();
        quote(&mut out, bytes);
        out
    }

    #[test]
    fn escapes_are_those_of_strace() {
        let bytes = b"\x017\x018\x019\x01a\x80\xff7\x1b0\x1ba\x07\x08\x0c\x0b\r\t\n\\\"'\0\0";
        assert_eq!(
            quoted(bytes),
            r#""\0017\18\19\1a\200\3777\0330\33a\7\10\f\v\r\t\n\\\"'\0\0""#
        );
        assert_eq!(quoted(b""), r#""""#);
    }

    #[test]
    fn long_data_is_cut() {
        let mut out = String::new();
        quote_cut(&mut out, &[b'x'; 33], false);
        assert_eq!(out, format!("\"{}\"...", "x".repeat(32)));
        out.clear();
        quote_cut(&mut out, &[b'x'; 32], false);
        assert_eq!(out, format!("\"{}\"", "x".repeat(32)));
    }
}

//! Memory and strings that end at pages which are not there.

use crate::{Input, chunks};

const PAGE: usize = 4096;

pub fn read(bytes: &[u8]) {
    let mut input = Input(bytes);
    let pages = 1 + usize::from(input.byte() % 20);
    let begin = match input.byte() % 2 {
        0 => u64::from(input.byte()) * PAGE as u64,
        _ => u64::MAX - (pages * PAGE) as u64 + 1,
    };
    let at = usize::from(u16::from_ne_bytes(input.array())) % (pages * PAGE + 2);
    let len = match input.byte() % 4 {
        0 => usize::MAX,
        _ => (input.int().cast_unsigned() as usize) % (2 * pages * PAGE),
    };
    let mut there = vec![b'x'; pages * PAGE];
    while !input.is_empty() {
        let nul = usize::from(u16::from_ne_bytes(input.array())) % there.len();
        there[nul] = 0;
    }
    let Some(address) = begin.checked_add(at as u64) else {
        return;
    };
    let rest = there.get(at..).unwrap_or_default();
    let end = len.min(rest.len());
    let mut reads = 0;
    let mut kernel = |from: u64, buf: &mut [u8]| {
        reads += 1;
        let at = from.checked_sub(begin).ok_or(())? as usize;
        let rest = there.get(at..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        if n == 0 { Err(()) } else { Ok(n) }
    };
    let is_error = rest.is_empty() && len > 0;
    let read = chunks::bytes(address, len, &mut kernel);
    assert_eq!(read.is_err(), is_error);
    assert_eq!(read.unwrap_or_default(), &rest[..end]);
    let read = chunks::cstring(address, len, &mut kernel);
    let end = rest[..end]
        .iter()
        .position(|&b| b == 0)
        .map_or(end, |nul| nul + 1);
    assert_eq!(read.is_err(), is_error);
    assert_eq!(read.unwrap_or_default(), &rest[..end]);
    assert!(reads <= 2 * (pages + 3), "{reads} reads of {pages} pages");
}

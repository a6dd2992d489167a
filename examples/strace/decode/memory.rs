//! The memory that a call's arguments point into.
//!
//! What is there was put there by the program that is traced, which may mean ill: every
//! read is bounded, and an address that leads nowhere gives `None`, never an error.

/// Where the bytes come from: a tracee, or a test.
pub(crate) trait Memory {
    /// Reads from `address` on; gives how many bytes could be read, 0 if none.
    fn read(&self, address: u64, buf: &mut [u8]) -> usize;
}

impl<F: Fn(u64, &mut [u8]) -> usize> Memory for F {
    fn read(&self, address: u64, buf: &mut [u8]) -> usize {
        self(address, buf)
    }
}

/// The longest file name that the kernel takes, with its NUL.
pub(crate) const PATH_MAX: usize = 4096;

/// No single read is longer than this.
const READ_MAX: usize = 64 * 1024;

/// Reads of a string stop at multiples of this, so that one that ends just before an
/// unmapped page is read whole.
const PAGE: u64 = 4096;

/// The first read of a string, enough for most.
const FIRST_CHUNK: usize = 256;

/// A string as far as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CStr {
    /// The bytes without the NUL.
    pub(crate) bytes: Vec<u8>,
    /// Whether the NUL was found; if not, there is more.
    pub(crate) whole: bool,
}

/// Exactly `N` bytes.
pub(crate) fn array<const N: usize>(memory: &dyn Memory, address: u64) -> Option<[u8; N]> {
    let mut buf = [0; N];
    (memory.read(address, &mut buf) == N).then_some(buf)
}

/// Exactly `len` bytes, if that is not too much.
pub(crate) fn bytes(memory: &dyn Memory, address: u64, len: usize) -> Option<Vec<u8>> {
    if len > READ_MAX {
        return None;
    }
    let mut buf = vec![0; len];
    (len == 0 || memory.read(address, &mut buf) == len).then_some(buf)
}

/// The string at `address`, at most `max` bytes of it. `None` if memory ends before the
/// string does.
pub(crate) fn c_str(memory: &dyn Memory, address: u64, max: usize) -> Option<CStr> {
    let mut bytes = Vec::new();
    let mut chunk = [0; PAGE as usize];
    while bytes.len() < max {
        let at = address.checked_add(bytes.len() as u64)?;
        let page_rest = (PAGE - at % PAGE) as usize;
        let limit = if bytes.is_empty() {
            FIRST_CHUNK
        } else {
            PAGE as usize
        };
        let want = page_rest.min(limit).min(max - bytes.len());
        let got = memory.read(at, &mut chunk[..want]).min(want);
        if let Some(end) = chunk[..got].iter().position(|&byte| byte == 0) {
            bytes.extend_from_slice(&chunk[..end]);
            return Some(CStr { bytes, whole: true });
        }
        if got < want {
            return None;
        }
        bytes.extend_from_slice(&chunk[..got]);
    }
    Some(CStr {
        bytes,
        whole: false,
    })
}

/// A memory made up for a test: a few regions, nothing between them.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Fake {
    regions: Vec<(u64, Vec<u8>)>,
}

#[cfg(test)]
impl Fake {
    /// Adds bytes at an address.
    pub(crate) fn with(mut self, address: u64, bytes: impl Into<Vec<u8>>) -> Self {
        self.regions.push((address, bytes.into()));
        self
    }
}

#[cfg(test)]
impl Memory for Fake {
    fn read(&self, address: u64, buf: &mut [u8]) -> usize {
        for (start, bytes) in &self.regions {
            if let Some(from) = address.checked_sub(*start)
                && let Some(rest) = bytes.get(from as usize..)
                && !rest.is_empty()
            {
                let len = rest.len().min(buf.len());
                buf[..len].copy_from_slice(&rest[..len]);
                return len;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_ends_at_its_nul() {
        let memory = Fake::default().with(0x1000, *b"/etc/passwd\0rest");
        let found = c_str(&memory, 0x1000, PATH_MAX).unwrap();
        assert_eq!(found.bytes, b"/etc/passwd");
        assert!(found.whole);
    }

    #[test]
    fn a_string_that_memory_cuts_off_is_none() {
        let memory = Fake::default().with(0x1ffc, *b"abcd");
        assert_eq!(c_str(&memory, 0x1ffc, PATH_MAX), None);
        assert_eq!(c_str(&memory, 0, PATH_MAX), None);
        assert_eq!(c_str(&memory, u64::MAX, PATH_MAX), None);
    }

    #[test]
    fn a_string_without_end_is_cut() {
        let memory = Fake::default().with(0x1001, vec![b'a'; 100_000]);
        let found = c_str(&memory, 0x1001, PATH_MAX).unwrap();
        assert_eq!(found.bytes.len(), PATH_MAX);
        assert!(!found.whole);
    }

    #[test]
    fn reads_are_exact_and_bounded() {
        let memory = Fake::default().with(16, *b"12345678");
        assert_eq!(array::<4>(&memory, 16), Some(*b"1234"));
        assert_eq!(array::<4>(&memory, 21), None);
        assert_eq!(bytes(&memory, 0, 0), Some(Vec::new()));
        assert_eq!(bytes(&memory, 16, usize::MAX), None);
    }
}

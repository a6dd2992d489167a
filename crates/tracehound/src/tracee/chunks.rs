//! Reading memory in chunks: as far as it goes, and not taking more for it than was read.

/// How much is read at a time into a buffer that grows.
const CHUNK: usize = 64 * 1024;

/// Strings are read up to the end of a page: the next one may not be there.
const PAGE: u64 = 4096;

/// Reads so many bytes; fewer if what follows cannot be read. An error if that is so of the first.
///
/// `read` fills a buffer from an address, and gives how much of it: at least a byte.
pub(crate) fn bytes<E>(
    address: u64,
    len: usize,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
) -> Result<Vec<u8>, E> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let start = bytes.len();
        let want = (len - start).min(CHUNK);
        let Some(from) = address.checked_add(start as u64) else {
            break;
        };
        bytes.resize(start + want, 0);
        match read(from, &mut bytes[start..]) {
            Ok(n) => {
                bytes.truncate(start + n);
                if n < want {
                    break;
                }
            }
            Err(error) if start == 0 => return Err(error),
            Err(_) => {
                bytes.truncate(start);
                break;
            }
        }
    }
    Ok(bytes)
}

/// Reads up to and with a NUL byte, or so many bytes, or as far as can be read. An error if not
/// even the first byte can be.
///
/// `read` as for [`bytes`].
pub(crate) fn cstring<E>(
    address: u64,
    max: usize,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
) -> Result<Vec<u8>, E> {
    let mut bytes = Vec::new();
    while bytes.len() < max {
        let start = bytes.len();
        let Some(from) = address.checked_add(start as u64) else {
            break;
        };
        let to_page_end = (PAGE - from % PAGE) as usize;
        let mut page = [0; PAGE as usize];
        let page = &mut page[..to_page_end.min(max - start)];
        match read(from, page) {
            Ok(n) => {
                let page = &page[..n];
                if let Some(nul) = page.iter().position(|&b| b == 0) {
                    bytes.extend_from_slice(&page[..=nul]);
                    break;
                }
                bytes.extend_from_slice(page);
            }
            Err(error) if start == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Some pages of memory, and nothing behind them.
    #[derive(Debug)]
    struct Memory {
        begin: u64,
        bytes: Vec<u8>,
    }

    impl Memory {
        /// As the kernel reads: up to the first byte that is not there.
        fn read(&self, from: u64, buf: &mut [u8]) -> Result<usize, ()> {
            let at = from.checked_sub(self.begin).ok_or(())?;
            let rest = self.bytes.get(at as usize..).unwrap_or_default();
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            if n == 0 { Err(()) } else { Ok(n) }
        }
    }

    prop_compose! {
        /// Pages at any address, also the last ones, with or without NUL bytes.
        fn memory()(
            page in prop_oneof![0..4_u64, u64::MAX / PAGE - 40..=u64::MAX / PAGE - 33],
            pages in 1..33_usize,
            nuls in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) -> Memory {
            let mut bytes = vec![b'x'; pages * PAGE as usize];
            for nul in nuls {
                *nul.get_mut(&mut bytes) = 0;
            }
            Memory { begin: page * PAGE, bytes }
        }
    }

    proptest! {
        #[test]
        fn what_is_there_is_read(
            memory in memory(),
            at in any::<prop::sample::Index>(),
            len in prop_oneof![0..300_000_usize, Just(usize::MAX)],
        ) {
            let at = at.index(memory.bytes.len() + PAGE as usize);
            let (address, rest) = (memory.begin + at as u64, memory.bytes.get(at..));
            let rest = rest.unwrap_or_default();
            let end = len.min(rest.len());
            let nothing = rest.is_empty() && len > 0;

            let read = bytes(address, len, |from, buf| memory.read(from, buf));
            prop_assert_eq!(read.is_err(), nothing);
            prop_assert_eq!(read.unwrap_or_default(), &rest[..end]);

            let read = cstring(address, len, |from, buf| {
                // One page at a time: another may be one that blocks.
                assert_eq!(from / PAGE, (from + (buf.len() as u64 - 1)) / PAGE);
                memory.read(from, buf)
            });
            let nul = rest[..end].iter().position(|&b| b == 0);
            prop_assert_eq!(read.is_err(), nothing);
            prop_assert_eq!(read.unwrap_or_default(), &rest[..nul.map_or(end, |nul| nul + 1)]);
        }
    }

    #[test]
    fn the_address_space_ends() {
        let all = |_: u64, buf: &mut [u8]| Ok::<_, ()>(buf.len());
        let address = u64::MAX - 9;
        // What asks the kernel clamps more than this.
        assert!(bytes(address, 20, all).is_ok());
        assert_eq!(
            cstring(u64::MAX, 20, |_, buf| {
                buf.fill(b'x');
                Ok::<_, ()>(buf.len())
            }),
            Ok(vec![b'x'])
        );
    }
}

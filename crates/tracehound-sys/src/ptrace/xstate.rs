//! What XSAVE saves, as `NT_X86_XSTATE` gives it.
//!
//! The standard format: the FXSAVE image, a header of 64 bytes, then components at offsets
//! that the processor tells by CPUID. Only the first of those, the upper halves of the
//! 256-bit registers, has the same place everywhere; the rest is given as bytes.

use std::fmt;

/// The state of the extended registers of an x86 thread, of whatever size the processor
/// gives it.
#[derive(Clone, PartialEq, Eq)]
pub struct XState {
    bytes: Vec<u8>,
}

/// Where the kernel puts the mask of the components that it saves, in the part of the
/// FXSAVE image that is left to software.
const KERNEL_MASK: usize = 464;
/// `XSTATE_BV` of the header: the components that are not in their initial state.
const IN_USE: usize = 512;
/// The upper halves of the 256-bit registers.
const UPPER_HALVES: usize = 576;
/// Where the 128-bit registers begin.
const XMM: usize = 160;
/// The component bits.
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;

impl XState {
    /// The state with these bytes, as `PTRACE_GETREGSET` gave them.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        XState { bytes }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, to be changed.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn part<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..at + N)?.try_into().ok()
    }

    fn long(&self, at: usize) -> u64 {
        self.part(at).map_or(0, u64::from_ne_bytes)
    }

    /// The components that processor and kernel keep: a bit each, as in `XCR0`.
    pub fn components(&self) -> u64 {
        self.long(KERNEL_MASK)
    }

    /// The components that are not in their initial state. What is said of the others' bytes
    /// does not count.
    pub fn in_use(&self) -> u64 {
        self.long(IN_USE)
    }

    /// A 256-bit vector register as it is in memory, `ymm0` to `ymm15`. `None` if there is no
    /// such register.
    pub fn ymm(&self, number: usize) -> Option<[u8; 32]> {
        if number >= 16 || self.components() & AVX == 0 {
            return None;
        }
        let low: [u8; 16] = self.part(XMM + 16 * number)?;
        let high: [u8; 16] = self.part(UPPER_HALVES + 16 * number)?;
        let mut all = [0; 32];
        // Parts in their initial state are zero, whatever their bytes say.
        if self.in_use() & (SSE | AVX) != 0 {
            all[..16].copy_from_slice(&low);
        }
        if self.in_use() & AVX != 0 {
            all[16..].copy_from_slice(&high);
        }
        Some(all)
    }

    /// Writes a 256-bit vector register. One that does not exist changes nothing, and gives
    /// `false`.
    pub fn set_ymm(&mut self, number: usize, value: [u8; 32]) -> bool {
        if self.ymm(number).is_none() {
            return false;
        }
        // A part in its initial state is zero, also when it is in use from here on.
        for (parts, at) in [(SSE | AVX, XMM), (AVX, UPPER_HALVES)] {
            if self.in_use() & parts == 0 {
                let all = self.bytes.iter_mut().skip(at).take(16 * 16);
                all.for_each(|byte| *byte = 0);
            }
        }
        let in_use = (self.in_use() | SSE | AVX).to_ne_bytes();
        for (at, part) in [
            (XMM + 16 * number, &value[..16]),
            (UPPER_HALVES + 16 * number, &value[16..]),
            (IN_USE, &in_use[..]),
        ] {
            if let Some(to) = self.bytes.get_mut(at..at + part.len()) {
                to.copy_from_slice(part);
            }
        }
        true
    }
}

impl fmt::Debug for XState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XState")
            .field("len", &self.bytes.len())
            .field("components", &format_args!("{:#x}", self.components()))
            .field("in_use", &format_args!("{:#x}", self.in_use()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_size_is_taken(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..1200),
            avx: bool,
            number in 0_usize..40,
            value: [u8; 32],
        ) {
            if let Some(mask) = bytes.get_mut(KERNEL_MASK) {
                *mask = u8::from(avx) << 2;
            }
            if let Some(parts) = bytes.get_mut(IN_USE) {
                *parts %= 8;
            }
            let len = bytes.len();
            let mut state = XState::from_bytes(bytes);
            let before = state.clone();
            let text = format!("{state:?}");
            prop_assert!(text.starts_with("XState"));
            let exists = state.set_ymm(number, value);
            prop_assert_eq!(state.ymm(number), exists.then_some(value));
            prop_assert!(!exists || (avx && len >= UPPER_HALVES + 16 * (number + 1)));
            prop_assert_eq!(state.as_bytes().len(), len);
            for other in (0..16).filter(|other| *other != number) {
                prop_assert_eq!(state.ymm(other), before.ymm(other));
            }
        }
    }
}

//! Whatever decodes bytes that a tracee, the kernel or a user makes: the first byte says which.
//!
//! Not only does nothing panic: what is decoded is what was there.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/tracehound/src/tracee/chunks.rs"]
mod chunks;
mod filters;
mod kernel;
mod memory;
mod proc;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    match which % 8 {
        0 => kernel::stop(bytes),
        1 => kernel::siginfo(bytes),
        2 => kernel::xstate(bytes),
        3 => kernel::syscall_info(bytes),
        4 => memory::read(bytes),
        5 => proc::lines(bytes),
        6 => proc::written(bytes),
        _ => filters::compiled(bytes),
    }
});

/// What is left of the input, taken bit by bit; zeroes when there is nothing left.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        for to in &mut array {
            if let Some((first, rest)) = self.0.split_first() {
                *to = *first;
                self.0 = rest;
            }
        }
        array
    }

    fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    fn int(&mut self) -> i32 {
        i32::from_ne_bytes(self.array())
    }

    fn long(&mut self) -> u64 {
        u64::from_ne_bytes(self.array())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

//! The registers that are read with each event.
//!
//! Their place is kept from stop to stop, so that they cost no allocation each time. Nothing is
//! kept for tracees whose registers nobody wants.

use tracehound_sys::Tid;
use tracehound_sys::ptrace::{self, Regs};

/// What is read at a stop before anybody asks.
#[derive(Debug)]
pub(crate) struct Prefetch {
    wanted: bool,
    /// What is in `registers` is true at the present stop.
    known: bool,
    registers: Option<Box<Regs>>,
}

impl Prefetch {
    pub(crate) fn new(wanted: bool) -> Self {
        Prefetch {
            wanted,
            known: false,
            registers: None,
        }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Reads them, if they are wanted. On the tracer thread only.
    pub(crate) fn read(&mut self, tid: Tid) {
        if !self.wanted {
            return;
        }
        // An error: it was killed, or they are asked for when they are wanted.
        let Ok(registers) = ptrace::getregs(tid) else {
            return;
        };
        match &mut self.registers {
            Some(place) => **place = registers,
            none => *none = Some(Box::new(registers)),
        }
        self.known = true;
    }

    /// They may have changed.
    pub(crate) fn forget(&mut self) {
        self.known = false;
    }

    pub(crate) fn get(&self) -> Option<Regs> {
        self.registers.as_deref().copied().filter(|_| self.known)
    }
}

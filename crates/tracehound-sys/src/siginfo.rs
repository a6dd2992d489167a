//! The siginfo of a signal, as the kernel keeps it.
//!
//! 128 bytes whose meaning depends on the signal and on `si_code`. They are
//! kept as bytes: they can be written back unchanged, and an accessor reads
//! only the fields which the code says are there.

use std::fmt;

use crate::wait::StopStatus;
use crate::{Signal, Tid};

/// A `siginfo_t`: why a signal was sent, by whom, with what payload.
///
/// [`getsiginfo`](crate::ptrace::getsiginfo) gives it in a signal-delivery-stop.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct SigInfo {
    bytes: [u8; 128],
}

const _: () = assert!(size_of::<SigInfo>() == size_of::<libc::siginfo_t>());

/// Offset of the union that follows signo, errno and code on 64-bit Linux.
const FIELDS: usize = 16;

impl SigInfo {
    /// A siginfo with nothing in it: signal 0.
    pub const fn zeroed() -> Self {
        SigInfo { bytes: [0; 128] }
    }

    /// A siginfo with these bytes, as `PTRACE_GETSIGINFO` gave them.
    pub const fn from_bytes(bytes: [u8; 128]) -> Self {
        SigInfo { bytes }
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 128] {
        &self.bytes
    }

    fn int(&self, at: usize) -> i32 {
        let b = &self.bytes;
        i32::from_ne_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
    }

    fn long(&self, at: usize) -> u64 {
        let b = &self.bytes[at..at + 8];
        u64::from_ne_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
    }

    /// `si_signo`.
    pub fn signal(&self) -> Signal {
        Signal::from_raw(self.int(0))
    }

    /// `si_errno`, seldom used; the filter's return data in a seccomp `SIGSYS`.
    pub fn errno(&self) -> i32 {
        self.int(4)
    }

    /// `si_code`: who made the signal. Zero and below: a process; above: the
    /// kernel.
    pub fn code(&self) -> i32 {
        self.int(8)
    }

    /// The status word of the stop that has this siginfo, as waitid(2) gives it: the signal,
    /// or what the kernel has put into `si_code` in a stop that is no signal's.
    ///
    /// A tracee that sends itself a signal with such a code is taken at its word.
    pub fn stop_status(&self, signal: Signal) -> StopStatus {
        let (own, code) = (self.signal().as_raw(), self.code());
        let is_call = own == libc::SIGTRAP && code == libc::SIGTRAP | 0x80;
        let is_event = code & 0xff == own && matches!(code >> 8, 1..=7 | libc::PTRACE_EVENT_STOP);
        let is_told = is_call || is_event;
        StopStatus::from_raw(if is_told { code } else { signal.as_raw() })
    }

    /// Whether a process sent the signal (kill, tgkill, sigqueue), not the kernel.
    pub fn is_from_user(&self) -> bool {
        self.code() <= 0
    }

    /// Whether the signal is a fault: `SIGSEGV`, `SIGBUS`, `SIGILL`, `SIGFPE` or
    /// `SIGTRAP` made by the kernel for an instruction.
    fn is_fault(&self) -> bool {
        self.code() > 0
            && matches!(
                self.int(0),
                libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP
            )
    }

    fn has_sender(&self) -> bool {
        let timer_or_poll = matches!(self.code(), libc::SI_TIMER | libc::SI_SIGIO);
        (self.is_from_user() && !timer_or_poll) || self.int(0) == libc::SIGCHLD
    }

    /// The sending process, or for `SIGCHLD` the child, as the tracee's pid
    /// namespace numbers it.
    pub fn sender(&self) -> Option<Tid> {
        self.has_sender().then(|| Tid::from_raw(self.int(FIELDS)))
    }

    /// The sender's (or child's) user id.
    pub fn uid(&self) -> Option<u32> {
        self.has_sender().then(|| self.int(FIELDS + 4) as u32)
    }

    /// The address of a fault.
    pub fn address(&self) -> Option<u64> {
        self.is_fault().then(|| self.long(FIELDS))
    }

    /// The value given to sigqueue(3) or by a timer.
    pub fn value(&self) -> Option<u64> {
        matches!(
            self.code(),
            libc::SI_QUEUE | libc::SI_TIMER | libc::SI_MESGQ
        )
        .then(|| self.long(FIELDS + 8))
    }

    /// The exit code or signal of the child, for `SIGCHLD` from the kernel.
    pub fn child_status(&self) -> Option<i32> {
        (self.int(0) == libc::SIGCHLD && self.code() > 0).then(|| self.int(FIELDS + 8))
    }
}

impl fmt::Debug for SigInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("SigInfo");
        out.field("signal", &self.signal())
            .field("code", &self.code());
        if let Some(sender) = self.sender() {
            out.field("sender", &sender);
        }
        if let Some(uid) = self.uid() {
            out.field("uid", &uid);
        }
        if let Some(address) = self.address() {
            out.field("address", &format_args!("{address:#x}"));
        }
        if let Some(value) = self.value() {
            out.field("value", &format_args!("{value:#x}"));
        }
        if let Some(status) = self.child_status() {
            out.field("child_status", &status);
        }
        out.finish()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for SigInfo {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("SigInfo", 7)?;
        out.serialize_field("signal", &self.signal())?;
        out.serialize_field("code", &self.code())?;
        out.serialize_field("sender", &self.sender())?;
        out.serialize_field("uid", &self.uid())?;
        out.serialize_field("address", &self.address())?;
        out.serialize_field("value", &self.value())?;
        out.serialize_field("child_status", &self.child_status())?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_siginfo(bytes: [[u8; 32]; 4]) {
            let mut all = [0; 128];
            for (to, from) in all.chunks_mut(32).zip(bytes) {
                to.copy_from_slice(&from);
            }
            let info = SigInfo::from_bytes(all);
            prop_assert_eq!(info.as_bytes(), &all);
            let text = format!("{info:?}");
            prop_assert!(!text.contains('\n'));
            // What a signal says of its sender it does not say of an address.
            prop_assert_eq!(info.sender().is_some(), info.uid().is_some());
            prop_assert!(info.address().is_none() || info.sender().is_none());
            let told = info.stop_status(info.signal()).as_raw();
            prop_assert!(told == info.code() || told == info.signal().as_raw());
        }
    }
}

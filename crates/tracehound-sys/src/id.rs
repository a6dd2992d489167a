//! Thread ids.
//!
//! Linux numbers threads and processes alike: a process id is the thread id of
//! the process's leader. One type serves both, and a wrong value is still a
//! value: nothing here panics.

use std::fmt;

/// The id of a thread, or of a process (the id of its leader), as the calling
/// process sees it in its pid namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Tid(i32);

impl Tid {
    /// The id with this number.
    ///
    /// Any number is accepted; one that names no thread makes requests fail
    /// with `ESRCH`.
    pub const fn from_raw(raw: i32) -> Self {
        Tid(raw)
    }

    /// The number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// Whether the number can name one thread at all. Zero and negative
    /// numbers mean groups in kill(2) and are never passed on.
    pub const fn is_valid(self) -> bool {
        self.0 > 0
    }

    /// The calling thread's id: gettid(2).
    pub fn current() -> Self {
        Tid(nix::unistd::gettid().as_raw())
    }

    /// The calling process's id: getpid(2).
    pub fn current_process() -> Self {
        Tid(nix::unistd::getpid().as_raw())
    }
}

impl From<i32> for Tid {
    fn from(raw: i32) -> Self {
        Tid(raw)
    }
}

impl From<u32> for Tid {
    /// The form in which std and tokio give process ids. A number beyond
    /// `i32::MAX` becomes an id that names no thread.
    fn from(raw: u32) -> Self {
        Tid(i32::try_from(raw).unwrap_or(0))
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

//! What becomes of tracees that are let go.

/// What becomes of a tracee that its tracer lets go of: its handle was dropped, also by a
/// panic, the event of its birth was passed without [taking](crate::Tracee::take_child) it,
/// or the tracer has ended.
///
/// What is asked for by its name does what it says: [`Tracee::detach`](crate::Tracee::detach)
/// detaches in any case, together with a child whose birth was not taken yet. So does an
/// attach that fails or is dropped before it is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LetGo {
    /// It is detached and runs on untraced. One with a seccomp filter cannot be:
    /// [`Command::unwatched`](crate::Command::unwatched) says what becomes of it.
    #[default]
    Detach,
    /// Its process is killed, with all its threads, whichever of them is let go; also one that
    /// was attached. One with a filter as well, whatever
    /// [`unwatched`](crate::Command::unwatched) says.
    Kill,
}

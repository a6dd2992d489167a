//! The threads of a process, from outside.

use tracehound_sys::{Tid, proc};

use crate::{is_traced, state};

/// The threads of a process; none if there is no such process.
pub fn tasks(pid: Tid) -> Vec<Tid> {
    proc::tasks(pid).unwrap_or_default()
}

/// Whether each thread of a process is there, in one of these states.
pub fn all_in(pid: Tid, states: &[char]) -> bool {
    let is_in = |tid| state(tid).is_some_and(|state| states.contains(&state));
    tasks(pid).into_iter().all(is_in)
}

/// Whether each thread of a process is there, and nobody traces it.
pub fn is_untraced(pid: Tid) -> bool {
    let free = |tid| state(tid).is_some() && !is_traced(tid);
    tasks(pid).into_iter().all(free)
}

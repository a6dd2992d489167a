//! The processes that this one made through any of its tracers, by id, until their end.
//!
//! A child that was detached can be attached to again, by another tracer thread than the one
//! that made it, or by another tracer. That one then sees its end, and has to know whose it
//! is. The child, for its part, has to know who may have seen its end: see
//! [`ChildCell`](crate::child::ChildCell).
//!
//! Asking here at each death was rejected: most that die are no children of this process, and
//! tracer threads should not meet in a lock. So it is asked where it is rare, at an attach to
//! a child of this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tracehound_sys::{PerProcess, Tid};

use crate::child::ChildCell;

/// Weak, so that a child that nobody waits for, or asks about, is forgotten.
type Children = HashMap<Tid, Weak<ChildCell>>;

/// A forked child has none of them.
static CHILDREN: PerProcess<Mutex<Children>> = PerProcess::new(Mutex::default);

/// None without memory.
fn children() -> Option<MutexGuard<'static, Children>> {
    let children = CHILDREN.get().ok()?;
    Some(children.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A child of this process, which lives.
pub(crate) fn find(pid: Tid) -> Option<Arc<ChildCell>> {
    children()?.get(&pid)?.upgrade()
}

/// A child that was just made.
pub(crate) fn enter(child: &Arc<ChildCell>) {
    if let Some(mut children) = children() {
        children.insert(child.pid(), Arc::downgrade(child));
    }
}

/// A child whose id may be another's from now on.
pub(crate) fn leave(child: &ChildCell) {
    if let Some(mut children) = children()
        && let Some(entry) = children.get(&child.pid())
        && std::ptr::eq(entry.as_ptr(), child)
    {
        children.remove(&child.pid());
    }
}

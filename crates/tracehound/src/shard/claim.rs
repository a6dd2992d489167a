//! Which processes are being attached, by which tracer thread of this process.
//!
//! While one shard attaches, another must not: they would share the threads out between
//! them. At other times the kernel says who traces a thread.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracehound_sys::{PerProcess, Tid};

use crate::error::{Error, Result};
use crate::refusal::Refusal;

static ATTACHING: PerProcess<Mutex<BTreeMap<Tid, Tid>>> = PerProcess::new(Mutex::default);

fn attaching() -> Result<MutexGuard<'static, BTreeMap<Tid, Tid>>> {
    let attaching = ATTACHING.get().map_err(|source| Error::System {
        call: "mmap",
        source,
    })?;
    Ok(attaching.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The right to attach to a process, until it is dropped.
pub(super) struct Claim(Tid);

impl Claim {
    /// Claims a process for a tracer thread; `pid` is what the user named.
    pub(super) fn new(tgid: Tid, pid: Tid, own: Tid) -> Result<Self> {
        match attaching()?.entry(tgid) {
            Entry::Occupied(other) => Err(Error::NotPermitted {
                pid,
                reason: Refusal::already_traced(*other.get()),
            }),
            Entry::Vacant(entry) => {
                entry.insert(own);
                Ok(Claim(tgid))
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Ok(mut attaching) = attaching() {
            attaching.remove(&self.0);
        }
    }
}

//! What the queue is made of; loom's in the models.

pub(super) use std::sync::{Mutex, MutexGuard};
pub(super) use std::time::Instant;

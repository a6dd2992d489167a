//! What a slot is made of; loom's in the models.

pub(crate) use std::sync::{Mutex, MutexGuard};

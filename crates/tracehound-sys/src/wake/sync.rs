//! What the flags are made of; loom's in the models.

pub(super) use std::sync::atomic::{AtomicU32, Ordering, fence};

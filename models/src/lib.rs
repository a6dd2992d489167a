//! The queue of a tracer thread, and what wakes it, in every order of its threads.
//!
//! These are the very files of the two crates; only what they are made of is loom's. The wait
//! itself waits for a notification: as the check-and-call section of `tracehound_sys::wake` makes it, a signal
//! between the check and the wait ends the wait.

#![cfg(test)]

#[path = "../../crates/tracehound-sys/src/wake"]
mod wake {
    #[allow(dead_code)]
    pub(crate) mod flags;

    mod sync {
        pub(super) use loom::sync::atomic::{Ordering, fence};

        /// loom makes no more of SeqCst than acquire and release, but for fences.
        #[derive(Debug)]
        pub(crate) struct AtomicU32(loom::sync::atomic::AtomicU32);

        impl AtomicU32 {
            pub(crate) fn new(value: u32) -> Self {
                AtomicU32(loom::sync::atomic::AtomicU32::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> u32 {
                in_order(order, || self.0.load(order))
            }

            pub(crate) fn store(&self, value: u32, order: Ordering) {
                in_order(order, || self.0.store(value, order));
            }

            pub(crate) fn swap(&self, value: u32, order: Ordering) -> u32 {
                in_order(order, || self.0.swap(value, order))
            }
        }

        fn in_order<T>(order: Ordering, access: impl FnOnce() -> T) -> T {
            if order != Ordering::SeqCst {
                return access();
            }
            fence(Ordering::SeqCst);
            let result = access();
            fence(Ordering::SeqCst);
            result
        }
    }

    /// What `Interrupter` makes of the flags, with a notification for the signal.
    pub(crate) struct Interrupter {
        flags: flags::Flags,
        signal: loom::sync::Notify,
    }

    impl Interrupter {
        pub(crate) fn new() -> Self {
            Interrupter {
                flags: flags::Flags::new(),
                signal: loom::sync::Notify::new(),
            }
        }

        pub(crate) fn interrupt(&self) {
            if self.flags.raise() {
                self.signal.notify();
            }
        }

        pub(crate) fn acknowledge(&self) -> bool {
            self.flags.acknowledge()
        }

        pub(crate) fn wait(&self) {
            self.flags.enter();
            if !self.flags.is_pending() {
                self.signal.wait();
            }
            self.flags.leave();
        }
    }
}

#[path = "../../crates/tracehound/src/shard"]
mod shard {
    #[allow(dead_code)]
    pub(crate) mod queue;

    mod sync {
        pub(super) use loom::sync::{Mutex, MutexGuard};

        /// There is no time in a model.
        #[derive(Clone, Copy)]
        pub(crate) struct Instant;

        impl Instant {
            pub(crate) fn now() -> Self {
                Instant
            }
        }
    }

    /// What `Shard` makes of the queue.
    pub(crate) struct Ops(queue::Queue<u32>);

    impl Ops {
        pub(crate) fn new() -> Self {
            Ops(queue::Queue::new())
        }

        pub(crate) fn push(&self, op: u32) -> bool {
            self.0.push(op).is_ok()
        }

        pub(crate) fn take(&self) -> Vec<u32> {
            let mut ops = Vec::new();
            self.0.take(&mut ops);
            ops
        }

        pub(crate) fn close(&self) -> Vec<u32> {
            self.0.close()
        }
    }
}

use loom::sync::Arc;
use loom::thread;

use shard::Ops;
use wake::Interrupter;

struct Shard {
    ops: Ops,
    interrupter: Interrupter,
}

/// Every order in which threads are preempted no more than three times: with two of them beside
/// the one that sleeps, all orders would take hours.
fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

fn shard() -> Arc<Shard> {
    Arc::new(Shard {
        ops: Ops::new(),
        interrupter: Interrupter::new(),
    })
}

/// As the loop of a tracer thread: until so many operations have come.
fn take(shard: &Shard, wanted: usize) -> Vec<u32> {
    let mut taken = Vec::new();
    while taken.len() < wanted {
        if shard.interrupter.acknowledge() {
            taken.extend(shard.ops.take());
        } else {
            shard.interrupter.wait();
        }
    }
    taken
}

#[test]
fn what_is_queued_is_taken_in_its_order() {
    model(|| {
        let shard = shard();
        let asks = |ops: [u32; 2]| {
            let shard = Arc::clone(&shard);
            thread::spawn(move || {
                for op in ops {
                    assert!(shard.ops.push(op));
                    shard.interrupter.interrupt();
                }
            })
        };
        let others = asks([1, 2]);
        assert_eq!(take(&shard, 2), [1, 2]);
        others.join().expect("no panic");
    });
}

#[test]
fn nobody_is_forgotten_by_a_thread_that_sleeps() {
    model(|| {
        let shard = shard();
        let ask = |op| {
            let shard = Arc::clone(&shard);
            thread::spawn(move || {
                assert!(shard.ops.push(op));
                shard.interrupter.interrupt();
            })
        };
        let others = [ask(1), ask(2)];
        let mut taken = take(&shard, 2);
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
        for other in others {
            other.join().expect("no panic");
        }
    });
}

#[test]
fn an_operation_is_taken_or_refused() {
    model(|| {
        let shard = shard();
        let other = {
            let shard = Arc::clone(&shard);
            thread::spawn(move || shard.ops.push(1))
        };
        let left = shard.ops.close();
        let accepted = other.join().expect("no panic");
        assert_eq!(accepted, left == [1]);
        assert!(!shard.ops.push(2));
        assert_eq!(shard.ops.close(), []);
    });
}

//! What threads hand to each other, in every order that they can come to: the queue of a tracer
//! thread and what wakes it; the slot of a tracee between its tracer thread and a task.
//!
//! These are the very files of the two crates; only what they are made of is loom's. What is
//! around them is written here in as few lines as will do: the tracer thread's loop
//! ([`shard`]), the kernel ([`kernel`]), tokio and the pace ([`around`]).

#![cfg(test)]

// The names that the files know.
extern crate self as tokio;
extern crate self as tracehound_sys;

mod around;
mod handover;
mod holding;
mod kernel;
mod queue;

pub(crate) use around::{command, error, limit, observe, pace, task};
pub(crate) use files::{event, filter, slot};
pub(crate) use kernel::ptrace;
pub(crate) use sys::{Errno, ResourceUsage, Result, SigInfo, Signal, Tid, proc, wait};

#[path = "../../crates/tracehound/src"]
mod files {
    #[allow(dead_code)]
    pub(crate) mod event;
    #[allow(dead_code)]
    pub(crate) mod filter;
    #[allow(dead_code)]
    pub(crate) mod slot;
}

mod sync {
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}

#[path = "../../crates/tracehound/src/tracee"]
mod tracee {
    mod events;

    use std::future::poll_fn;
    use std::sync::Arc;

    use crate::around::{Answer, Reply};
    use crate::pace::Patience;
    use crate::shard::Op;
    use crate::slot::{Action, Slot};

    /// The handle: what the stream of events needs of it.
    pub(crate) struct Tracee {
        slot: Arc<Slot>,
        patience: Patience,
    }

    impl Tracee {
        pub(crate) fn new(slot: &Arc<Slot>, patience: Patience) -> Self {
            Tracee {
                slot: Arc::clone(slot),
                patience,
            }
        }

        pub(crate) fn disowned(self) -> Self {
            self
        }

        /// A request that resumes; gives whether it is under way.
        pub(crate) fn resume(&self, action: Action) -> bool {
            let state = self.slot.lock();
            state.check_held(self.slot.tid()).is_ok()
                && events::resume(&self.slot, state, action).is_ok()
        }

        pub(crate) fn slot(&self) -> &Arc<Slot> {
            &self.slot
        }

        /// Has the tracer thread do something.
        pub(crate) fn run(&self, f: impl FnOnce(&Arc<Slot>) + Send + 'static) {
            let slot = Arc::clone(&self.slot);
            // An error: it takes nothing any more.
            let _ = self.slot.shard.push(Op::Call(Box::new(move || f(&slot))));
        }

        /// The same, and waits for what comes of it; nothing if it takes nothing any more.
        pub(crate) async fn call<R: Send + 'static>(
            &self,
            f: impl FnOnce(&Arc<Slot>) -> R + Send + 'static,
        ) -> Option<R> {
            let reply = Arc::new(Reply::new());
            let answer = Answer(Arc::clone(&reply));
            self.run(move |slot| {
                let value = f(slot);
                answer.give(value);
            });
            poll_fn(|cx| reply.poll(cx)).await
        }
    }
}

#[path = "../../crates/tracehound/src/process"]
mod process {
    mod together;

    use std::sync::Arc;

    use crate::slot::{Phase, Slot};

    /// Resolves when the tracee does not run.
    pub(crate) async fn none_runs(slot: &Arc<Slot>) {
        let runs = |phase| matches!(phase, Phase::Running | Phase::Listening);
        together::none(vec![Arc::clone(slot)], runs).await;
    }
}

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

    /// What `Interrupter` makes of the flags, with a notification for the signal. The wait
    /// itself waits for that: as the check-and-call section of `tracehound_sys::wake` makes it,
    /// a signal between the check and the wait ends the wait.
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
    pub(crate) mod hold;
    #[allow(dead_code)]
    pub(crate) mod queue;
    pub(crate) mod status;

    #[path = "../../../../models/src/tracer.rs"]
    mod tracer;

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

    pub(crate) use tracer::{Op, Place, Shard, ask_at_once, rotate_in, stopped, trace};

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

/// Every order in which threads are preempted no more than three times: with two of them beside
/// the one that sleeps, all orders would take hours.
fn model(check: impl Fn() + Send + Sync + 'static) {
    preempted(3, check);
}

/// No more than so many times.
fn preempted(times: usize, check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(times);
    builder.check(check);
}

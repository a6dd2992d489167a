//! The queue of a tracer thread, and what wakes it.

use loom::sync::Arc;
use loom::thread;

use crate::model;
use crate::shard::Ops;
use crate::wake::Interrupter;

struct Shard {
    ops: Ops,
    interrupter: Interrupter,
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

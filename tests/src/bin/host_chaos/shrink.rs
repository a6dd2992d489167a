//! From a seed to a case, and from one that fails to the least that does.
//!
//! Operations are taken away, many at once first, then those that are left are made smaller one
//! by one, as proptest knows how. The kernel does not repeat itself: each is tried a few times.

use std::time::{Duration, Instant};

use proptest::prelude::Strategy;
use proptest::strategy::{BoxedStrategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::plan::{Case, Op, any_op, frame};
use crate::{Worker, hear_errors, setting, worker};

/// How often each list of operations is tried.
const TRIES: usize = 4;

type OpTree = <BoxedStrategy<Op> as Strategy>::Tree;

/// A case, and all that it shrinks to.
pub(crate) struct Trees {
    frame: Case,
    ops: Vec<OpTree>,
}

impl Trees {
    /// The case of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let (frame, count) = frame().new_tree(&mut runner).expect("a case").current();
        let any = any_op();
        let ops = (0..count).map(|_| any.new_tree(&mut runner).expect("an operation"));
        Trees {
            frame,
            ops: ops.collect(),
        }
    }

    /// The case as it is now.
    pub(crate) fn current(&self) -> Case {
        Case {
            ops: self.ops.iter().map(ValueTree::current).collect(),
            ..self.frame.clone()
        }
    }

    /// Takes away what is not needed to fail.
    fn thin(&mut self, deadline: Instant) {
        let mut size = self.ops.len().div_ceil(2);
        while size > 0 && Instant::now() < deadline {
            let mut at = 0;
            while at < self.ops.len() && Instant::now() < deadline {
                let end = self.ops.len().min(at + size);
                let rest = self.ops.split_off(end);
                let taken = self.ops.split_off(at);
                self.ops.extend(rest);
                if !fails(&self.current()) {
                    let rest = self.ops.split_off(at);
                    self.ops.extend(taken);
                    self.ops.extend(rest);
                    at = end;
                }
            }
            size /= 2;
        }
    }

    /// Makes what is left smaller.
    fn simplify(&mut self, deadline: Instant) {
        for at in 0..self.ops.len() {
            let mut goes_on = self.ops[at].simplify();
            while goes_on && Instant::now() < deadline {
                goes_on = match fails(&self.current()) {
                    true => self.ops[at].simplify(),
                    false => self.ops[at].complicate(),
                };
            }
            // The last one that failed.
            while goes_on && self.ops[at].complicate() {}
        }
    }
}

/// Whether a case fails, in one of a few tries.
fn fails(case: &Case) -> bool {
    (0..TRIES).any(|_| {
        let case = case.clone();
        let worker = Worker::fork(move |_| {
            worker::be_silent();
            hear_errors();
            worker::run_one(case);
        });
        !worker.join().1
    })
}

/// The least case found that fails as that of the seed does. Nothing if that did not fail again.
pub(crate) fn least(seed: u64) -> Option<Case> {
    let deadline = Instant::now() + Duration::from_secs(setting("SHRINK", 30));
    let mut trees = Trees::of(seed);
    if !(0..5).any(|_| fails(&trees.current())) {
        return None;
    }
    trees.thin(deadline);
    trees.simplify(deadline);
    Some(trees.current())
}

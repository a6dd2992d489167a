//! Trees of [`Tracer::trace`](crate::Tracer::trace): the same logic for a process and all
//! that comes of it, a pinned task each.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::Local;
use super::local;
use crate::tracee::Tracee;

/// A tree's number, never given twice in the life of the process.
pub(crate) type TreeId = u64;

/// What a task panicked with.
pub(crate) type Panic = Box<dyn Any + Send>;

type Logic = Box<dyn Fn(Tracee) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A tree on its way to the tracer thread.
pub(crate) struct TreePlan {
    pub(crate) id: TreeId,
    pub(crate) logic: Logic,
    /// Told when the last task has ended, with the first panic of any.
    pub(crate) done: oneshot::Sender<Option<Panic>>,
}

struct Tree {
    logic: Rc<Logic>,
    tasks: HashMap<u64, Option<AbortHandle>>,
    next_task: u64,
    panic: Option<Panic>,
    done: oneshot::Sender<Option<Panic>>,
}

#[derive(Default)]
pub(super) struct Trees {
    trees: RefCell<HashMap<TreeId, Tree>>,
}

impl Local {
    /// Starts a tree with its first tracee.
    pub(super) fn plant_tree(&self, plan: TreePlan, root: Tracee) {
        let id = plan.id;
        let tree = Tree {
            logic: Rc::new(plan.logic),
            tasks: HashMap::new(),
            next_task: 0,
            panic: None,
            done: plan.done,
        };
        self.trees.trees.borrow_mut().insert(id, tree);
        self.grow_tree(id, root);
    }

    /// Starts the logic for a new tracee; gives it back if the tree is no more.
    pub(super) fn grow_tree(&self, id: TreeId, tracee: Tracee) -> Option<Tracee> {
        let mut trees = self.trees.trees.borrow_mut();
        let Some(tree) = trees.get_mut(&id) else {
            return Some(tracee);
        };
        let number = tree.next_task;
        tree.next_task += 1;
        tree.tasks.insert(number, None);
        let logic = Rc::clone(&tree.logic);
        drop(trees);
        let guard = TaskGuard { tree: id, number };
        let slot = Arc::clone(tracee.slot());
        let run = AssertUnwindSafe(async move { logic(tracee).await });
        let task = run.catch_unwind().map(move |ended| guard.end(ended.err()));
        let abort = self.spawn_task(slot, task);
        let mut trees = self.trees.trees.borrow_mut();
        if let Some(task) = trees
            .get_mut(&id)
            .and_then(|tree| tree.tasks.get_mut(&number))
        {
            *task = abort;
        }
        None
    }

    /// Ends all tasks of a tree: their tracees are let go.
    pub(crate) fn fell_tree(&self, id: TreeId) {
        let tree = self.trees.trees.borrow_mut().remove(&id);
        for abort in tree
            .into_iter()
            .flat_map(|tree| tree.tasks)
            .flat_map(|t| t.1)
        {
            abort.abort();
        }
    }

    fn task_ended(&self, id: TreeId, number: u64, panic: Option<Panic>) {
        let mut trees = self.trees.trees.borrow_mut();
        let Some(tree) = trees.get_mut(&id) else {
            return;
        };
        tree.tasks.remove(&number);
        tree.panic = tree.panic.take().or(panic);
        if tree.tasks.is_empty() {
            let tree = trees.remove(&id);
            drop(trees);
            // Where the tracer ends the tasks, whoever waits sees the channel's end.
            if let Some(tree) = tree.filter(|_| !self.closing.get()) {
                // Whoever waited may have gone.
                let _ = tree.done.send(tree.panic);
            }
        }
    }
}

/// Tells the tree when its task has ended, in whatever way.
struct TaskGuard {
    tree: TreeId,
    number: u64,
}

impl TaskGuard {
    fn end(&self, panic: Option<Panic>) {
        local::with(|local| local.task_ended(self.tree, self.number, panic));
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.end(None);
    }
}

//! A tracer thread that does nothing for a while, so that what it is asked for queues up.

use tracehound::{Child, Command, Tracer};

use crate::{soon, start};

/// A tracer thread that is blocked by one of its tasks. It goes on when this is dropped.
#[derive(Debug)]
pub struct Stall {
    // The task waits for its end.
    _let_go: std::sync::mpsc::Sender<()>,
    _child: Child,
}

impl Stall {
    /// Blocks the thread of a tracer that has one.
    ///
    /// # Panics
    ///
    /// If nothing can be spawned.
    pub async fn of(tracer: &Tracer) -> Stall {
        let (let_go, wait) = std::sync::mpsc::channel::<()>();
        let (begun, begin) = tokio::sync::oneshot::channel();
        let (tracee, child) = start(tracer, &mut Command::new("true")).await;
        drop(tracee.spawn_pinned(move |_tracee| async move {
            let _ = begun.send(());
            let _ = wait.recv();
        }));
        soon("the task", begin).await.expect("it runs");
        Stall {
            _let_go: let_go,
            _child: child,
        }
    }
}

//! The same test where logic may run: in tasks of a multi-thread runtime, of a
//! current-thread one, and on the tracer thread itself.

use std::future::Future;

use tokio::task::JoinError;
use tracehound::{Command, PinnedError, Tracer};

use crate::{new_tracer, soon, start};

/// Makes three tests of each `async fn(Tracer)` of the calling module: in a task of a
/// multi-thread runtime, on a current-thread one, and pinned on the tracer thread.
#[macro_export]
macro_rules! in_each_place {
    ($($name:ident),* $(,)?) => {
        mod in_a_task {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::in_a_task(super::$name).await;
            })*
        }
        mod on_one_thread {
            $(#[tokio::test]
            async fn $name() {
                $crate::in_place(super::$name).await;
            })*
        }
        mod pinned {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::pinned(super::$name).await;
            })*
        }
    };
}

/// Runs a test with a tracer of its own in a task of this runtime, which may move from
/// thread to thread, and shuts the tracer down.
///
/// # Panics
///
/// If the test does, or if the shutdown does not end.
pub async fn in_a_task<F, Fut>(test: F)
where
    F: FnOnce(Tracer) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let tracer = new_tracer();
    let done = soon("the test", tokio::spawn(test(tracer.clone()))).await;
    done.unwrap_or_else(|error: JoinError| std::panic::resume_unwind(error.into_panic()));
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

/// Runs a test with a tracer of its own in the calling task, and shuts the tracer down.
///
/// # Panics
///
/// If the test does, or if the shutdown does not end.
pub async fn in_place<F, Fut>(test: F)
where
    F: FnOnce(Tracer) -> Fut,
    Fut: Future<Output = ()>,
{
    let tracer = new_tracer();
    soon("the test", test(tracer.clone())).await;
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

/// Runs a test with a tracer of its own on that tracer's thread, and shuts the tracer
/// down. A tracee that stays held all the while leads there.
///
/// # Panics
///
/// If the test does, or if the shutdown does not end.
pub async fn pinned<F, Fut>(test: F)
where
    F: FnOnce(Tracer) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let tracer = new_tracer();
    let (guide, mut child) = start(&tracer, &mut Command::new("true")).await;
    let inner = tracer.clone();
    let task = guide.spawn_pinned(move |guide| async move {
        test(inner).await;
        drop(guide);
    });
    match soon("the test", task).await {
        Ok(()) => {}
        Err(PinnedError::Panicked(panic)) => std::panic::resume_unwind(panic.into_payload()),
        Err(error) => panic!("{error}"),
    }
    // It was detached from its first stop, and is awaited all the same.
    let status = soon("the end of the guide", child.wait()).await;
    assert!(status.expect("status").success());
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

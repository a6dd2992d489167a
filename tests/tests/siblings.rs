//! Processes that are made as siblings of their makers (`CLONE_PARENT`): the parent in
//! `/proc` is not who tells of the birth.

use tracehound::{Event, Tracer};
use tracehound_tests::{Family, in_each_place, place, soon, start};

in_each_place! { each_is_told_of_once, a_tree_has_them_all }

const COUNT: usize = 300;

fn crew() -> tracehound::Command {
    let mut command = tracehound::Command::new(env!("CARGO_BIN_EXE_crew"));
    command.args(["siblings", &COUNT.to_string()]);
    command
}

// Scenario 10: whichever stop comes first, the child is its maker's.
async fn each_is_told_of_once(tracer: Tracer) {
    let (maker, mut child) = start(&tracer, &mut crew()).await;
    let histories = Family::of(maker).to_the_end().await;
    assert_eq!(histories.len(), 1 + COUNT);
    for history in &histories[1..] {
        let [Event::Started(_), Event::Exited(exited)] = &history.events[..] else {
            panic!("{history:?}");
        };
        assert_eq!(exited.code, 7);
    }
    assert!(
        soon("the status", child.wait())
            .await
            .expect("status")
            .success()
    );
}

// Scenario 10
async fn a_tree_has_them_all(tracer: Tracer) {
    use futures::StreamExt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let ends = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ends);
    let tree = tracer.trace(place(&mut crew()), move |mut tracee| {
        let ends = Arc::clone(&count);
        async move {
            while let Some(event) = tracee.next().await {
                ends.fetch_add(usize::from(event.is_terminal()), Ordering::Relaxed);
            }
        }
    });
    assert!(soon("the tree", tree).await.expect("traced").success());
    assert_eq!(ends.load(Ordering::Relaxed), 1 + COUNT);
}

//! Several requests, or a whole sequence of stops, in one trip to the tracer thread.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::sync::oneshot;
use tracehound::{Error, Event, Result, Tracee, Tracer};
use tracehound_tests::{end, in_each_place, is_traced, new_tracer, next, puppet, soon, start};

in_each_place! {
    several_requests, a_sequence_of_stops, errors_come_back, a_panic_comes_back,
    dropped_in_the_middle, the_end_meanwhile,
}

async fn several_requests(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("exit", 3)).await;
    let (regs, word, mask) = tracee
        .pinned(async |tracee: &mut Tracee| {
            let regs = tracee.getregs().await?;
            let word = tracee.peek_data(regs.stack_pointer()).await?;
            tracee.poke_data(regs.stack_pointer(), word ^ 1).await?;
            Ok((regs, word, tracee.getsigmask().await?))
        })
        .await
        .expect("held");
    let same = tracee.getregs().await.expect("held");
    assert_eq!(same.stack_pointer(), regs.stack_pointer());
    let changed = tracee.peek_data(regs.stack_pointer()).await.expect("held");
    assert_eq!(changed, word ^ 1);
    assert_eq!(tracee.getsigmask().await.expect("held"), mask);
    let restored = tracee.poke_data(regs.stack_pointer(), word).await;
    restored.expect("held");
    assert!(matches!(end(&mut tracee).await, Event::Exited(exited) if exited.code == 3));
}

async fn a_sequence_of_stops(tracer: Tracer) {
    const STEPS: usize = 100;
    let (mut tracee, _child) = start(&tracer, &mut puppet!("exit", 3)).await;
    let steps = async |tracee: &mut Tracee| {
        let mut passed = Vec::new();
        for _ in 0..STEPS {
            tracee.step().await?;
            assert!(matches!(tracee.wait().await, Some(Event::Step)));
            passed.push(tracee.getregs().await?.instruction_pointer());
        }
        Ok(passed)
    };
    let passed = soon("the steps", tracee.pinned(steps)).await.expect("held");
    assert_eq!(passed.len(), STEPS);
    assert!(passed.windows(2).any(|pair| pair[0] != pair[1]));
    // It stays where it was left, and belongs to its handle as before.
    let here = tracee.getregs().await.expect("held").instruction_pointer();
    assert_eq!(passed.last(), Some(&here));
    assert!(is_traced(tracee.tid()));
    assert!(matches!(end(&mut tracee).await, Event::Exited(exited) if exited.code == 3));
}

async fn errors_come_back(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, puppet!("pause").kill_on_drop(true)).await;
    let tid = tracee.tid();
    let own: Result<()> = tracee
        .pinned(async |_| Err(Error::NoSuchProcess(7.into())))
        .await;
    assert!(matches!(own, Err(Error::NoSuchProcess(pid)) if pid.as_raw() == 7));
    tracee.cont().await.expect("held");
    let running = tracee
        .pinned(async |tracee: &mut Tracee| tracee.getregs().await)
        .await;
    assert!(
        matches!(running, Err(Error::Running(pid)) if pid == tid),
        "{running:?}"
    );
}

async fn a_panic_comes_back(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("exit", 3)).await;
    let trip = tracee.pinned(async |tracee: &mut Tracee| {
        tracee.getregs().await?;
        // Not the hook's message: it is no failure.
        std::panic::resume_unwind(Box::new(5_u8));
        #[expect(unreachable_code)]
        Ok(())
    });
    let payload = AssertUnwindSafe(trip).catch_unwind().await;
    let payload = payload.expect_err("a panic");
    assert_eq!(payload.downcast_ref(), Some(&5_u8));
    assert!(matches!(end(&mut tracee).await, Event::Exited(exited) if exited.code == 3));
}

// Contract 7: what was requested is done, and the handle goes on from there.
async fn dropped_in_the_middle(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, puppet!("pause").kill_on_drop(true)).await;
    let (begun, has_begun) = oneshot::channel::<()>();
    let (alive, mut is_alive) = oneshot::channel::<()>();
    let trip = tracee.pinned(async move |tracee: &mut Tracee| {
        let _alive = alive;
        tracee.cont().await?;
        let _ = begun.send(());
        // Nothing happens to it.
        tracee.wait().await;
        Ok(())
    });
    futures::select! {
        result = soon("the end of the trip", trip).fuse() => panic!("{result:?}"),
        begun = soon("its beginning", has_begun).fuse() => begun.expect("it runs"),
    }
    soon("the end of the closure", &mut is_alive)
        .await
        .expect_err("dropped");
    tracee.control().interrupt().await.expect("it runs");
    next!(tracee, Event::Interrupted);
    let regs = tracee
        .pinned(async |tracee: &mut Tracee| tracee.getregs().await)
        .await;
    regs.expect("held");
}

async fn the_end_meanwhile(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("exit", 3)).await;
    let last = async |tracee: &mut Tracee| {
        let event = end(tracee).await;
        Ok((event, tracee.getregs().await))
    };
    let (event, regs) = soon("the end", tracee.pinned(last))
        .await
        .expect("no error");
    assert!(matches!(event, Event::Exited(exited) if exited.code == 3));
    assert!(matches!(regs, Err(Error::Gone(_))), "{regs:?}");
    // That one was taken.
    assert!(tracee.wait().await.is_none());
}

#[tokio::test]
async fn after_a_shutdown() {
    let tracer = new_tracer();
    let (mut tracee, _child) = start(&tracer, &mut puppet!("exit", 3)).await;
    soon("the shutdown", tracer.shutdown())
        .await
        .expect("it ends");
    let regs = tracee
        .pinned(async |tracee: &mut Tracee| tracee.getregs().await)
        .await;
    assert!(matches!(regs, Err(Error::Shutdown)), "{regs:?}");
}

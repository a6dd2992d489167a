//! A case from its beginning to its end, and what must not be left of it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracehound::{PinnedError, Tracer};
use tracehound_sys::proc;
use tracehound_tests::{builder, own_threads, start};

use crate::follow::follow;
use crate::plan::{Case, End, Op};
use crate::world::{Shared, World, is_same};
use crate::{soon, system, until};

fn tracer(threads: usize) -> Tracer {
    let mut builder = builder();
    if threads > 0 && std::env::var_os("TRACEHOUND_THREADS").is_none() {
        builder.threads(threads);
    }
    builder.build().expect("a tracer")
}

/// Carries out a case, and checks that nothing is left of it.
pub(crate) async fn run(case: Case, shared: &Arc<Shared>) {
    let threads = own_threads().len();
    let tracer = tracer(case.threads);
    let world = World::new(tracer.clone(), Arc::clone(shared));
    let world = if case.pinned {
        on_the_tracer_thread(&tracer, world, case.ops).await
    } else {
        let mut world = world;
        let work = tokio::spawn(async move {
            world.run(&case.ops).await;
            world
        });
        Some(work.await.expect("no panic"))
    };
    match world {
        Some(world) => end(world, tracer, case.end).await,
        // It went with the tracer thread's tasks.
        None => soon("shutdown", tracer.shutdown()).await.expect("shutdown"),
    }
    system::nobody_is_traced(shared.passes.load(Ordering::SeqCst)).await;
    let made = shared.made.lock();
    let made = made.unwrap_or_else(PoisonError::into_inner).clone();
    system::nobody_is_left(&made).await;
    // Tracer threads that nobody waits for end all the same; what reaps for them, when there is
    // nobody to be reaped.
    let names = || {
        let tids = own_threads().into_iter();
        let names = tids.map(|tid| (tid, proc::comm(tid)));
        let names: Vec<_> = names.collect();
        format!("the end of all but {threads} of {names:#?}")
    };
    until(names, || own_threads().len() == threads).await;
}

async fn on_the_tracer_thread(tracer: &Tracer, world: World, ops: Vec<Op>) -> Option<World> {
    let mut guide = tracehound::Command::new("true");
    let (guide, mut child) = start(tracer, &mut guide).await;
    let shared = Arc::clone(&world.shared);
    let task = guide.spawn_pinned(move |guide| async move {
        let mut world = world;
        world.run(&ops).await;
        drop(guide);
        world
    });
    let world = match task.await {
        Ok(world) => Some(world),
        Err(PinnedError::Ended) if shared.shut.get() => None,
        Err(error) => panic!("{error}"),
    };
    soon("the guide's end", child.wait()).await.expect("status");
    world
}

async fn end(mut world: World, tracer: Tracer, how: End) {
    for task in std::mem::take(&mut world.pinned) {
        let result = soon("a pinned task", task).await;
        world.take_back(result);
    }
    match how {
        End::Kill => {
            follow_all(&mut world).await;
            assert_eq!(tracer.metrics().lost, 0, "lost");
            assert_eq!(tracer.metrics().unexplained, 0, "unexplained");
            drop(world);
            soon("shutdown", tracer.shutdown()).await.expect("shutdown");
        }
        End::Shutdown => {
            world.shared.shut.set();
            soon("shutdown", tracer.shutdown()).await.expect("shutdown");
            // Nothing is left to happen; who runs on is ended here.
            system::assert_nobody_is_traced(world.shared.passes.load(Ordering::SeqCst));
            follow_all(&mut world).await;
        }
        End::Drop => {
            world.trees.iter().for_each(|tree| tree.abort());
            drop(world);
            drop(tracer);
        }
        End::DropTracerFirst => {
            let World {
                tracer: own,
                tracees,
                groups,
                kids,
                trees,
                ..
            } = world;
            drop((own, tracer));
            trees.iter().for_each(|tree| tree.abort());
            drop((tracees, groups, kids));
        }
    }
}

/// Kills whoever there is, also those that are only being made, and follows all to their ends.
async fn follow_all(world: &mut World) {
    world.all_deeds().for_each(|deeds| deeds.kill());
    let kill = async {
        loop {
            system::kill_all();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = kill => {}
        () = follow_to_the_end(world) => {}
    }
}

async fn follow_to_the_end(world: &mut World) {
    let shut = world.shut();
    let tracees = std::mem::take(&mut world.tracees);
    let groups = std::mem::take(&mut world.groups);
    let lives = follow(tracees, groups, &shut).await;
    for tree in std::mem::take(&mut world.trees) {
        match soon("the end of a tree", tree).await {
            Ok(Ok(_)) => {}
            Ok(Err(tracehound::Error::Shutdown)) if shut.get() => {}
            // Killed before it was the program.
            Ok(Err(tracehound::Error::Spawn(_))) => {}
            Err(felled) if felled.is_cancelled() => {}
            other => panic!("a tree: {other:?}"),
        }
    }
    for kid in &mut world.kids {
        let what = format!("the status of {}", kid.child.id());
        let status = soon(&what, kid.child.wait()).await.expect("a status");
        World::check_status(kid, status);
        // Whoever had its id last, and was followed.
        let last = lives.iter().filter(|life| life.tid == kid.child.id());
        if let [life] = last.collect::<Vec<_>>()[..]
            && let Some(end) = life.end()
        {
            assert!(is_same(end, status), "{status}: {life:#?}");
        }
    }
}

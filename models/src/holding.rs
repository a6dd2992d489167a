//! A thread that is stopped with all of its process and let go again, whatever it does
//! meanwhile.

use std::sync::Arc;

use loom::thread;

use crate::handover::{CONT, Told, born, next, next_at_once, task};
use crate::kernel::{Pace, stop};
use crate::preempted;
use crate::process;
use crate::shard::trace;
use crate::slot::Slot;
use crate::tracee::Tracee;
use crate::wait::StopKind;

/// `Process::stop_all` and `resume_all`, with one thread, and what it tells afterwards.
async fn stopped_and_released(mut tracee: Tracee) -> Vec<Told> {
    let slot = Arc::clone(tracee.slot());
    tracee.call(|slot| slot.stop()).await;
    process::none_runs(&slot).await;
    assert!(!slot.shard.kernel.runs());
    let told = slot.told_stop();
    tracee.run(move |slot| slot.release(told));
    // What is handed out from here on is held.
    let mut told = Vec::new();
    while let Some(event) = tracee.wait().await {
        let last = event.is_terminal();
        told.push(event.into());
        assert_ne!(tracee.resume(CONT), last);
    }
    told
}

/// With the tracee on a thread of its own.
fn traced(script: &'static [StopKind], play: impl FnOnce(&Arc<Slot>) -> Vec<Told>) {
    let slot = born(Pace::AnyTime, script);
    let tracee = {
        let slot = Arc::clone(&slot);
        thread::spawn(move || {
            let shard = &slot.shard;
            shard.kernel.run_tracee(|| shard.report());
        })
    };
    let told = play(&slot);
    tracee.join().expect("no panic");
    let mut stops = vec![Told::Started];
    for kind in script {
        if let StopKind::Unknown { event, .. } = *kind {
            stops.push(Told::Stop(event));
        }
    }
    stops.push(Told::Exited);
    assert_eq!(told, stops);
}

#[test]
fn one_that_was_held_goes_on() {
    preempted(2, || {
        traced(&[], |slot| {
            let task = task(slot, 0, |mut tracee| async move {
                let first = next(&mut tracee).await.map(Told::from);
                let rest = stopped_and_released(tracee).await;
                first.into_iter().chain(rest).collect()
            });
            trace(slot);
            task.join().expect("no panic")
        });
    });
}

#[test]
fn one_that_ran_goes_on_and_tells_what_it_met() {
    const SCRIPT: &[StopKind] = &[stop(1)];
    preempted(1, || {
        traced(SCRIPT, |slot| {
            let task = task(slot, 0, |mut tracee| async move {
                let first = next(&mut tracee).await.map(Told::from);
                let next = next_at_once(&mut tracee).await.map(Told::from);
                let rest = stopped_and_released(tracee).await;
                first.into_iter().chain(next).chain(rest).collect()
            });
            trace(slot);
            task.join().expect("no panic")
        });
    });
}

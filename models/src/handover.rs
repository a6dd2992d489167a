//! The slot of a tracee: its events, and what is asked of it, between its tracer thread and a
//! task.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_core::Stream;
use loom::sync::Notify;
use loom::thread::{self, JoinHandle};

use crate::error::Error;
use crate::event::Event;
use crate::kernel::{self, Kernel, Pace, stop};
use crate::pace::Patience;
use crate::ptrace::{Options, ResumeKind};
use crate::shard::{Shard, stopped, trace};
use crate::slot::{Action, End, Heritage, Slot};
use crate::tracee::Tracee;
use crate::wait::StopKind;
use crate::{Errno, Tid};
use crate::{model, preempted};

/// What a task was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Started,
    Stop(i32),
    Exiting,
    Exited,
    Detached,
    Other,
}

impl From<Event> for Told {
    fn from(event: Event) -> Self {
        match event {
            Event::Started(_) => Told::Started,
            Event::Unknown(stop) => Told::Stop(stop.event),
            Event::Exiting(_) => Told::Exiting,
            Event::Exited(_) => Told::Exited,
            Event::Detached => Told::Detached,
            _ => Told::Other,
        }
    }
}

pub(crate) const CONT: Action = Action::Resume(ResumeKind::Cont, None);
pub(crate) const SYSCALL: Action = Action::Resume(ResumeKind::Syscall, None);

/// A tracee in its birth stop, on its tracer thread.
pub(crate) fn born(pace: Pace, script: &[StopKind]) -> Arc<Slot> {
    let kernel = Arc::new(Kernel::new(pace, script));
    kernel::install(&kernel);
    let heritage = Heritage {
        mode: ResumeKind::Cont,
        prefetch: false,
        options: Options::empty(),
        tree: None,
        rule: None,
    };
    Slot::new(Shard::new(kernel), Tid::from_raw(7), heritage)
}

/// A task on a thread of its own, which gives what it was told.
pub(crate) fn task<F: Future<Output = Vec<Told>>>(
    slot: &Arc<Slot>,
    patience: u32,
    task: impl FnOnce(Tracee) -> F + Send + 'static,
) -> JoinHandle<Vec<Told>> {
    let tracee = Tracee::new(slot, Patience::of(patience));
    thread::spawn(move || block_on(task(tracee)))
}

/// What the rest of the stream tells.
pub(crate) async fn rest(mut tracee: Tracee) -> Vec<Told> {
    let mut told = Vec::new();
    while let Some(event) = next(&mut tracee).await {
        told.push(event.into());
    }
    told
}

pub(crate) async fn next(tracee: &mut Tracee) -> Option<Event> {
    poll_fn(|cx| Pin::new(&mut *tracee).poll_next(cx)).await
}

/// Asks for the next event, once.
pub(crate) async fn next_at_once(tracee: &mut Tracee) -> Option<Event> {
    poll_fn(|cx| match Pin::new(&mut *tracee).poll_next(cx) {
        Poll::Ready(event) => Poll::Ready(event),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

struct Sleeper(Notify);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

fn block_on<R>(future: impl Future<Output = R>) -> R {
    let mut future = pin!(future);
    let sleeper = Arc::new(Sleeper(Notify::new()));
    let waker = Waker::from(Arc::clone(&sleeper));
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return result;
        }
        sleeper.0.wait();
    }
}

/// The stops that have ended.
fn ended(slot: &Slot) -> Vec<StopKind> {
    let resumes = slot.shard.kernel.resumes();
    resumes.into_iter().map(|(stop, _)| stop).collect()
}

fn each_event_comes_once_in_its_order(patience: u32) {
    model(move || {
        let slot = born(Pace::AtOnce, &[stop(1), stop(2)]);
        let task = task(&slot, patience, rest);
        trace(&slot);
        let told = task.join().expect("no panic");
        assert_eq!(
            told,
            [Told::Started, Told::Stop(1), Told::Stop(2), Told::Exited]
        );
        assert_eq!(ended(&slot), [StopKind::Trap, stop(1), stop(2)]);
    });
}

#[test]
fn each_event_comes_once_in_its_order_to_one_that_sleeps() {
    each_event_comes_once_in_its_order(0);
}

#[test]
fn each_event_comes_once_in_its_order_to_one_that_looks() {
    each_event_comes_once_in_its_order(3);
}

#[test]
fn a_request_resumes_once() {
    model(|| {
        let slot = born(Pace::AtOnce, &[stop(1)]);
        let task = task(&slot, 2, |mut tracee| async move {
            let mut told = Vec::new();
            while let Some(event) = tracee.wait().await {
                let last = event.is_terminal();
                told.push(event.into());
                assert_ne!(tracee.resume(SYSCALL), last);
                // It runs, or has not said why not.
                assert!(!tracee.resume(CONT));
            }
            told
        });
        trace(&slot);
        let told = task.join().expect("no panic");
        assert_eq!(told, [Told::Started, Told::Stop(1), Told::Exited]);
        let resumes = slot.shard.kernel.resumes();
        assert_eq!(resumes, [(StopKind::Trap, SYSCALL), (stop(1), SYSCALL)]);
    });
}

/// Somebody who kills the tracee meanwhile.
fn killer(slot: &Arc<Slot>) -> thread::JoinHandle<()> {
    let slot = Arc::clone(slot);
    thread::spawn(move || {
        slot.shard.kernel.kill();
        slot.shard.report();
    })
}

/// A resume that is on its way when the tracee is killed is not one from the exit stop.
fn a_resume_is_for_the_stop_that_was_told(patience: u32) {
    preempted(2, move || {
        let slot = born(Pace::AtOnce, &[stop(1)]);
        let task = task(&slot, patience, rest);
        let killer = killer(&slot);
        trace(&slot);
        killer.join().expect("no panic");
        let told = task.join().expect("no panic");
        let mut possible = [Told::Started, Told::Stop(1), Told::Exiting, Told::Exited].iter();
        assert!(
            told.iter()
                .all(|event| possible.any(|other| event == other)),
            "{told:?}"
        );
        assert_eq!(told.last(), Some(&Told::Exited));
        for (event, kind) in [(Told::Stop(1), stop(1)), (Told::Exiting, StopKind::Exit)] {
            let resumes = ended(&slot).iter().filter(|stop| **stop == kind).count();
            assert!(resumes <= usize::from(told.contains(&event)), "{told:?}");
        }
    });
}

#[test]
fn a_resume_is_for_the_stop_that_was_told_to_one_that_sleeps() {
    a_resume_is_for_the_stop_that_was_told(0);
}

#[test]
fn a_resume_is_for_the_stop_that_was_told_to_one_that_looks() {
    a_resume_is_for_the_stop_that_was_told(2);
}

#[test]
fn a_request_is_made_in_the_stop_that_was_told() {
    preempted(2, || {
        let slot = born(Pace::AtOnce, &[]);
        let task = task(&slot, 0, |mut tracee| async move {
            let first = next(&mut tracee).await.map(Told::from);
            if first == Some(Told::Started) {
                let asked = tracee.call(|slot| {
                    let request = |_| slot.shard.kernel.peek().ok_or(Errno::ESRCH);
                    slot.request_now(request, |tid, _| Error::Running(tid))
                });
                match asked.await {
                    Some(Ok(stop)) => assert_eq!(stop, StopKind::Trap),
                    refused => assert!(matches!(refused, None | Some(Err(Error::Gone(_))))),
                }
            }
            first.into_iter().chain(rest(tracee).await).collect()
        });
        let killer = killer(&slot);
        trace(&slot);
        slot.shard.close();
        killer.join().expect("no panic");
        assert_eq!(task.join().expect("no panic").last(), Some(&Told::Exited));
    });
}

#[test]
fn the_last_who_asked_is_woken() {
    model(|| {
        let slot = born(Pace::AtOnce, &[stop(1)]);
        let task = task(&slot, 0, |mut tracee| async move {
            // Asks from one task, goes on in another.
            let early = block_on(next_at_once(&mut tracee));
            let early = early.map(Told::from);
            early.into_iter().chain(rest(tracee).await).collect()
        });
        trace(&slot);
        let told = task.join().expect("no panic");
        assert_eq!(told, [Told::Started, Told::Stop(1), Told::Exited]);
    });
}

#[test]
fn a_tracer_that_ends_tells_everybody() {
    model(|| {
        let slot = born(Pace::AtOnce, &[stop(1)]);
        let task = task(&slot, 2, rest);
        stopped(&slot, StopKind::Trap);
        slot.end(End::Shutdown, Event::Detached);
        slot.shard.close();
        let told = task.join().expect("no panic");
        assert!(matches!(
            told[..],
            [Told::Started, Told::Detached] | [Told::Detached]
        ));
        assert_eq!(ended(&slot), []);
    });
}

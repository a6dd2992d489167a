//! One thing done with a tracee, and what the model says to the outcome.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tracehound::{Error, Event, ResumeMode, Signal, Tracee};

use crate::life::Life;
use crate::plan::{Patience, Touch};

/// A tracee with its life so far.
pub(crate) struct Tracked {
    pub(crate) tracee: Tracee,
    pub(crate) life: Life,
}

/// Whether the tracer was shut down, or is being.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shut(Arc<AtomicBool>);

impl Shut {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Waits no longer than this, and drops the future then.
pub(crate) async fn bounded<T>(future: impl Future<Output = T>, patience: Patience) -> Option<T> {
    // So that tokio's budget lets the first poll do something.
    tokio::task::yield_now().await;
    let mut future = pin!(future);
    match patience {
        Patience::Poll => match futures::poll!(future.as_mut()) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        },
        Patience::Turns(turns) => {
            for _ in 0..turns {
                if let std::task::Poll::Ready(output) = futures::poll!(future.as_mut()) {
                    return Some(output);
                }
                tokio::task::yield_now().await;
            }
            None
        }
        Patience::Time(ms) => {
            let limit = Duration::from_millis(u64::from(ms));
            tokio::time::timeout(limit, future).await.ok()
        }
    }
}

/// How long a loop waits for each event.
const EACH: Patience = Patience::Time(3);

impl Tracked {
    /// Whether it is not over. Gives the children that came.
    pub(crate) async fn next(
        &mut self,
        patience: Patience,
        take: bool,
        shut: &Shut,
    ) -> Vec<Tracked> {
        let Tracked { tracee, life } = self;
        next(tracee, life, patience, take, shut).await
    }
}

/// An event, or the end of the stream. Gives the child, if it is taken.
pub(crate) fn happened(
    tracee: &mut Tracee,
    life: &mut Life,
    event: Option<Event>,
    waited: bool,
    take: bool,
    shut: &Shut,
) -> Option<Tracked> {
    let Some(event) = event else {
        life.nothing(shut.get());
        return None;
    };
    life.event(&event, tracee.tid(), waited, shut.get());
    let may_miss = life.may_miss_child();
    let birth = event.birth().filter(|_| take)?;
    let child = tracee.take_child(birth);
    assert!(tracee.take_child(birth).is_none(), "a child taken twice");
    if child.is_none() && !shut.get() && !may_miss {
        panic!("no child of {birth:?}\n{life:#?}");
    }
    let tracee = child?;
    let life = life.child(birth.child);
    Some(Tracked { tracee, life })
}

async fn next(
    tracee: &mut Tracee,
    life: &mut Life,
    patience: Patience,
    take: bool,
    shut: &Shut,
) -> Vec<Tracked> {
    life.asked(tracee.resume_mode());
    let event = bounded(tracee.next(), patience).await;
    let born = event.map(|event| happened(tracee, life, event, false, take, shut));
    born.flatten().into_iter().collect()
}

/// Does this with a tracee that somebody else has. What would consume it does nothing.
/// Gives the children that came.
pub(crate) async fn touch(
    tracee: &mut Tracee,
    life: &mut Life,
    touch: &Touch,
    shut: &Shut,
) -> Vec<Tracked> {
    match touch {
        Touch::Next(patience, take) => return next(tracee, life, *patience, *take, shut).await,
        Touch::Events(count) => {
            let mut born = Vec::new();
            for _ in 0..*count {
                born.extend(next(tracee, life, EACH, true, shut).await);
            }
            return born;
        }
        Touch::Wait(patience) => {
            let event = bounded(tracee.wait(), *patience).await;
            let born = event.map(|event| happened(tracee, life, event, true, true, shut));
            return born.flatten().into_iter().collect();
        }
        Touch::Trip(count, patience) => return trip(tracee, life, *count, *patience, shut).await,
        Touch::Resume(mode, signal) => resume(tracee, life, *mode, *signal, shut).await,
        Touch::Listen => match tracee.listen().await {
            Ok(()) => {
                life.granted("listen");
                life.listens();
            }
            Err(error) => life.refused("listen", &error, false, shut.get()),
        },
        Touch::Mode(mode) => {
            if matches!(mode, ResumeMode::Sysemu | ResumeMode::SysemuStep) {
                life.deeds.confuse();
            }
            tracee.set_resume_mode(*mode);
        }
        Touch::Registers(patience) => {
            let registers = bounded(tracee.getregs(), *patience).await;
            judge(life, "getregs", registers.map(|r| r.map(drop)), shut);
        }
        Touch::Siginfo => {
            let info = tracee.getsiginfo().await.map(drop);
            // The kernel has none for other stops.
            if !matches!(
                info,
                Err(Error::WrongStop { .. } | Error::InvalidArgument(_))
            ) {
                judge(life, "getsiginfo", Some(info), shut);
            }
        }
        Touch::Memory => match tracee.read_bytes(0x40_0000, 8) {
            Ok(_) | Err(Error::Memory { .. }) => {}
            Err(error) => life.refused("read_bytes", &error, false, shut.get()),
        },
        Touch::Interrupt(patience) => interrupt(tracee, life, *patience, shut).await,
        Touch::Kill => {
            life.deeds.kill();
            if let Err(error) = tracee.control().kill() {
                life.refused("kill", &error, false, shut.get());
            }
        }
        Touch::Detach(signal, patience) => detach(tracee, life, *signal, *patience, shut).await,
        Touch::Drop | Touch::Pin(_) => {}
    }
    Vec::new()
}

/// What a request that needs a held tracee was answered, if it was.
fn judge(life: &mut Life, what: &str, answer: Option<Result<(), Error>>, shut: &Shut) {
    match answer {
        Some(Ok(())) => life.granted(what),
        Some(Err(error)) => life.refused(what, &error, false, shut.get()),
        None => {}
    }
}

async fn resume(
    tracee: &mut Tracee,
    life: &mut Life,
    mode: ResumeMode,
    signal: Option<Signal>,
    shut: &Shut,
) {
    if let Some(signal) = signal {
        life.deeds.sent(signal);
    }
    let resumed = match (mode, signal) {
        (ResumeMode::Cont, None) => tracee.cont().await,
        (ResumeMode::Cont, Some(signal)) => tracee.cont_with(signal).await,
        (ResumeMode::Syscall, None) => tracee.syscall().await,
        (ResumeMode::Syscall, Some(signal)) => tracee.syscall_with(signal).await,
        (ResumeMode::Step, None) => tracee.step().await,
        (ResumeMode::Step, Some(signal)) => tracee.step_with(signal).await,
        (ResumeMode::Block, None) => tracee.block_step().await,
        (ResumeMode::Block, Some(signal)) => tracee.block_step_with(signal).await,
        (ResumeMode::Sysemu, None) => tracee.sysemu().await,
        (ResumeMode::Sysemu, Some(signal)) => tracee.sysemu_with(signal).await,
        (_, None) => tracee.sysemu_step().await,
        (_, Some(signal)) => tracee.sysemu_step_with(signal).await,
    };
    match resumed {
        Ok(()) => {
            life.granted("a resume");
            life.resumed(mode);
        }
        // Not every machine has all of them.
        Err(Error::Architecture { .. }) => {}
        Err(error) => life.refused("a resume", &error, signal.is_some(), shut.get()),
    }
}

async fn interrupt(tracee: &mut Tracee, life: &mut Life, patience: Patience, shut: &Shut) {
    let control = tracee.control();
    match bounded(control.interrupt(), patience).await {
        Some(Err(error)) => life.refused("interrupt", &error, false, shut.get()),
        Some(Ok(())) => life.interrupted(),
        None => life.interrupted_later(),
    }
}

async fn detach(
    tracee: &mut Tracee,
    life: &mut Life,
    signal: Option<Signal>,
    patience: Patience,
    shut: &Shut,
) {
    if let Some(signal) = signal {
        life.deeds.sent(signal);
    }
    let detached = match signal {
        Some(signal) => bounded(tracee.detach_with(signal), patience).await,
        None => bounded(tracee.detach(), patience).await,
    };
    match detached {
        Some(Err(error)) => life.refused("detach", &error, signal.is_some(), shut.get()),
        Some(Ok(())) => life.detached(true),
        None => life.detached(false),
    }
}

/// Says that it was dropped.
#[derive(Default)]
struct MarkOnDrop(Shut);

impl Drop for MarkOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Some events on the tracer thread, in one trip.
async fn trip(
    tracee: &mut Tracee,
    life: &mut Life,
    count: u8,
    patience: Patience,
    shut: &Shut,
) -> Vec<Tracked> {
    let (mut inner, shut_too) = (life.clone(), shut.clone());
    let mark = MarkOnDrop::default();
    let given_up = mark.0.clone();
    let logic = async move |tracee: &mut Tracee| {
        let mut born = Vec::new();
        for _ in 0..count {
            inner.asked(tracee.resume_mode());
            let event = bounded(tracee.next(), EACH).await;
            // Until its next await it goes on, beside whoever takes the next events.
            if given_up.get() {
                break;
            }
            let child = event.map(|e| happened(tracee, &mut inner, e, false, true, &shut_too));
            born.extend(child.flatten());
        }
        Ok((inner, born))
    };
    let trip = async {
        let trip = pin!(tracee.pinned(logic));
        // Dropped before the trip.
        let _mark = mark;
        trip.await
    };
    match bounded(trip, patience).await {
        Some(Ok((inner, born))) => {
            *life = inner;
            return born;
        }
        Some(Err(error)) => {
            assert!(matches!(error, Error::Shutdown) && shut.get(), "{error:?}");
            life.loses();
        }
        None => life.loses(),
    }
    Vec::new()
}

//! The thread that forks processes, and keeps those that were detached.
//!
//! A fork must not hold up a tracer thread: it copies the page tables of the host. (Most
//! processes are made without one, by the tracer thread itself.) And a process that this one
//! made and does not trace any more still has to be awaited, or it stays a zombie; the tracer
//! thread cannot, since it waits for tracees only. One thread for the whole program does both:
//! it sleeps in poll(2) on an eventfd and on the pidfds of detached children.
//!
//! It starts with the first of these and ends when there is no tracer and no detached child
//! left. While a detached child lives, the thread outlives the tracer: somebody has to
//! await the child.
//!
//! Waiting for children by pid in tokio's way (SIGCHLD, or a pidfd in the host's reactor)
//! was rejected: the host may have no runtime left.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::watch;
use tracehound_sys::spawn::{Guest, Launch};
use tracehound_sys::{PerProcess, Pidfd, Tid, thread};

use crate::child::{ChildCell, Look};
use crate::error::{Error, Result};
use crate::placement::start_thread;
use crate::shard::Shard;

enum Job {
    /// Fork this process for that tracer thread.
    Launch(Arc<Launch>, Arc<Shard>),
    /// Reap this one, which is not wanted.
    Reap(Guest),
    /// Await this child.
    Keep(Kept),
    /// Look whether there is anything left to do.
    Recount,
}

/// What the thread is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    /// A tracer may want processes.
    Serving,
    /// Only to await detached children.
    Keeping,
    /// Nothing: it has ended.
    Ended,
}

struct Spawner {
    jobs: Mutex<VecDeque<Job>>,
    event: EventFd,
    duty: watch::Sender<Duty>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Global {
    spawner: Option<Arc<Spawner>>,
    /// The thread of the one before, which ends.
    ending: Option<JoinHandle<()>>,
    /// How many tracers there are.
    users: usize,
}

/// A forked child has none of the threads.
static GLOBAL: PerProcess<Mutex<Global>> = PerProcess::new(Mutex::default);

fn global() -> Result<MutexGuard<'static, Global>> {
    let global = GLOBAL.get().map_err(|source| Error::System {
        call: "mmap",
        source,
    })?;
    Ok(global.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Forks a process on behalf of a tracer thread.
pub(crate) fn launch(launch: Arc<Launch>, shard: Arc<Shard>) -> Result<()> {
    submit(Job::Launch(launch, shard))
}

/// Reaps a process that was told to end before anybody traced it.
pub(crate) fn reap(guest: Guest) {
    if let Err(error) = submit(Job::Reap(guest)) {
        tracing::error!(%error, "a child that could not be traced will stay a zombie");
    }
}

/// Awaits a child that is not traced any more.
pub(crate) fn keep(child: Arc<ChildCell>, pidfd: Option<Pidfd>) {
    let pidfd = pidfd.map(Arc::new);
    // At once, so that from here on a kill goes by the descriptor.
    child.detached(pidfd.clone());
    if let Err(error) = submit(Job::Keep(Kept { child, pidfd })) {
        tracing::error!(%error, "a detached child will stay a zombie");
    }
}

/// A pidfd for [`keep`], if there is a descriptor left.
pub(crate) fn open_pidfd(pid: Tid) -> Option<Pidfd> {
    Pidfd::open(pid).ok()
}

fn submit(job: Job) -> Result<()> {
    let mut global = global()?;
    let spawner = match &global.spawner {
        Some(spawner) => Arc::clone(spawner),
        None => {
            let spawner = start()?;
            global.spawner = Some(Arc::clone(&spawner));
            spawner
        }
    };
    // Under the lock: the thread ends under it, and only with nothing to do.
    spawner.jobs().push_back(job);
    drop(global);
    spawner.wake();
    Ok(())
}

/// A tracer's interest in the spawner.
#[derive(Debug)]
pub(crate) struct User(());

impl User {
    pub(crate) fn new() -> Result<Self> {
        global()?.users += 1;
        Ok(User(()))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let Ok(mut global) = global() else {
            return;
        };
        global.users = global.users.saturating_sub(1);
        if let Some(spawner) = &global.spawner {
            spawner.jobs().push_back(Job::Recount);
            spawner.wake();
        }
    }
}

/// Resolves when the thread has noticed that there is no tracer left: it has ended, or
/// only awaits detached children. At once if there are other tracers.
pub(crate) async fn settled() {
    let duty = {
        let Ok(global) = global() else {
            return;
        };
        if global.users > 0 {
            return;
        }
        global
            .spawner
            .as_ref()
            .map(|spawner| spawner.duty.subscribe())
    };
    if let Some(mut duty) = duty {
        // An error means that the spawner, which owns the sender, is gone.
        let _ = duty.wait_for(|duty| *duty != Duty::Serving).await;
    }
    let ending = global().ok().and_then(|mut global| global.ending.take());
    // It has nothing left to do: this takes no time.
    drop(ending.map(JoinHandle::join));
}

fn start() -> Result<Arc<Spawner>> {
    let system = |call| move |source| Error::System { call, source };
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let spawner = Arc::new(Spawner {
        jobs: Mutex::default(),
        event: EventFd::from_flags(flags).map_err(system("eventfd"))?,
        duty: watch::Sender::new(Duty::Serving),
        thread: Mutex::default(),
    });
    let own = Arc::clone(&spawner);
    let builder = std::thread::Builder::new().name("tracehound-spawn".into());
    let thread = start_thread(builder, move || own.run())?;
    *spawner
        .thread
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some(thread);
    Ok(spawner)
}

/// A child that is awaited.
struct Kept {
    child: Arc<ChildCell>,
    pidfd: Option<Arc<Pidfd>>,
}

/// How often a child is looked at for which no descriptor was left.
const LOOK_EVERY_MS: u16 = 100;

impl Spawner {
    fn jobs(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // Fails only if the counter is full: then the thread is awake anyway.
        let _ = self.event.write(1);
    }

    fn run(&self) {
        // A child starts with this mask, so no handler of the host runs in it.
        thread::block_all_but(&[]);
        let mut kept = Vec::new();
        loop {
            while let Some(job) = self.next_job() {
                do_job(job, &mut kept);
            }
            let mut any_taken = false;
            kept.retain(|kept: &Kept| match kept.child.look() {
                Look::Over => false,
                Look::Lives => true,
                Look::Taken => {
                    any_taken = true;
                    true
                }
            });
            if self.may_end(kept.len()) {
                return;
            }
            if any_taken {
                // Its descriptor may be readable already.
                std::thread::sleep(Duration::from_millis(1));
            }
            self.sleep(&kept);
        }
    }

    fn next_job(&self) -> Option<Job> {
        self.jobs().pop_front()
    }

    /// Whether the thread has nothing left to do; it then takes no more jobs.
    fn may_end(&self, kept: usize) -> bool {
        // It was there when the thread was started.
        let Ok(mut global) = global() else {
            return false;
        };
        if global.users > 0 || !self.jobs().is_empty() {
            self.duty.send_replace(Duty::Serving);
            return false;
        }
        if kept > 0 {
            self.duty.send_replace(Duty::Keeping);
            return false;
        }
        // Under the lock, so that nobody gives it a job now.
        global.spawner = None;
        global.ending = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.duty.send_replace(Duty::Ended);
        true
    }

    /// Sleeps until there is a job or a child has ended.
    fn sleep(&self, kept: &[Kept]) {
        let without = kept.iter().any(|kept| kept.pidfd.is_none());
        let fds = kept.iter().filter_map(|kept| kept.pidfd.as_deref());
        let mut fds: Vec<_> = fds
            .map(AsFd::as_fd)
            .chain([self.event.as_fd()])
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let timeout = if without {
            PollTimeout::from(LOOK_EVERY_MS)
        } else {
            PollTimeout::NONE
        };
        // However it ends, everything is looked at.
        let _ = nix::poll::poll(&mut fds, timeout);
        let _ = self.event.read();
    }
}

fn do_job(job: Job, kept: &mut Vec<Kept>) {
    match job {
        Job::Launch(launch, shard) => launch.run(shard.interrupter()),
        Job::Reap(guest) => guest.reap(),
        Job::Keep(child) => kept.push(child),
        Job::Recount => {}
    }
}

//! The process side of a spawned program: its pipes, its exit status, its end.
//!
//! Apart from its tracee: a `Child` awaits the process whether it is traced or was
//! detached. Never a `std::process::Child`, whose wait takes a tracee's stops for exits.

use std::fmt;
use std::process::{ExitStatus, Output};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::watch;
use tracehound_sys::{Errno, Pidfd, ResourceUsage, Signal, Tid, proc};

use crate::children;
use crate::error::{Error, Result};
use crate::event::Death;
use crate::shard::Shard;
use crate::tracer::Handles;

/// Who awaits the process when nobody traces it.
enum Keeper {
    /// The tracer thread that made it, which traces it, as the tracee's death.
    Tracer,
    /// The spawner thread.
    Spawner(Option<Arc<Pidfd>>),
    /// Nobody: it was reaped elsewhere, and how it ended is still to be told.
    Untold,
    /// Nobody: it has ended, and is not asked about again. Whoever comes later with an end
    /// means another process with its id.
    Nobody,
}

/// How the process ended.
#[derive(Clone, Copy)]
enum Outcome {
    Ended(Death),
    /// Somebody else took its status.
    Lost,
}

/// Who has to do with the process, besides its handle.
struct Care {
    keeper: Keeper,
    /// Those that may see its end, or have seen it, besides the one that made it: they attached
    /// to it since it was detached.
    witnesses: Vec<Arc<Shard>>,
    /// How many attaches to it are under way.
    attaches: usize,
}

impl Care {
    /// Whether its id may be another's.
    fn is_reaped(&self) -> bool {
        matches!(self.keeper, Keeper::Untold | Keeper::Nobody)
    }
}

/// What became of a detached child.
pub(crate) enum Look {
    /// It has ended.
    Over,
    Lives,
    /// It is traced again, and its end the tracer's to see.
    Taken,
}

/// What the handle shares with whoever awaits the process.
pub(crate) struct ChildCell {
    pid: Tid,
    shard: Arc<Shard>,
    care: Mutex<Care>,
    /// Of a process that is killed when its handle is dropped: a kill that went by way of
    /// the tracer thread would be late where this process ends next.
    pidfd: Option<Pidfd>,
    outcome: watch::Sender<Option<Outcome>>,
}

impl ChildCell {
    /// On the tracer thread, which has not reaped it yet: it still has its id.
    pub(crate) fn new(pid: Tid, shard: Arc<Shard>, kill_on_drop: bool) -> Arc<Self> {
        let child = Arc::new(ChildCell {
            pid,
            care: Mutex::new(Care {
                keeper: Keeper::Tracer,
                witnesses: Vec::new(),
                attaches: 0,
            }),
            shard,
            // Without a descriptor to spare the tracer thread does it.
            pidfd: kill_on_drop.then(|| Pidfd::open(pid).ok()).flatten(),
            outcome: watch::Sender::new(None),
        });
        children::enter(&child);
        child
    }

    pub(crate) fn pid(&self) -> Tid {
        self.pid
    }

    fn care(&self) -> MutexGuard<'_, Care> {
        self.care.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spawner thread awaits it now.
    pub(crate) fn detached(&self, pidfd: Option<Arc<Pidfd>>) {
        let mut care = self.care();
        if !care.is_reaped() {
            care.keeper = Keeper::Spawner(pidfd);
        }
    }

    /// A tracer thread has seen its death.
    pub(crate) fn ended(&self, death: Death) {
        self.conclude(self.care(), Outcome::Ended(death));
    }

    /// It has ended, and somebody else took its status.
    pub(crate) fn lost(&self) {
        self.conclude(self.care(), Outcome::Lost);
    }

    /// The first to say how it ended is right.
    fn conclude(&self, mut care: MutexGuard<'_, Care>, outcome: Outcome) {
        if matches!(care.keeper, Keeper::Nobody) {
            return;
        }
        care.keeper = Keeper::Nobody;
        care.witnesses.clear();
        drop(care);
        children::leave(self);
        self.outcome.send_replace(Some(outcome));
    }

    /// Whether it is known how it ended.
    pub(crate) fn is_over(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    /// Takes the status of a detached child, if it has ended.
    pub(crate) fn look(self: &Arc<Self>) -> Look {
        // Under the lock: nobody begins to attach to it meanwhile. And once it is reaped, its
        // id may be another's, and must not be killed by number.
        let mut care = self.care();
        if care.is_reaped() {
            return Look::Over;
        }
        // Also without an attach: an exec by a thread that is still traced gives that thread
        // the child's id.
        let traced = || proc::status(self.pid).is_ok_and(|status| status.tracer.is_valid());
        if care.attaches > 0 || traced() {
            return Look::Taken;
        }
        match tracehound_sys::reap(self.pid) {
            Ok(None) => return Look::Lives,
            Ok(Some((status, usage))) => {
                self.conclude(care, Outcome::Ended(Death { status, usage }));
            }
            Err(_) => {
                care.keeper = Keeper::Untold;
                let mut witnesses = std::mem::take(&mut care.witnesses);
                drop(care);
                witnesses.push(Arc::clone(&self.shard));
                Arc::clone(self).ask(witnesses);
            }
        }
        Look::Over
    }

    /// It was reaped elsewhere: by a tracer thread, which has told or is about to, or by a
    /// host that waits for everything.
    fn ask(self: Arc<Self>, mut witnesses: Vec<Arc<Shard>>) {
        while let Some(witness) = witnesses.pop() {
            let (cell, others) = (Arc::clone(&self), witnesses.clone());
            // What that thread has reaped it has also told when it comes to this.
            if witness.run(move |_| cell.ask(others)).is_ok() {
                return;
            }
        }
        self.lost();
    }

    /// A tracer thread may trace it from now on; the spawner leaves it alone until this is
    /// dropped.
    pub(crate) fn begin_attach(self: Arc<Self>, shard: &Arc<Shard>) -> AttachToChild {
        let mut care = self.care();
        care.attaches += 1;
        // Those that have ended have told what they saw.
        care.witnesses
            .retain(|witness| !witness.is_closed() && !Arc::ptr_eq(witness, shard));
        care.witnesses.push(Arc::clone(shard));
        drop(care);
        AttachToChild(self)
    }

    /// SIGKILL, by way of whoever can tell that the id is still the process's.
    pub(crate) fn kill(self: &Arc<Self>) {
        // In a forked child it is somebody else's, and so is the lock.
        if self.shard.is_forked() || self.kill_kept() {
            return;
        }
        if let Some(pidfd) = &self.pidfd {
            // An error means that it is dead.
            let _ = pidfd.signal(Signal::SIGKILL);
        }
        let cell = Arc::clone(self);
        // An error: the tracer has ended, and whatever was left is awaited elsewhere.
        let asked = self.shard.run(move |local| {
            if !local.kill_child(cell.pid) {
                cell.kill_kept();
            }
        });
        if asked.is_err() {
            self.kill_kept();
        }
    }

    /// SIGKILL for a process that is not traced; gives whether it is none of its
    /// tracer's business.
    fn kill_kept(&self) -> bool {
        let care = self.care();
        match &care.keeper {
            Keeper::Tracer => return false,
            // An error of either means that it is dead.
            Keeper::Spawner(Some(pidfd)) => {
                let _ = pidfd.signal(Signal::SIGKILL);
            }
            Keeper::Spawner(None) => {
                let _ = tracehound_sys::signal_process(self.pid, Signal::SIGKILL);
            }
            Keeper::Untold | Keeper::Nobody => {}
        }
        true
    }

    async fn wait(&self) -> Result<ExitStatus> {
        if self.shard.is_forked() {
            return Err(Error::Forked);
        }
        let mut outcome = self.outcome.subscribe();
        let outcome = match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => *outcome,
            // The sender is a field of self.
            Err(_) => None,
        };
        match outcome {
            Some(Outcome::Ended(death)) => Ok(death.status),
            _ => Err(Error::System {
                call: "waitid",
                source: Errno::ECHILD,
            }),
        }
    }

    pub(crate) fn death(&self) -> Option<Death> {
        if self.shard.is_forked() {
            return None;
        }
        match *self.outcome.borrow() {
            Some(Outcome::Ended(death)) => Some(death),
            _ => None,
        }
    }
}

impl Drop for ChildCell {
    fn drop(&mut self) {
        if !self.is_over() {
            children::leave(self);
        }
    }
}

/// An attach to a child of this process that is under way.
pub(crate) struct AttachToChild(Arc<ChildCell>);

impl Drop for AttachToChild {
    fn drop(&mut self) {
        self.0.care().attaches -= 1;
    }
}

/// A process that a tracer made.
///
/// It is awaited in any case: no zombie is left, whether or not [`wait`](Child::wait) is
/// called, also after its tracee was detached. Dropping the handle leaves the process
/// alone, unless [`kill_on_drop`](crate::Command::kill_on_drop) was asked for.
pub struct Child {
    /// The writing end of the program's standard input, if it was piped.
    pub stdin: Option<ChildStdin>,
    /// The reading end of its standard output, if it was piped.
    pub stdout: Option<ChildStdout>,
    /// The reading end of its standard error, if it was piped.
    pub stderr: Option<ChildStderr>,
    cell: Arc<ChildCell>,
    kill_on_drop: bool,
    // The tracer lives as long as somebody may ask for it.
    _handles: Arc<Handles>,
}

impl Child {
    pub(crate) fn new(cell: Arc<ChildCell>, handles: Arc<Handles>, kill_on_drop: bool) -> Self {
        Child {
            stdin: None,
            stdout: None,
            stderr: None,
            cell,
            kill_on_drop,
            _handles: handles,
        }
    }

    /// The process id.
    pub fn id(&self) -> Tid {
        self.cell.pid
    }

    /// Waits for the process to end, after closing its standard input. May be called
    /// again.
    ///
    /// A traced process ends only if its tracee is resumed.
    ///
    /// # Errors
    ///
    /// `ECHILD` if the host waits for everything and has taken the status;
    /// [`Error::Forked`] in a forked child.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: a dropped wait loses nothing.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        drop(self.stdin.take());
        self.cell.wait().await
    }

    /// The exit status, if the process has ended.
    pub fn try_wait(&self) -> Option<ExitStatus> {
        self.cell.death().map(|death| death.status)
    }

    /// What the process and the children that it waited for have used, if it has ended and
    /// [`resource_usage`](crate::Command::resource_usage) was asked for, or it was detached
    /// before.
    pub fn usage(&self) -> Option<ResourceUsage> {
        self.cell.death()?.usage
    }

    /// Sends SIGKILL, without waiting for the end. Nothing happens if it has ended.
    pub fn start_kill(&self) {
        self.cell.kill();
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait).
    ///
    /// # Cancel safety
    ///
    /// The signal is sent at the first poll; dropping the future after that only stops
    /// waiting.
    pub async fn kill(&mut self) -> Result<()> {
        self.start_kill();
        self.wait().await.map(drop)
    }

    /// Waits for the end and collects what the program writes to its pipes meanwhile.
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait), and those of reading.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: what was read is lost, and the handle with it, as if it had been dropped.
    pub async fn wait_with_output(mut self) -> Result<Output> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (mut out, mut err) = (self.stdout.take(), self.stderr.take());
        let read_out = async {
            match &mut out {
                Some(pipe) => pipe.read_to_end(&mut stdout).await,
                None => Ok(0),
            }
        };
        let read_err = async {
            match &mut err {
                Some(pipe) => pipe.read_to_end(&mut stderr).await,
                None => Ok(0),
            }
        };
        let (status, out, err) = futures::future::join3(self.wait(), read_out, read_err).await;
        for read in [out, err] {
            read.map_err(|error| Error::System {
                call: "read",
                source: Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)),
            })?;
        }
        Ok(Output {
            status: status?,
            stdout,
            stderr,
        })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.kill_on_drop {
            self.cell.kill();
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("id", &self.id())
            .field("status", &self.try_wait())
            .finish_non_exhaustive()
    }
}

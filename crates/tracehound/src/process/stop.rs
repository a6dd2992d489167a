//! Stopping every thread of a process, and letting them go on.
//!
//! Complete means: afterwards no thread of the process runs. Each thread that is known is
//! stopped; one that is being born then is known by its parent's event, in which the parent
//! stopped; and since nothing runs that could make another, one look at the list of
//! threads finds any that came to be while its maker was being seized.

use std::sync::Arc;

use tracehound_sys::ptrace::Options;

use super::{Key, Process, together};
use crate::error::Result;
use crate::shard::{Local, are_all_threads};
use crate::slot::{Phase, Slot};

impl Process {
    /// Stops every thread, also those that are being born: `PTRACE_INTERRUPT`.
    ///
    /// Resolves when no thread of the process runs. All of them are held then and take
    /// requests through [`thread`](Process::thread). The stop itself is no event. Until
    /// [`resume_all`](Process::resume_all), nothing resumes a thread but a request of its
    /// own, for instance [`step`](crate::Tracee::step): asking for events does not.
    ///
    /// Those that had an event which was not handed out give it afterwards. Until then a
    /// request that would resume such a thread does nothing: the event comes first. (One
    /// that tells no more than a stop, as a group-stop's, is skipped.)
    ///
    /// A thread that was attached on its own, by
    /// [`attach_thread`](crate::Tracer::attach_thread), has a handle elsewhere and is left alone.
    ///
    /// A thread that sleeps uninterruptibly (a vfork parent until its child's exec) stops
    /// when it can: put a time limit around this if the process may have one.
    ///
    /// # Errors
    ///
    /// [`Error::Shutdown`](crate::Error::Shutdown);
    /// [`Error::Busy`](crate::Error::Busy) and
    /// [`Error::NotPermitted`](crate::Error::NotPermitted) and
    /// [`Error::TooManyTracees`](crate::Error::TooManyTracees) as for an attach, of a thread that
    /// was not traced yet.
    ///
    /// # Cancel safety
    ///
    /// Some threads are stopped if the future is dropped: call it again, or
    /// [`resume_all`](Process::resume_all).
    pub async fn stop_all(&mut self) -> Result<()> {
        let mut asked = 0;
        loop {
            let new = self.slots(asked);
            asked = self.next_key;
            self.stop_these(new).await?;
            let before = self.next_key;
            self.join_unborn();
            if self.next_key == before && self.may_have_strays() {
                self.join_strays().await?;
            }
            if self.next_key == before {
                return Ok(());
            }
        }
    }

    /// Lets every thread run that [`stop_all`](Process::stop_all) stopped, or whose event
    /// was handed out: each in its resume mode, with the signal of a signal-delivery-stop,
    /// listening in a group-stop. A thread whose event was not handed out stays in its stop
    /// until it is.
    ///
    /// # Errors
    ///
    /// [`Error::Shutdown`](crate::Error::Shutdown).
    ///
    /// # Cancel safety
    ///
    /// The resumes are made at the first poll and cannot be recalled.
    pub async fn resume_all(&mut self) -> Result<()> {
        // What is handed out from here on is held, whenever the tracer thread comes to this.
        let slots = self.slots(0).into_iter();
        let slots: Vec<_> = slots.map(|slot| (slot.told_stop(), slot)).collect();
        for thread in self.threads.values() {
            thread.waker.queue();
        }
        self.shard.run(move |_| {
            for (told, slot) in &slots {
                slot.release(*told);
            }
        })
    }

    /// Those that joined from this key on.
    fn slots(&self, from: Key) -> Vec<Arc<Slot>> {
        let threads = self.threads.range(from..);
        threads
            .map(|(_, thread)| Arc::clone(thread.tracee.slot()))
            .collect()
    }

    /// Resolves when none of these runs.
    async fn stop_these(&self, slots: Vec<Arc<Slot>>) -> Result<()> {
        let asked = slots.clone();
        let stop = move |_: &Local| asked.iter().for_each(|slot| slot.stop());
        // Awaited: from here on a stop is one that was made after this.
        self.shard.call(stop).await?;
        // The stream's wakers are replaced. First: this may be dropped.
        for thread in self.threads.values() {
            thread.waker.queue();
        }
        let runs = |phase| matches!(phase, Phase::Running | Phase::Listening);
        together::none(slots, runs).await;
        Ok(())
    }

    /// The threads whose birth was not handed out yet.
    fn join_unborn(&mut self) {
        let pid = self.pid;
        let born = |thread: &mut super::Thread| thread.tracee.take_unborn_thread(pid);
        let born: Vec<_> = self.threads.values_mut().filter_map(born).collect();
        born.into_iter().for_each(|tracee| self.join(tracee));
    }

    /// Whether there may be threads that are not traced, though all should be.
    fn may_have_strays(&self) -> bool {
        let threads_are_followed = self.plan.options.contains(Options::TRACECLONE);
        threads_are_followed && !are_all_threads(self.pid, self.shard.thread(), &self.slots(0))
    }

    async fn join_strays(&mut self) -> Result<()> {
        let strays = self.plan.rest().run(&self.shard).await?;
        strays.tracees.into_iter().for_each(|t| self.join(t));
        Ok(())
    }
}

//! An attached process, and the lives of its threads.

use std::sync::Arc;

use futures::StreamExt;
use tracehound::{Event, Process, Tid, Tracee};
use tracehound_sys::proc;
use tracehound_tests::is_traced;

use crate::life::{Deeds, Life, Origin};
use crate::plan::{Handle, Patience, Seize, Touch};
use crate::touch::{Shut, Tracked, bounded, happened, touch};

pub(crate) struct Group {
    pub(crate) process: Process,
    pub(crate) lives: Vec<Life>,
    deeds: Arc<Deeds>,
    exit_stops: bool,
    /// It was asked to be detached.
    let_go: bool,
    /// Ends of threads under an id that they had taken without its being told.
    unmatched: usize,
    over: bool,
}

impl Group {
    pub(crate) fn new(process: Process, deeds: &Arc<Deeds>, seize: Seize) -> Self {
        let lives = process.threads().map(|thread| {
            let mut life = Life::new(thread.tid(), Origin::Attached, deeds, seize.exit_stops);
            match seize.stopped {
                true => life.freeze(true),
                false => life.enters(seize.mode),
            }
            life
        });
        Group {
            lives: lives.collect(),
            process,
            deeds: Arc::clone(deeds),
            exit_stops: seize.exit_stops,
            let_go: false,
            unmatched: 0,
            over: false,
        }
    }

    /// Whether the stream has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The next event is asked for: that resumes whoever is held. Gives who was.
    pub(crate) fn ask(&mut self) -> Vec<Tid> {
        let mut held = Vec::new();
        for thread in self.process.threads() {
            let tid = thread.tid();
            // An exec may have given it the id of one that has ended.
            let is_it = |life: &&mut Life| life.tid == tid && !life.has_ended();
            if let Some(life) = self.lives.iter_mut().find(is_it) {
                held.extend(life.is_held().then_some(tid));
                life.asked(thread.resume_mode());
            }
        }
        held
    }

    /// An event came before all of those that were held had their turn.
    pub(crate) fn pass_over(&mut self, held: &[Tid]) {
        let lives = self.lives.iter_mut();
        lives
            .filter(|life| held.contains(&life.tid))
            .for_each(Life::passed_over);
    }

    /// The life that an event belongs to.
    fn life_of(&mut self, tid: Tid, event: &Event) -> Option<usize> {
        let former = match event {
            Event::Exec(exec) => exec.former_tid,
            _ => tid,
        };
        let mut lives = self.lives.iter().enumerate();
        let found = lives.find(|(_, life)| life.tid == former && !life.has_ended());
        found.map(|(at, _)| at)
    }

    /// An event, or the end. Gives the processes that were born.
    pub(crate) fn happened(&mut self, next: Option<(Tid, Event)>, shut: &Shut) -> Vec<Tracked> {
        let Some((tid, event)) = next else {
            self.over = true;
            let open = self.lives.iter().filter(|life| !life.has_ended());
            let open: Vec<&Life> = open.filter(|life| !life.is_lossy()).collect();
            assert!(
                shut.get() || open.len() <= self.unmatched,
                "ended without terminal events ({}): {open:#?}",
                self.unmatched
            );
            return Vec::new();
        };
        let Some(at) = self.life_of(tid, &event) else {
            // One that joined just now, or has taken another's id.
            if event.is_terminal() {
                self.unmatched += 1;
            } else {
                let before = match &event {
                    Event::Exec(exec) => exec.former_tid,
                    _ => tid,
                };
                let mut life = self.unknown(before);
                life.event(&event, tid, false, shut.get());
                self.lives.push(life);
            }
            return Vec::new();
        };
        let life = &mut self.lives[at];
        if let Ok(thread) = self.process.thread(tid) {
            let born = happened(thread, life, Some(event), false, false, shut);
            return born.into_iter().collect();
        }
        life.event(&event, tid, false, shut.get());
        Vec::new()
    }

    /// The life of a thread of which nothing is known.
    fn unknown(&self, tid: Tid) -> Life {
        let mut life = Life::unknown(tid, &self.deeds, self.exit_stops);
        if self.let_go {
            life.letting_go();
        }
        life
    }

    /// Lives for threads that have joined without an event that told of it.
    fn note_new(&mut self, frozen: bool) {
        let tids: Vec<Tid> = self.process.threads().map(|thread| thread.tid()).collect();
        for tid in tids {
            let is_it = |life: &Life| life.tid == tid && !life.has_ended();
            if !self.lives.iter().any(is_it) {
                let mut life = self.unknown(tid);
                // Perhaps it is no new one: whose end its own handle has told leaves later.
                if self.lives.iter().any(|life| life.tid == tid) {
                    life.letting_go();
                }
                life.freeze(frozen);
                self.lives.push(life);
            }
        }
    }

    async fn next(&mut self, patience: Patience, shut: &Shut) -> Vec<Tracked> {
        let held = self.ask();
        match bounded(self.process.next(), patience).await {
            Some(next) => {
                self.pass_over(&held);
                self.happened(next, shut)
            }
            None => Vec::new(),
        }
    }

    /// Does this with the process; gives it back, if it is still there, and who was born.
    pub(crate) async fn handle(
        mut self,
        handle: &Handle,
        shut: &Shut,
    ) -> (Option<Group>, Vec<Tracked>) {
        let mut born = Vec::new();
        match handle {
            Handle::Next(patience) => born = self.next(*patience, shut).await,
            Handle::Events(count) => {
                for _ in 0..*count {
                    born.extend(self.next(Patience::Time(3), shut).await);
                }
            }
            Handle::StopAll(patience) => self.stop_all(*patience, shut).await,
            Handle::ResumeAll => {
                if let Err(error) = self.process.resume_all().await {
                    assert!(shut.get(), "resume_all: {error:?}");
                }
                self.thaw();
            }
            Handle::Thread(who, what) => born = self.touch(*who, what, shut).await,
            Handle::Detach(patience) => {
                self.let_go = true;
                self.lives.iter_mut().for_each(Life::letting_go);
                if let Some(Err(error)) = bounded(self.process.detach(), *patience).await {
                    assert!(shut.get(), "detach of a process: {error:?}");
                }
            }
            Handle::Split => return (None, self.split()),
            Handle::Drop => return (None, Vec::new()),
        }
        self.note_new(false);
        let over = self.over;
        (Some(self).filter(|_| !over), born)
    }

    /// Every thread runs again, as far as nothing was to be told of it first.
    pub(crate) fn thaw(&mut self) {
        for thread in self.process.threads() {
            let tid = thread.tid();
            let mut lives = self.lives.iter_mut().filter(|life| life.is_frozen());
            if let Some(life) = lives.find(|life| life.tid == tid) {
                life.freeze(false);
                life.enters(thread.resume_mode());
            }
        }
    }

    async fn stop_all(&mut self, patience: Patience, shut: &Shut) {
        self.lives.iter_mut().for_each(|life| life.freeze(true));
        let stopped = bounded(self.process.stop_all(), patience).await;
        self.note_new(true);
        // Else a thread may be another tracer's, or be held up.
        if matches!(stopped, Some(Ok(()))) && !shut.get() {
            self.rests();
        }
    }

    /// Looks whether no thread of the process runs, unless it was killed.
    pub(crate) fn rests(&mut self) {
        if self.deeds.is_killed() {
            return;
        }
        let pid = self.process.pid();
        for tid in proc::tasks(pid).unwrap_or_default() {
            // One that was attached on its own has a handle elsewhere, also if that was
            // after it was detached from here.
            let gone = |life: &Life| life.tid == tid && life.is_let_go();
            let is_foreign = self.process.thread(tid).is_err() || self.lives.iter().any(gone);
            if is_foreign && is_traced(tid) {
                continue;
            }
            let state = proc::state(pid, tid).ok();
            let rests = !matches!(state, Some('R' | 'S' | 'D'));
            assert!(rests, "{tid} is {state:?} in a stopped process: {self:#?}");
        }
    }

    async fn touch(&mut self, who: u16, what: &Touch, shut: &Shut) -> Vec<Tracked> {
        let tids: Vec<Tid> = self.process.threads().map(|thread| thread.tid()).collect();
        if tids.is_empty() {
            return Vec::new();
        }
        let tid = tids[usize::from(who) % tids.len()];
        let life = self
            .lives
            .iter_mut()
            .find(|life| life.tid == tid && !life.has_ended());
        let (Some(life), Ok(thread)) = (life, self.process.thread(tid)) else {
            return Vec::new();
        };
        touch(thread, life, what, shut).await
    }

    fn split(self) -> Vec<Tracked> {
        let mut lives = self.lives;
        let frozen = lives.iter().any(Life::is_frozen);
        let threads = self.process.into_threads();
        let tids: Vec<Tid> = threads.iter().map(Tracee::tid).collect();
        let tracked = threads.into_iter().map(|tracee| {
            let tid = tracee.tid();
            // A leader whose end was not told has the id of the thread that took it by an exec:
            // which is which is not to be seen.
            let is_one = tids.iter().filter(|other| **other == tid).count() == 1;
            let found = lives
                .iter()
                .position(|life| is_one && life.tid == tid && !life.has_ended());
            let life = match found {
                Some(at) => lives.swap_remove(at),
                None => {
                    let mut life = Life::unknown(tid, &self.deeds, self.exit_stops);
                    life.letting_go();
                    life.freeze(frozen);
                    life
                }
            };
            Tracked { tracee, life }
        });
        tracked.collect()
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("process", &self.process)
            .field("lives", &self.lives)
            .finish_non_exhaustive()
    }
}

//! The kernel, as far as one tracee goes that runs through a list of stops and dies.
//!
//! It is strict where the real one answers `ESRCH`, which looks like a death: whoever makes a
//! request of a tracee that runs and was not killed, or not on the tracer thread, fails the
//! model.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use loom::sync::{Mutex, MutexGuard, Notify};
use loom::thread::{self, ThreadId};

use crate::Signal;
use crate::slot::Action;
use crate::wait::StopKind;

/// When a tracee that runs comes to its next stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Before the tracer thread does anything else.
    AtOnce,
    /// At any time: when [`Kernel::run_tracee`] comes to it on a thread of its own.
    AnyTime,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Running,
    /// In a stop; whether it was waited for.
    Stopped {
        stop: StopKind,
        seen: bool,
    },
    /// Dead; whether it was reaped.
    Dead {
        seen: bool,
    },
}

pub(crate) enum Report {
    Stop(StopKind),
    Death,
}

pub(crate) struct Kernel {
    pace: Pace,
    tracer: ThreadId,
    /// Wakes the tracee's thread.
    resumed: Notify,
    inner: Mutex<Inner>,
}

struct Inner {
    at: At,
    script: VecDeque<StopKind>,
    interrupted: bool,
    killed: bool,
    /// Each stop that ended, and how.
    resumes: Vec<(StopKind, Action)>,
}

/// A stop with a number.
pub(crate) const fn stop(event: i32) -> StopKind {
    let signal = Signal::SIGTRAP;
    StopKind::Unknown { event, signal }
}

impl Kernel {
    /// With a tracee that is in its birth stop, on the thread that traces it.
    pub(crate) fn new(pace: Pace, script: &[StopKind]) -> Self {
        Kernel {
            pace,
            tracer: thread::current().id(),
            resumed: Notify::new(),
            inner: Mutex::new(Inner {
                at: At::Stopped {
                    stop: StopKind::Trap,
                    seen: false,
                },
                script: script.iter().copied().collect(),
                interrupted: false,
                killed: false,
                resumes: Vec::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic")
    }

    /// `waitid` with `WNOHANG`.
    pub(crate) fn wait(&self) -> Option<Report> {
        match &mut self.lock().at {
            At::Stopped { stop, seen } if !*seen => {
                *seen = true;
                Some(Report::Stop(*stop))
            }
            At::Dead { seen } if !*seen => {
                *seen = true;
                Some(Report::Death)
            }
            _ => None,
        }
    }

    /// Each stop that ended, and how.
    pub(crate) fn resumes(&self) -> Vec<(StopKind, Action)> {
        self.lock().resumes.clone()
    }

    /// The stop that it is in, if that was waited for.
    pub(crate) fn peek(&self) -> Option<StopKind> {
        match self.request().at {
            At::Stopped { stop, seen: true } => Some(stop),
            _ => None,
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.lock().at == At::Running
    }

    /// SIGKILL. It ends any stop but leads to the exit stop.
    pub(crate) fn kill(&self) {
        let mut inner = self.lock();
        if !inner.killed && !matches!(inner.at, At::Dead { .. }) {
            inner.killed = true;
            inner.at = At::Stopped {
                stop: StopKind::Exit,
                seen: false,
            };
        }
    }

    /// The tracee's own thread, until it is dead. It calls this when it has something to report.
    pub(crate) fn run_tracee(&self, report: impl Fn()) {
        loop {
            let mut inner = self.lock();
            match inner.at {
                At::Running => {
                    inner.advance();
                    drop(inner);
                    report();
                }
                At::Stopped { .. } => {
                    drop(inner);
                    self.resumed.wait();
                }
                At::Dead { .. } => return,
            }
        }
    }

    fn request(&self) -> MutexGuard<'_, Inner> {
        assert_eq!(
            thread::current().id(),
            self.tracer,
            "another thread's tracee"
        );
        self.lock()
    }

    fn resume(&self, action: Action) -> sys::Result<()> {
        let mut inner = self.request();
        let At::Stopped { stop, seen: true } = inner.at else {
            assert!(inner.killed, "{action:?} of a tracee that runs");
            return Err(sys::Errno::ESRCH);
        };
        inner.resumes.push((stop, action));
        inner.at = At::Running;
        match self.pace {
            Pace::AtOnce => inner.advance(),
            Pace::AnyTime => self.resumed.notify(),
        }
        Ok(())
    }

    fn interrupt(&self) -> sys::Result<()> {
        let mut inner = self.request();
        if matches!(inner.at, At::Dead { .. }) {
            return Err(sys::Errno::ESRCH);
        }
        inner.interrupted = true;
        Ok(())
    }
}

impl Inner {
    /// What comes next. Any stop takes the place of the answer to an interrupt.
    fn advance(&mut self) {
        let interrupted = std::mem::take(&mut self.interrupted);
        let stop = match interrupted && !self.killed {
            true => Some(StopKind::Trap),
            false => self.script.pop_front().filter(|_| !self.killed),
        };
        self.at = match stop {
            Some(stop) => At::Stopped { stop, seen: false },
            None => At::Dead { seen: false },
        };
    }
}

thread_local! {
    /// loom runs all threads of a model on one.
    static KERNEL: RefCell<Option<Arc<Kernel>>> = const { RefCell::new(None) };
}

/// The kernel of the present model.
pub(crate) fn install(kernel: &Arc<Kernel>) {
    KERNEL.set(Some(Arc::clone(kernel)));
}

fn installed() -> Arc<Kernel> {
    KERNEL.with_borrow(|kernel| kernel.clone().expect("a kernel"))
}

/// The requests that the files make.
pub(crate) mod ptrace {
    use sys::Result;
    pub(crate) use sys::ptrace::*;

    use super::installed;
    use crate::slot::Action;
    use crate::{Errno, Signal, Tid};

    pub(crate) fn resume(_: Tid, how: ResumeKind, signal: Option<Signal>) -> Result<()> {
        installed().resume(Action::Resume(how, signal))
    }

    pub(crate) fn listen(_: Tid) -> Result<()> {
        installed().resume(Action::Listen)
    }

    pub(crate) fn interrupt(_: Tid) -> Result<()> {
        installed().interrupt()
    }

    pub(crate) fn getregs(_: Tid) -> Result<Regs> {
        Err(Errno::ESRCH)
    }
}

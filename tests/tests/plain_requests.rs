//! The requests without the runtime: each a function, on the thread that attached.

use std::process::{Child, Command};

use tracehound_sys::ptrace::{self, Options, Request, ResumeKind};
use tracehound_sys::wait::{self, StopKind, Target, WaitStatus};
use tracehound_sys::{Errno, Tid};

/// A child that pauses, seized and stopped; killed in the end.
struct Stopped(Child);

impl Stopped {
    fn new() -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_puppet"))
            .arg("pause")
            .spawn();
        let stopped = Stopped(child.expect("spawn"));
        ptrace::seize(stopped.tid(), Options::TRACESYSGOOD).expect("seize");
        ptrace::interrupt(stopped.tid()).expect("interrupt");
        assert_eq!(stopped.stop(), StopKind::Trap);
        stopped
    }

    fn tid(&self) -> Tid {
        Tid::from(self.0.id())
    }

    /// Waits for its next stop.
    fn stop(&self) -> StopKind {
        loop {
            match wait::poll(Target::One(self.tid()), wait::OWN_TRACEES).expect("a tracee") {
                Some(report) => match report.status {
                    WaitStatus::Stopped(status) => return status.kind(),
                    other => panic!("{other:?}"),
                },
                None => std::thread::yield_now(),
            }
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // An error: it is dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn text_and_data_are_the_same() {
    let stopped = Stopped::new();
    let tid = stopped.tid();
    let regs = ptrace::getregs(tid).expect("regs");
    let at = regs.instruction_pointer();
    let word = ptrace::peek_text(tid, at).expect("text");
    assert_eq!(ptrace::peek_data(tid, at), Ok(word));
    ptrace::poke_text(tid, at, !word).expect("poke");
    assert_eq!(ptrace::peek_data(tid, at), Ok(!word));
    ptrace::poke_text(tid, at, word).expect("poke");
    assert_eq!(ptrace::peek_text(tid, 0), Err(Errno::EIO));
    assert_eq!(ptrace::poke_text(tid, 0, 0), Err(Errno::EIO));
}

#[test]
fn a_thread_that_did_not_attach_is_told_nothing() {
    let stopped = Stopped::new();
    let tid = stopped.tid();
    let elsewhere = std::thread::spawn(move || {
        [
            ptrace::getregs(tid).map(drop),
            ptrace::getsigmask(tid).map(drop),
            ptrace::getregset(tid, ptrace::RegSet::PRSTATUS).map(drop),
            ptrace::resume(tid, ResumeKind::Cont, None),
            ptrace::detach(tid, None),
        ]
    });
    let results = elsewhere.join().expect("a thread");
    assert_eq!(results, [Err(Errno::ESRCH); 5]);
    ptrace::getregs(tid).expect("regs");
}

#[test]
fn what_the_architecture_lacks_is_not_asked_for() {
    let stopped = Stopped::new();
    let tid = stopped.tid();
    let lacking = Request::ALL
        .iter()
        .filter(|request| request.code().is_none());
    assert!(lacking.count() > 0);
    let missing = if cfg!(target_arch = "x86_64") {
        ptrace::peek_mte_tags(tid, 0, 1).map(drop)
    } else {
        ptrace::peek_user(tid, 0).map(drop)
    };
    assert_eq!(missing, Err(Errno::EOPNOTSUPP));
    let block = ptrace::resume(tid, ResumeKind::Block, None);
    if cfg!(target_arch = "aarch64") {
        assert_eq!(block, Err(Errno::EOPNOTSUPP));
    }
}

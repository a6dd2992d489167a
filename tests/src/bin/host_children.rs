//! A host with children of its own, which are none of the tracer's business, made before,
//! during and after tracing, from threads that stay and from threads that end.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use tracehound::{Tid, Tracer};
use tracehound_tests::{
    block_on, new_tracer, sibling, soon, state, stays_asleep, trace_births, until,
};

/// How a child is to end.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Exit(i32),
    /// Lives until it is killed.
    Killed,
}

impl Fate {
    fn check(self, status: ExitStatus) {
        let good = match self {
            Fate::Exit(code) => status.code() == Some(code),
            Fate::Killed => status.signal() == Some(libc::SIGKILL),
        };
        assert!(good, "{self:?}: {status}");
    }

    fn args(self) -> [String; 2] {
        match self {
            Fate::Exit(code) => ["exit".to_string(), code.to_string()],
            Fate::Killed => ["pause".to_string(), String::new()],
        }
    }

    fn start(self) -> std::process::Child {
        Command::new(sibling("sleeper"))
            .args(self.args())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts")
    }

    fn start_tokio(self) -> tokio::process::Child {
        tokio::process::Command::new(sibling("sleeper"))
            .args(self.args())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts")
    }
}

#[derive(Default)]
struct Children {
    std: Vec<(Fate, std::process::Child)>,
    tokio: Vec<(Fate, tokio::process::Child)>,
}

impl Children {
    /// More of each kind.
    fn add(&mut self) {
        let number = self.std.len() as i32;
        for fate in [Fate::Exit(number), Fate::Killed] {
            self.std.push((fate, fate.start()));
            // Its maker ends: it passes to another thread.
            let inherited = std::thread::spawn(move || fate.start());
            self.std.push((fate, inherited.join().expect("no panic")));
            self.tokio.push((fate, fate.start_tokio()));
        }
    }

    /// Waits until those that end by themselves are zombies. (tokio may have taken its
    /// own.)
    async fn rot(&self) {
        for (fate, child) in &self.std {
            if matches!(fate, Fate::Exit(_)) {
                let pid = Tid::from(child.id());
                until("a zombie", || state(pid) == Some('Z')).await;
            }
        }
    }

    async fn check(self) {
        for (fate, mut child) in self.std {
            if matches!(fate, Fate::Killed) {
                assert_eq!(child.try_wait().expect("ours"), None, "it lives");
                child.kill().expect("it lives");
            }
            fate.check(child.wait().expect("its status is there"));
        }
        for (fate, mut child) in self.tokio {
            if matches!(fate, Fate::Killed) {
                child.start_kill().expect("it lives");
            }
            let status = soon("tokio's child", child.wait()).await;
            fate.check(status.expect("its status is there"));
        }
    }
}

/// The host sees its child stop and go on; nobody takes these reports.
fn job_control() {
    let mut child = Fate::Killed.start();
    let pid = child.id() as i32;
    let report = |options| {
        let mut status = 0;
        // SAFETY: the status is live.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, options) };
        assert_eq!(waited, pid);
        status
    };
    for _ in 0..20 {
        // SAFETY: kill takes numbers; the child was not waited for.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        assert!(libc::WIFSTOPPED(report(libc::WUNTRACED)));
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGCONT) };
        assert!(libc::WIFCONTINUED(report(libc::WCONTINUED)));
    }
    child.kill().expect("it lives");
    Fate::Killed.check(child.wait().expect("ours"));
}

/// With zombies around and nothing to do, the tracer thread does not run at all.
async fn idle_beside_zombies(tracer: &Tracer, children: &mut Children) {
    let (tracee, mut child) = tracer
        .spawn(tracehound::Command::new("true"))
        .await
        .expect("spawn");
    let thread = tracehound_sys::proc::status(tracee.tid())
        .expect("held")
        .tracer;
    for _ in 0..10 {
        children.add();
    }
    children.rot().await;
    stays_asleep(thread, job_control).await;
    drop(tracee);
    let status = soon("the tracee's end", child.wait()).await;
    assert!(status.expect("status").success());
}

async fn check() {
    let mut children = Children::default();
    children.add();
    children.rot().await;
    let tracer = new_tracer();
    children.add();
    let more = tokio::join!(trace_births(&tracer), async {
        let mut more = Children::default();
        for _ in 0..10 {
            more.add();
            tokio::task::yield_now().await;
        }
        job_control();
        more
    });
    more.1.check().await;
    idle_beside_zombies(&tracer, &mut children).await;
    trace_births(&tracer).await;
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    children.add();
    children.check().await;
}

fn main() {
    block_on(check());
}

//! The same calls with the same results, process by process, as `strace -f` sees.
//!
//! Each program is traced three times: by strace, by pinned logic, by logic in ordinary
//! tasks. A process is known by its place in the tree: the third child of the first child
//! of the root. What differs between two runs of the program itself is left out: addresses,
//! process ids, times, and the calls by which threads wait for each other.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Stdio as StdStdio;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::future::BoxFuture;
use tracehound::event::SyscallExit;
use tracehound::{Command, Event, ResumeMode, Stdio, SyscallEntry, Tid, Tracee};
use tracehound_tests::{new_tracer, place, soon};

/// One finished call: its name and what it returned.
type Call = (String, String);

/// The calls of each process and thread, by its place in the tree.
type Tree = BTreeMap<Vec<usize>, Vec<Call>>;

/// A program to be traced.
struct Subject {
    script: &'static str,
    directory: tempfile::TempDir,
    /// Calls whose number or result depends on timing in this program.
    also_skip: &'static [&'static str],
    /// Whether the root does everything in a fixed order. If not, its calls are compared as a
    /// collection, and its children known by what they do.
    ordered: bool,
}

impl Subject {
    fn new(script: &'static str) -> Self {
        Subject {
            script,
            directory: tempfile::tempdir().expect("a directory"),
            also_skip: &[],
            ordered: true,
        }
    }

    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.directory.path().join(name), text).expect("writable");
        self
    }

    /// Puts the directory into the state in which each run finds it.
    fn run_untraced(&self, script: &str) {
        let done = std::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(self.directory.path())
            .stdout(StdStdio::null())
            .stderr(StdStdio::null())
            .status();
        assert!(done.expect("sh runs").success(), "{script}");
    }
}

/// Set for all runs alike.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("LC_ALL", "C"),
    ("HOME", "/"),
    ("PYTHONHASHSEED", "0"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
];

/// The system's own programs, not the shell wrappers that a user may have before them.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

fn is_missing(program: &str) -> bool {
    let found = std::env::split_paths(PATH).any(|dir| dir.join(program).is_file());
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    !found
}

/// Calls by which threads and processes wait for each other, or which follow from it;
/// getrandom, which is called again while a temporary name's random bits do not fit; and brk,
/// whose number depends on where the randomized heap starts.
const TIMING: [&str; 10] = [
    "brk",
    "getrandom",
    "futex",
    "restart_syscall",
    "rt_sigreturn",
    "sched_yield",
    "clock_nanosleep",
    "wait4",
    "madvise",
    "set_robust_list",
];

/// Calls whose result is an address, an id or a time.
const VARYING: [&str; 20] = [
    "mmap",
    "mremap",
    "clone",
    "clone3",
    "fork",
    "vfork",
    "getpid",
    "gettid",
    "getppid",
    "getpgrp",
    "getpgid",
    "getsid",
    "setsid",
    "set_tid_address",
    "waitid",
    "time",
    "times",
    "prctl",
    "arch_prctl",
    "rseq",
];

fn keep(name: &str, also_skip: &[&str]) -> bool {
    !TIMING.contains(&name) && !also_skip.contains(&name)
}

/// A result in the form in which both sides are compared.
fn normal(name: &str, value: i128, error: Option<String>) -> String {
    match error {
        Some(error) => error,
        None if VARYING.contains(&name) => "ok".into(),
        None => value.to_string(),
    }
}

mod ours {
    use super::*;

    /// What one tracee did, and the ids of its children in the order of their births.
    #[derive(Default)]
    pub(super) struct Record {
        pub(super) calls: Vec<Call>,
        pub(super) children: Vec<Tid>,
    }

    #[derive(Clone, Default)]
    pub(super) struct Log(Arc<Mutex<HashMap<Tid, Record>>>);

    impl Log {
        fn with<R>(&self, tid: Tid, f: impl FnOnce(&mut Record) -> R) -> R {
            f(self
                .0
                .lock()
                .expect("no panic before")
                .entry(tid)
                .or_default())
        }

        pub(super) fn tree(&self, root: Tid) -> Tree {
            let mut log = self.0.lock().expect("no panic before");
            let mut tree = Tree::new();
            let mut todo = vec![(Vec::new(), root)];
            while let Some((place, tid)) = todo.pop() {
                let record = log.remove(&tid).unwrap_or_default();
                for (number, child) in record.children.into_iter().enumerate() {
                    let mut at = place.clone();
                    at.push(number);
                    todo.push((at, child));
                }
                tree.insert(place, record.calls);
            }
            tree
        }
    }

    fn finished(call: &SyscallEntry, exit: Option<&SyscallExit>) -> Call {
        let name = call.name().unwrap_or("unknown").to_string();
        let result = match exit {
            None => "?".into(),
            Some(exit) => {
                let text = exit.to_string();
                let error = exit.errno().map(|_| {
                    let rest = text.rsplit(" = -1 ").next().unwrap_or_default();
                    rest.split(' ').next().unwrap_or_default().to_string()
                });
                normal(&name, exit.value.into(), error)
            }
        };
        (name, result)
    }

    /// Records one event; gives the open call afterwards.
    pub(super) fn record(log: &Log, tid: Tid, event: &Event, open: &mut Option<SyscallEntry>) {
        match event {
            Event::Started(started) => *open = started.exec,
            Event::SyscallEnter(enter) => *open = Some(enter.call),
            Event::SyscallExit(exit) => {
                if let Some(call) = exit.call {
                    log.with(tid, |record| record.calls.push(finished(&call, Some(exit))));
                }
                *open = None;
            }
            Event::Fork(birth) | Event::Vfork(birth) | Event::Clone(birth) => {
                log.with(tid, |record| record.children.push(birth.child));
            }
            event if event.is_terminal() => {
                if let Some(call) = open.take() {
                    log.with(tid, |record| record.calls.push(finished(&call, None)));
                }
            }
            _ => {}
        }
    }

    fn command(subject: &Subject) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", subject.script])
            .current_dir(subject.directory.path())
            .env_clear()
            .env("PATH", PATH)
            .envs(ENVIRONMENT)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .stop_before_exec(true)
            .resume_mode(ResumeMode::Syscall);
        place(&mut command);
        command
    }

    pub(super) async fn pinned(subject: &Subject) -> Tree {
        let tracer = new_tracer();
        let log = Log::default();
        let root = Arc::new(Mutex::new(None));
        let (own_log, own_root) = (log.clone(), Arc::clone(&root));
        let traced = tracer.trace(command(subject), move |mut tracee| {
            let (log, root) = (own_log.clone(), Arc::clone(&own_root));
            async move {
                root.lock().expect("no panic").get_or_insert(tracee.tid());
                let mut open = None;
                while let Some(event) = tracee.next().await {
                    record(&log, tracee.tid(), &event, &mut open);
                }
            }
        });
        soon("the traced program", traced).await.expect("traced");
        let root = root.lock().expect("no panic").expect("a root");
        log.tree(root)
    }

    fn follow(log: Log, mut tracee: Tracee) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut tasks = Vec::new();
            let mut open = None;
            while let Some(event) = tracee.next().await {
                if let Some(child) = event.birth().and_then(|birth| tracee.take_child(birth)) {
                    tasks.push(tokio::spawn(follow(log.clone(), child)));
                }
                record(&log, tracee.tid(), &event, &mut open);
            }
            for task in tasks {
                task.await.expect("no panic");
            }
        })
    }

    pub(super) async fn remote(subject: &Subject) -> Tree {
        let tracer = new_tracer();
        let (tracee, mut child) = tracer.spawn(command(subject)).await.expect("spawned");
        let log = Log::default();
        let root = tracee.tid();
        soon("the traced program", follow(log.clone(), tracee)).await;
        soon("its exit", child.wait()).await.expect("a status");
        log.tree(root)
    }
}

mod theirs {
    use super::*;

    /// Runs the program under strace, which writes a file for each process.
    pub(super) fn tree(subject: &Subject) -> Tree {
        let logs = tempfile::tempdir().expect("a directory");
        let status = std::process::Command::new("strace")
            .args(["-ff", "-qq", "-o"])
            .arg(logs.path().join("log"))
            .args(["/bin/sh", "-c", subject.script])
            .current_dir(subject.directory.path())
            .env_clear()
            .env("PATH", PATH)
            .envs(ENVIRONMENT)
            .stdin(StdStdio::null())
            .stdout(StdStdio::null())
            .stderr(StdStdio::null())
            .status();
        assert!(status.expect("strace runs").success());
        let mut files: HashMap<i128, Vec<Call>> = HashMap::new();
        let mut children: HashMap<i128, Vec<i128>> = HashMap::new();
        for entry in std::fs::read_dir(logs.path()).expect("readable") {
            let file = entry.expect("readable").path();
            let (pid, calls, born) = parse(&file);
            files.insert(pid, calls);
            children.insert(pid, born);
        }
        let is_child = |pid: &i128| children.values().any(|born| born.contains(pid));
        let root = files.keys().copied().find(|pid| !is_child(pid));
        let mut tree = Tree::new();
        let mut todo = vec![(Vec::new(), root.expect("a root"))];
        while let Some((place, pid)) = todo.pop() {
            for (number, child) in children.remove(&pid).unwrap_or_default().iter().enumerate() {
                let mut at = place.clone();
                at.push(number);
                todo.push((at, *child));
            }
            tree.insert(place, files.remove(&pid).unwrap_or_default());
        }
        tree
    }

    fn parse(file: &Path) -> (i128, Vec<Call>, Vec<i128>) {
        let pid = file.extension().and_then(|e| e.to_str()).expect("log.PID");
        let text = std::fs::read(file).expect("readable");
        let (mut calls, mut born) = (Vec::new(), Vec::new());
        for line in String::from_utf8_lossy(&text).lines() {
            if line.starts_with("---") || line.starts_with("+++") {
                continue;
            }
            let Some((name, rest)) = line.split_once('(') else {
                continue;
            };
            let (_, result) = rest.rsplit_once(" = ").unwrap_or((rest, "?"));
            let (value, error) = value(result);
            let is_birth = matches!(name, "clone" | "clone3" | "fork" | "vfork");
            if is_birth && error.is_none() && value > 0 {
                born.push(value);
            }
            let result = if result.trim() == "?" {
                "?".into()
            } else {
                normal(name, value, error)
            };
            calls.push((name.to_string(), result));
        }
        (pid.parse().expect("a pid"), calls, born)
    }

    /// The number before any remark, or the error's name.
    fn value(result: &str) -> (i128, Option<String>) {
        let mut words = result.split_whitespace();
        let first = words.next().unwrap_or_default();
        if first == "-1" || first == "?" {
            let error = words.next().map(str::to_string);
            return (-1, error);
        }
        let number = match first.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(hex, 16),
            None if first.len() > 1 && first.starts_with('0') => i128::from_str_radix(first, 8),
            None => first.parse(),
        };
        (number.unwrap_or_default(), None)
    }
}

/// What is compared of a tree. Where the root makes its children in varying order, they
/// are known by what they did.
fn compared(tree: Tree, subject: &Subject) -> Vec<(Vec<usize>, Vec<Call>)> {
    let mut all: Vec<_> = tree
        .into_iter()
        .map(|(place, calls)| {
            let calls = calls
                .into_iter()
                .filter(|(name, _)| keep(name, subject.also_skip))
                .collect::<Vec<_>>();
            (place, calls)
        })
        .collect();
    if !subject.ordered {
        for (place, calls) in &mut all {
            if place.is_empty() {
                calls.sort();
            }
            *place = vec![place.len()];
        }
        all.sort();
    }
    all
}

fn assert_same(what: &str, left: &[(Vec<usize>, Vec<Call>)], right: &[(Vec<usize>, Vec<Call>)]) {
    for ((place, ours), (_, theirs)) in left.iter().zip(right) {
        let both = ours.iter().zip(theirs);
        let differs = both.clone().position(|(a, b)| a != b);
        let at = differs.unwrap_or(ours.len().min(theirs.len()));
        let end = |calls: &[Call]| {
            calls[at.min(calls.len())..]
                .iter()
                .take(4)
                .cloned()
                .collect()
        };
        let (a, b): (Vec<Call>, Vec<Call>) = (end(ours), end(theirs));
        assert!(
            ours == theirs,
            "{what}: process {place:?} differs at call {at}: {a:?} against {b:?}"
        );
    }
    assert_eq!(left.len(), right.len(), "{what}: the number of processes");
}

async fn compare(subject: Subject, reset: &str, needs: &[&str]) {
    if needs.iter().any(|program| is_missing(program)) {
        return;
    }
    subject.run_untraced(reset);
    let pinned = compared(ours::pinned(&subject).await, &subject);
    subject.run_untraced(reset);
    let remote = compared(ours::remote(&subject).await, &subject);
    assert!(pinned.iter().all(|(_, calls)| !calls.is_empty()));
    assert_same("pinned and remote", &pinned, &remote);
    if is_missing("strace") {
        return;
    }
    subject.run_untraced(reset);
    let theirs = compared(theirs::tree(&subject), &subject);
    assert_same("pinned and strace", &pinned, &theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_program() {
    let mut subject = Subject::new("exec ls -l /");
    // The link count of /proc is the number of processes, and sets the width of a column.
    subject.also_skip = &["write"];
    compare(subject, "true", &["ls"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_of_four() {
    let subject = Subject::new("ls / | sort | tail -3 | cat");
    compare(subject, "true", &["sort", "tail"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git_status_in_a_repository() {
    let subject = Subject::new("exec git status").file("a file", "text\n");
    let reset = "rm -rf .git && git init -q . && git status";
    compare(subject, reset, &["git"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compiling_a_c_file() {
    let subject = Subject::new("exec gcc -O1 -o program program.c")
        .file("program.c", "int main(void) { return 0; }\n");
    compare(subject, "rm -f program", &["gcc"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_with_threads_and_subprocesses() {
    let program = "import subprocess, threading\n\
        def work():\n    subprocess.run(['true'], check=True)\n\
        for _ in range(3):\n    t = threading.Thread(target=work); t.start(); t.join()\n";
    let mut subject = Subject::new("exec python3 -S -E program.py").file("program.py", program);
    // A thread's stack is used again if its last owner has quite ended, and what comes
    // through a pipe may come in pieces. A thread that was joined may not have made its last
    // calls when the program ends.
    subject.also_skip = &[
        "mmap",
        "mprotect",
        "munmap",
        "read",
        "rt_sigprocmask",
        "exit",
    ];
    compare(subject, "true", &["python3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn make_with_four_jobs() {
    let makefile = "program: a.o b.o c.o main.o\n\tcc -o $@ $^\n\
        %.o: %.c\n\tcc -O1 -c -o $@ $<\n";
    let mut subject = Subject::new("exec make -j4 -s")
        .file("Makefile", makefile)
        .file("main.c", "int a(void); int main(void) { return a(); }\n");
    for name in ["a", "b", "c"] {
        let text = format!("int {name}(void) {{ return 0; }}\n");
        subject = subject.file(&format!("{name}.c"), &text);
    }
    subject.ordered = false;
    // make's jobs take turns by way of a pipe and SIGCHLD, and what it allocates and
    // whose standard input a job gets depends on who ends first.
    subject.also_skip = &[
        "dup2",
        "mmap",
        "munmap",
        "prlimit64",
        "pselect6",
        "read",
        "rt_sigprocmask",
        "write",
    ];
    compare(subject, "rm -f program *.o", &["make", "cc"]).await;
}

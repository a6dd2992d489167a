//! An interactive shell on a terminal of its own, and who types there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tracehound::{Signal, Stdio, Tid, Tracee, Tracer};
use tracehound_sys::proc;
use tracehound_tests::{STUCK, is_traced, soon, start, state, until};

/// What the shell asks with. Its first character is in nothing else that is written.
const PROMPT: &str = "@prompt ";

/// How often a shell that was told does not know of it.
const PATIENCE: u32 = 1_000;

/// How the shell is started.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bash,
    Dash,
}

impl Kind {
    /// Both, as far as they are installed.
    pub(crate) fn all() -> impl Iterator<Item = Kind> {
        [Kind::Bash, Kind::Dash].into_iter().filter(|kind| {
            let there = std::fs::exists(kind.command()[0]).is_ok_and(|there| there);
            if !there {
                eprintln!("skipped: no {kind:?}");
            }
            there
        })
    }

    fn command(self) -> &'static [&'static str] {
        match self {
            // Its line editor would change the terminal at every line.
            Kind::Bash => &["/bin/bash", "--norc", "--noprofile", "--noediting", "-i"],
            Kind::Dash => &["/bin/dash", "-i"],
        }
    }
}

enum Child {
    Untraced(tokio::process::Child),
    Traced(tracehound::Child),
}

/// A shell and its terminal. The shell is killed when this is dropped, which hangs up what
/// is left on the terminal.
pub(crate) struct Shell {
    pub(crate) pid: Tid,
    child: Child,
    terminal: Terminal,
    unread: String,
    nudged: bool,
}

impl Shell {
    /// Starts a shell. `$T` is this text in it.
    pub(crate) async fn start(kind: Kind, t: &str) -> Shell {
        let (terminal, slave) = open();
        let mut command = tokio::process::Command::new(kind.command()[0]);
        command.args(&kind.command()[1..]).kill_on_drop(true);
        command.env_clear().envs(environment(t));
        let same = || std::process::Stdio::from(slave.try_clone().expect("a descriptor"));
        command.stdin(same()).stdout(same()).stderr(same());
        // SAFETY: what it calls is async-signal-safe.
        unsafe { command.pre_exec(take_terminal) };
        let child = command.spawn().expect("a shell");
        let pid = Tid::from_raw(child.id().expect("it lives") as i32);
        Shell::ready(pid, Child::Untraced(child), terminal).await
    }

    /// As [`start`](Shell::start), with the shell traced from its first instruction.
    /// `watch` gets the tracee.
    pub(crate) async fn start_traced(
        kind: Kind,
        tracer: &Tracer,
        watch: impl FnOnce(Tracee),
    ) -> Shell {
        let (terminal, slave) = open();
        let mut command = tracehound::Command::new(kind.command()[0]);
        command.args(&kind.command()[1..]).kill_on_drop(true);
        command.env_clear().envs(environment(""));
        let same = || Stdio::from(slave.try_clone().expect("a descriptor"));
        command.stdin(same()).stdout(same()).stderr(same());
        // SAFETY: what it calls is async-signal-safe.
        unsafe { command.pre_exec(take_terminal) };
        let (tracee, child) = start(tracer, &mut command).await;
        // The copies in it would keep the terminal open.
        drop(command);
        watch(tracee);
        Shell::ready(child.id(), Child::Traced(child), terminal).await
    }

    async fn ready(pid: Tid, child: Child, terminal: Terminal) -> Shell {
        let mut shell = Shell {
            pid,
            child,
            terminal,
            unread: String::new(),
            nudged: false,
        };
        shell.prompt().await;
        shell
    }

    /// Types these characters.
    pub(crate) fn type_in(&self, text: &str) {
        // A few bytes always fit into the terminal's buffer.
        let mut end = &self.terminal.end;
        end.write_all(text.as_bytes()).expect("written");
    }

    /// Waits until this is on the terminal; gives what came before it.
    pub(crate) async fn shows(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.unread.find(text) {
                let before = self.unread[..at].to_string();
                self.unread.drain(..at + text.len());
                return before;
            }
            match tokio::time::timeout(STUCK, self.terminal.shown.recv()).await {
                Ok(Some(more)) => self.unread.push_str(&more),
                end => panic!(
                    "no {text:?} on the terminal, {end:?}, but {:?}\n{}",
                    self.unread,
                    self.processes()
                ),
            }
        }
    }

    /// What is known of the processes on the terminal.
    fn processes(&self) -> String {
        let mut text = format!("{} is in front\n", self.foreground());
        for pid in all_processes().filter(|pid| field(*pid, SESSION) == Some(self.pid.as_raw())) {
            let file = |name| std::fs::read_to_string(format!("/proc/{pid}/{name}"));
            for name in ["stat", "status", "wchan", "syscall"] {
                text.push_str(&file(name).unwrap_or_default());
                text.push('\n');
            }
        }
        text
    }

    /// Waits for the prompt; gives what came before it.
    pub(crate) async fn prompt(&mut self) -> String {
        self.shows(PROMPT).await
    }

    /// Types a line; gives what is shown until the shell asks for the next.
    pub(crate) async fn line(&mut self, line: &str) -> String {
        self.type_in(&format!("{line}\n"));
        self.prompt().await
    }

    /// Types `jobs` until it says this; gives what it says from then on.
    pub(crate) async fn jobs(&mut self, expected: &str) -> String {
        // The shell may not have been told yet of what can be seen in /proc.
        let start = Instant::now();
        for asked in 1_u32.. {
            let said = self.line("jobs").await;
            if said.contains(expected) {
                break;
            }
            if asked == PATIENCE && !self.nudged {
                self.nudge();
            }
            assert!(
                start.elapsed() < STUCK,
                "no job that is {expected}, but {said:?}\n{}",
                self.processes()
            );
        }
        // Without a notice that came in between.
        self.line("jobs").await
    }

    /// Has the shell look for what has become of its jobs, once in its life. bash overlooks about
    /// one in 3,000 stops that come while it is still at the `bg` that made the job go on,
    /// also untraced: it says "Running" until the next SIGCHLD.
    fn nudge(&mut self) {
        self.nudged = true;
        tracehound_sys::signal_process(self.pid, Signal::SIGCHLD).expect("it lives");
    }

    /// The process group that has the terminal.
    fn foreground(&self) -> Tid {
        let group = nix::unistd::tcgetpgrp(self.terminal.end.as_fd()).expect("a terminal");
        Tid::from_raw(group.as_raw())
    }

    /// Waits until a job has the terminal; gives its process group.
    pub(crate) async fn job_in_front(&self) -> Tid {
        until("a job in the foreground", || {
            self.foreground() != self.pid && self.foreground().as_raw() != 0
        })
        .await;
        self.foreground()
    }

    /// Waits until the shell waits for the job that it has put in front. Before that it may
    /// still send SIGCONT, which would undo a `^Z`.
    pub(crate) async fn waits(&self) {
        let waits = || {
            let call = std::fs::read_to_string(format!("/proc/{}/syscall", self.pid));
            let number = call
                .ok()
                .and_then(|call| call.split(' ').next()?.parse().ok());
            matches!(number, Some(libc::SYS_wait4 | libc::SYS_rt_sigsuspend))
        };
        until("the shell waits", waits).await;
    }

    /// Waits until this job sleeps, all of it.
    pub(crate) async fn runs(&self, group: Tid) {
        let sleeps = |tid: &Tid| state(*tid) == Some('S');
        until("a job that runs", || threads(group).iter().all(sleeps)).await;
    }

    /// Waits until this job is stopped, all of it.
    pub(crate) async fn is_stopped(&self, group: Tid) {
        let stopped = |tid: &Tid| matches!(state(*tid), Some('T' | 't'));
        until("a job that stands", || threads(group).iter().all(stopped)).await;
    }

    /// Leaves the shell, which must end with this.
    pub(crate) async fn leave(mut self) {
        self.type_in("exit 7\n");
        let status = match &mut self.child {
            Child::Untraced(child) => soon("its end", child.wait()).await.expect("a status"),
            Child::Traced(child) => soon("its end", child.wait()).await.expect("a status"),
        };
        assert_eq!(status.code(), Some(7), "{}", self.unread);
        // Who still had the terminal open would keep it from its end.
        let the_end = async { while self.terminal.shown.recv().await.is_some() {} };
        soon("the terminal's end", the_end).await;
    }
}

/// The processes of a job.
pub(crate) fn members(group: Tid) -> Vec<Tid> {
    let pids = all_processes().filter(|pid| field(*pid, GROUP) == Some(group.as_raw()));
    pids.map(Tid::from_raw).collect()
}

/// Those of a job that are traced.
pub(crate) fn traced(group: Tid) -> Vec<Tid> {
    let mut pids = members(group);
    pids.retain(|pid| is_traced(*pid));
    pids
}

fn threads(group: Tid) -> Vec<Tid> {
    let pids = members(group).into_iter();
    pids.flat_map(|pid| proc::tasks(pid).unwrap_or_default())
        .collect()
}

fn all_processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok())
}

/// The fields of `/proc/PID/stat` behind the name.
const GROUP: usize = 2;
const SESSION: usize = 3;

fn field(pid: i32, number: usize) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(number)?.parse().ok()
}

fn environment(t: &str) -> [(&'static str, String); 5] {
    [
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_string()),
        ("TERM", "dumb".to_string()),
        ("HISTFILE", String::new()),
        ("PS1", PROMPT.to_string()),
        ("T", t.to_string()),
    ]
}

/// The end of a terminal at which a user sits.
struct Terminal {
    end: File,
    /// What is written to the other end, until nobody has that open any more.
    shown: UnboundedReceiver<String>,
}

/// A terminal that does not repeat what is typed; and its other end.
fn open() -> (Terminal, OwnedFd) {
    let pty = nix::pty::openpty(None, None).expect("a terminal");
    let mut modes = tcgetattr(&pty.slave).expect("a terminal");
    modes.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&pty.slave, SetArg::TCSANOW, &modes).expect("a terminal");
    for fd in [&pty.master, &pty.slave] {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("a descriptor");
    }
    let end = File::from(pty.master);
    let mut reader = end.try_clone().expect("a descriptor");
    let (sender, shown) = unbounded_channel();
    // It ends with an error, EIO.
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = reader.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            if sender.send(text.into_owned()).is_err() {
                break;
            }
        }
    });
    (Terminal { end, shown }, pty.slave)
}

/// In the child: a session of its own, to which the terminal belongs.
fn take_terminal() -> std::io::Result<()> {
    nix::unistd::setsid()?;
    // Whoever was started in the background ignores them, and a shell then never heeds them.
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: the default is no function.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: takes numbers only.
    match unsafe { libc::ioctl(std::io::stdin().as_raw_fd(), libc::TIOCSCTTY, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

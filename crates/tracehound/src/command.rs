//! What to run, as tokio's `Command` has it, and how to trace it.

// `pre_exec` is unsafe by contract, as in std; this is the one file of the crate that
// says so.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tracehound_sys::ptrace::{Options, ResumeKind};
use tracehound_sys::seccomp::{SyscallFilter, SyscallNumber};
use tracehound_sys::spawn::{PreExec, Program};

use crate::filter::{FilterRule, Unwatched};

/// Which new tracees are traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Follow {
    /// None.
    Nothing,
    /// Threads of the same process.
    Threads,
    /// Threads, and processes made by fork, vfork and clone.
    #[default]
    Everything,
}

/// How a tracee is traced, whether it is spawned or attached.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tracing {
    pub(crate) follow: Follow,
    pub(crate) exit_stops: bool,
    pub(crate) exit_kill: bool,
    pub(crate) resource_usage: bool,
    /// The registers are read at each stop.
    pub(crate) prefetch: bool,
    /// There is a seccomp filter.
    pub(crate) filtered: bool,
    pub(crate) unwatched: Unwatched,
}

impl Tracing {
    /// What holds for tracees with a filter, if these are such.
    pub(crate) fn rule(self) -> Option<FilterRule> {
        self.filtered.then_some(FilterRule {
            unwatched: self.unwatched,
            follow: self.follow,
        })
    }

    pub(crate) fn options(self) -> Options {
        let mut options = Options::TRACESYSGOOD | Options::TRACEEXEC;
        if self.filtered {
            options |= FilterRule::OPTIONS;
        }
        options |= match self.follow {
            Follow::Nothing => Options::empty(),
            Follow::Threads => Options::TRACECLONE,
            Follow::Everything => {
                Options::TRACECLONE
                    | Options::TRACEFORK
                    | Options::TRACEVFORK
                    | Options::TRACEVFORKDONE
            }
        };
        options.set(Options::TRACEEXIT, self.exit_stops);
        options.set(Options::EXITKILL, self.exit_kill || self.filtered);
        options
    }
}

/// What a standard stream of a program is connected to.
#[derive(Clone, Debug)]
pub struct Stdio(StdioKind);

#[derive(Clone, Debug)]
enum StdioKind {
    Inherit,
    Null,
    Piped,
    Fd(Arc<OwnedFd>),
}

impl Stdio {
    /// What this process has. The default.
    pub fn inherit() -> Self {
        Stdio(StdioKind::Inherit)
    }

    /// `/dev/null`.
    pub fn null() -> Self {
        Stdio(StdioKind::Null)
    }

    /// A pipe, whose other end the [`Child`](crate::Child) has as a tokio stream.
    pub fn piped() -> Self {
        Stdio(StdioKind::Piped)
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Self {
        Stdio(StdioKind::Fd(Arc::new(fd)))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        OwnedFd::from(file).into()
    }
}

/// The ends of the pipes that stay here.
#[derive(Default)]
pub(crate) struct Pipes {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Pipes {
    pub(crate) fn is_empty(&self) -> bool {
        self.stdin.is_none() && self.stdout.is_none() && self.stderr.is_none()
    }

    /// Makes them tokio's streams. Inside a runtime with its I/O driver only.
    pub(crate) fn into_streams(
        self,
    ) -> io::Result<(Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>)> {
        let stdin = self.stdin.map(std::process::ChildStdin::from);
        let stdout = self.stdout.map(std::process::ChildStdout::from);
        let stderr = self.stderr.map(std::process::ChildStderr::from);
        Ok((
            stdin.map(ChildStdin::from_std).transpose()?,
            stdout.map(ChildStdout::from_std).transpose()?,
            stderr.map(ChildStderr::from_std).transpose()?,
        ))
    }
}

/// A program to spawn and trace.
///
/// Mirrors [`tokio::process::Command`], and says what to follow. A command may be spawned
/// several times, unless it has [`pre_exec`](Command::pre_exec) closures, which go with
/// the first.
pub struct Command {
    program: OsString,
    arg0: Option<OsString>,
    args: Vec<OsString>,
    env_clear: bool,
    /// What is set, or removed, on top of this process's environment.
    env: BTreeMap<OsString, Option<OsString>>,
    directory: Option<PathBuf>,
    stdio: [Stdio; 3],
    uid: Option<u32>,
    gid: Option<u32>,
    process_group: Option<i32>,
    closures: Mutex<Vec<PreExec>>,
    filter: Option<SyscallFilter>,
    kill_on_drop: bool,
    pub(crate) tracing: Tracing,
    pub(crate) mode: ResumeKind,
    pub(crate) before_exec: bool,
    pub(crate) on_tracers_cpu: bool,
}

impl Command {
    /// A program with no arguments, the environment of this process, and everything
    /// followed.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Command {
            program: program.as_ref().to_os_string(),
            arg0: None,
            args: Vec::new(),
            env_clear: false,
            env: BTreeMap::new(),
            directory: None,
            stdio: [Stdio::inherit(), Stdio::inherit(), Stdio::inherit()],
            uid: None,
            gid: None,
            process_group: None,
            closures: Mutex::default(),
            filter: None,
            kill_on_drop: false,
            tracing: Tracing::default(),
            mode: ResumeKind::Cont,
            before_exec: false,
            on_tracers_cpu: false,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.args.push(arg.as_ref().to_os_string());
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        for arg in args {
            self.arg(arg);
        }
        self
    }

    /// Sets what the program sees as its own name, instead of what was given to
    /// [`new`](Command::new).
    pub fn arg0(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.arg0 = Some(arg.as_ref().to_os_string());
        self
    }

    /// Sets an environment variable.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        let value = value.as_ref().to_os_string();
        self.env.insert(key.as_ref().to_os_string(), Some(value));
        self
    }

    /// Sets environment variables.
    pub fn envs(
        &mut self,
        vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Self {
        for (key, value) in vars {
            self.env(key, value);
        }
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        self.env.insert(key.as_ref().to_os_string(), None);
        self
    }

    /// Starts from an empty environment.
    pub fn env_clear(&mut self) -> &mut Self {
        self.env_clear = true;
        self.env.clear();
        self
    }

    /// Sets the working directory.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.directory = Some(directory.as_ref().to_path_buf());
        self
    }

    /// Sets the standard input.
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdio[0] = stdio.into();
        self
    }

    /// Sets the standard output.
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdio[1] = stdio.into();
        self
    }

    /// Sets the standard error.
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdio[2] = stdio.into();
        self
    }

    /// Sets the user to run as. Supplementary groups are dropped, if this process is
    /// root, as std does. It makes the spawn a fork(2), which takes the longer the more memory
    /// this process has.
    pub fn uid(&mut self, id: u32) -> &mut Self {
        self.uid = Some(id);
        self
    }

    /// Sets the group to run as. A fork(2), as with [`uid`](Command::uid).
    pub fn gid(&mut self, id: u32) -> &mut Self {
        self.gid = Some(id);
        self
    }

    /// Sets the process group; zero makes a new one.
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.process_group = Some(group);
        self
    }

    /// Runs a closure in the child before its exec. It makes the spawn a fork(2), which
    /// takes the longer the more memory this process has.
    ///
    /// # Safety
    ///
    /// As with [`tokio::process::Command::pre_exec`]: the closure runs in a copy of a
    /// process whose other threads have vanished, and must not rely on locks that they
    /// held.
    pub unsafe fn pre_exec(
        &mut self,
        f: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) -> &mut Self {
        // SAFETY: the caller vouches for the closure, in the same words.
        let closure = unsafe { PreExec::new(f) };
        self.closures
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .push(closure);
        self
    }

    /// Kills the process when its [`Child`](crate::Child) is dropped, at once: also if this
    /// process ends next. The child then takes a file descriptor (pidfd_open(2), Linux 5.3).
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.kill_on_drop = kill;
        self
    }

    /// Chooses which new tracees are traced. The default is everything.
    pub fn follow(&mut self, follow: Follow) -> &mut Self {
        self.tracing.follow = follow;
        self
    }

    /// Sets the resume mode that the tracee starts with; see
    /// [`Tracee::set_resume_mode`](crate::Tracee::set_resume_mode).
    pub fn resume_mode(&mut self, mode: ResumeKind) -> &mut Self {
        self.mode = mode;
        self
    }

    /// Stops at these system calls only, by a seccomp filter: [`Event::Seccomp`](crate::Event::Seccomp). All
    /// others
    /// are made without the tracer, at next to no cost. What the program makes inherits the
    /// filter. [`guide::filters`](crate::guide::filters) says how to use it.
    ///
    /// ```
    /// use tracehound::{Command, Sysno};
    ///
    /// Command::new("make").trace_syscalls([Sysno::openat, Sysno::execve]);
    /// ```
    ///
    /// A call stands for the calls of its name in the machine's other tables, too (`int
    /// 0x80` and x32 on x86_64, 32-bit ARM on aarch64); a call of those alone is given by
    /// its own table, `x86::Sysno::socketcall`, or as a [`SyscallNumber`]. Other calls of
    /// other architectures are made.
    ///
    /// A filter stays for ever, and without a tracer the calls that it stops fail with
    /// `ENOSYS`. So tracees with a filter are never left alone:
    /// [`unwatched`](Command::unwatched) says what becomes of those whose handle is dropped,
    /// and if this process dies they are killed, as by [`exit_kill`](Command::exit_kill). Only
    /// what is made with `CLONE_UNTRACED` is out of reach.
    ///
    /// If this process has no `CAP_SYS_ADMIN`, the filter takes `PR_SET_NO_NEW_PRIVS`: then
    /// the set-user-ID bit of programs has no effect on what is spawned. seccomp(2), Linux
    /// 4.14.
    pub fn trace_syscalls(
        &mut self,
        calls: impl IntoIterator<Item = impl Into<SyscallNumber>>,
    ) -> &mut Self {
        self.set_filter(SyscallFilter::only(calls.into_iter().map(Into::into)))
    }

    /// Stops at all system calls but these: the opposite of
    /// [`trace_syscalls`](Command::trace_syscalls), of which all else holds. Also calls that
    /// have no name stop.
    pub fn trace_syscalls_except(
        &mut self,
        calls: impl IntoIterator<Item = impl Into<SyscallNumber>>,
    ) -> &mut Self {
        self.set_filter(SyscallFilter::all_but(calls.into_iter().map(Into::into)))
    }

    fn set_filter(&mut self, filter: SyscallFilter) -> &mut Self {
        self.filter = Some(filter);
        self.tracing.filtered = true;
        self
    }

    /// Chooses what becomes of a tracee with a [filter](Command::trace_syscalls) that nobody
    /// watches any more. The default is that its process is killed.
    pub fn unwatched(&mut self, unwatched: Unwatched) -> &mut Self {
        self.tracing.unwatched = unwatched;
        self
    }

    /// Holds the tracee at the entry of its execve instead of behind it: the arguments
    /// can be read there, and are gone afterwards.
    ///
    /// The spawn then succeeds before the program is known to be there: a failing exec shows
    /// as a system call's error, and the tracee ends with code 127 without an
    /// [`Exec`](crate::Event::Exec). It is a fork(2), which takes the longer the more memory
    /// this process has.
    pub fn stop_before_exec(&mut self, before: bool) -> &mut Self {
        self.before_exec = before;
        self
    }

    /// Runs the program on the CPU of its tracer thread, and so all that it makes:
    /// sched_setaffinity(2), before its first instruction. For a tracer with
    /// [`cpus`](crate::TracerBuilder::cpus).
    ///
    /// A stop is then a switch from one thread to the other on one CPU, which is up to 2.5 times
    /// cheaper than waking another CPU. But the program sees one CPU (`nproc` says 1), and all
    /// its threads and processes share it with the tracer thread: one that has work for several
    /// CPUs gets slower. [`guide::placement`](crate::guide::placement) says when it pays, and how
    /// to undo it.
    pub fn on_tracers_cpu(&mut self, on: bool) -> &mut Self {
        self.on_tracers_cpu = on;
        self
    }

    /// Asks for [`Event::Exiting`](crate::Event::Exiting): `PTRACE_O_TRACEEXIT`.
    pub fn exit_stops(&mut self, stops: bool) -> &mut Self {
        self.tracing.exit_stops = stops;
        self
    }

    /// Asks for what the dead have used: in [`Exited`](crate::event::Exited) and
    /// [`Killed`](crate::event::Killed), and from [`Child::usage`](crate::Child::usage).
    ///
    /// It has to be asked for in advance, on the tracer thread, where it costs 0.4 µs for
    /// each stop of each tracee.
    pub fn resource_usage(&mut self, usage: bool) -> &mut Self {
        self.tracing.resource_usage = usage;
        self
    }

    /// Reads the registers at each stop; see
    /// [`Tracee::set_prefetch_registers`](crate::Tracee::set_prefetch_registers).
    pub fn prefetch_registers(&mut self, prefetch: bool) -> &mut Self {
        self.tracing.prefetch = prefetch;
        self
    }

    /// Kills the tracees if this process dies, or ends the tracer without detaching them:
    /// `PTRACE_O_EXITKILL` (Linux 3.8). Without it they run on untraced.
    pub fn exit_kill(&mut self, kill: bool) -> &mut Self {
        self.tracing.exit_kill = kill;
        self
    }

    pub(crate) fn kills_on_drop(&self) -> bool {
        self.kill_on_drop
    }

    pub(crate) fn take_closures(&mut self) -> Vec<PreExec> {
        std::mem::take(
            self.closures
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// What the child becomes, and the pipes' ends that stay here.
    pub(crate) fn prepare(&self) -> io::Result<(Program, Pipes)> {
        let name = self.arg0.as_ref().unwrap_or(&self.program);
        let args = std::iter::once(name).chain(&self.args).map(|arg| &**arg);
        let mut program = Program::new(&self.program, args, self.environment())?;
        if let Some(directory) = &self.directory {
            program.directory(directory.as_os_str())?;
        }
        program.uid(self.uid);
        program.gid(self.gid);
        program.process_group(self.process_group);
        let filter = self.filter.as_ref().map(SyscallFilter::compile);
        program.filter(filter.transpose()?);
        let mut pipes = Pipes::default();
        let ends = [&mut pipes.stdin, &mut pipes.stdout, &mut pipes.stderr];
        for ((number, stdio), ours) in self.stdio.iter().enumerate().zip(ends) {
            program.stdio(number, stdio.open(number, ours)?)?;
        }
        Ok((program, pipes))
    }

    /// What the program inherits, and then what is set for it.
    fn environment(&self) -> impl Iterator<Item = (OsString, OsString)> {
        let all = (!self.env_clear).then(std::env::vars_os);
        let is_inherited = |(key, _): &(OsString, _)| !self.env.contains_key(key);
        let inherited = all.into_iter().flatten().filter(is_inherited);
        let set = self.env.iter();
        let set = set.filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        inherited.chain(set)
    }
}

impl Stdio {
    /// The descriptor that the child gets, if not its parent's; for a pipe, our end too.
    fn open(&self, number: usize, ours: &mut Option<OwnedFd>) -> io::Result<Option<Arc<OwnedFd>>> {
        Ok(match &self.0 {
            StdioKind::Inherit => None,
            StdioKind::Fd(fd) => Some(Arc::clone(fd)),
            StdioKind::Null => {
                let null = OpenOptions::new()
                    .read(number == 0)
                    .write(number != 0)
                    .open("/dev/null")?;
                Some(Arc::new(null.into()))
            }
            StdioKind::Piped => {
                let (reader, writer) = io::pipe()?;
                let (theirs, end) = if number == 0 {
                    (OwnedFd::from(reader), OwnedFd::from(writer))
                } else {
                    (OwnedFd::from(writer), OwnedFd::from(reader))
                };
                *ours = Some(end);
                Some(Arc::new(theirs))
            }
        })
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("directory", &self.directory)
            .field("tracing", &self.tracing)
            .field("resume_mode", &self.mode)
            .finish_non_exhaustive()
    }
}

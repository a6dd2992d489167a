//! What a client asks to be traced, checked against the limits.

use std::collections::BTreeSet;
use std::path::PathBuf;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tracehound::{Arch, Command, Follow, ResumeMode, Stdio, SyscallNumber, Unwatched};

use crate::config::Config;
use crate::error::{ApiError, ApiResult};

/// The body of `POST /traces`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTrace {
    /// A program and its arguments.
    command: Option<Vec<String>>,
    /// Or a process that runs already.
    pid: Option<i32>,
    /// Names of system calls; without it, all of them.
    filter: Option<Vec<String>>,
    /// How many events are kept.
    buffer: Option<usize>,
}

/// What is traced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    Command(Vec<String>),
    Pid(i32),
}

/// A request that is within the limits.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    #[serde(flatten)]
    pub(crate) target: Target,
    /// What is executed for a command, however it is written there.
    #[serde(skip)]
    file: PathBuf,
    pub(crate) filter: Option<BTreeSet<String>>,
    pub(crate) buffer: usize,
}

impl NewTrace {
    pub(crate) fn check(self, config: &Config) -> ApiResult<Plan> {
        let (target, file) = match (self.command, self.pid) {
            (Some(command), None) => {
                let file = check_command(&command, config)?;
                (Target::Command(command), file)
            }
            (None, Some(pid)) => {
                check_pid(pid, config)?;
                (Target::Pid(pid), PathBuf::new())
            }
            _ => return Err(ApiError::invalid("one of command and pid is required")),
        };
        let buffer = self.buffer.unwrap_or(config.buffer);
        if !(1..=config.max_buffer).contains(&buffer) {
            let most = config.max_buffer;
            return Err(ApiError::invalid(format!("buffer is 1 to {most} events")));
        }
        let filter = self.filter.map(check_filter).transpose()?;
        Ok(Plan {
            target,
            file,
            filter,
            buffer,
        })
    }
}

/// Gives the file to execute.
fn check_command(command: &[String], config: &Config) -> ApiResult<PathBuf> {
    let Some(program) = command.first().filter(|program| !program.is_empty()) else {
        return Err(ApiError::invalid("command has a program"));
    };
    if command.len() - 1 > config.max_args {
        let most = config.max_args;
        return Err(ApiError::invalid(format!("at most {most} arguments")));
    }
    config.allowed.file(program).ok_or_else(|| {
        ApiError::forbidden(
            "not-allowed",
            "the program is not on the list of those that may be started",
        )
    })
}

fn check_pid(pid: i32, config: &Config) -> ApiResult<()> {
    if config.no_attach {
        return Err(ApiError::forbidden(
            "not-allowed",
            "this service does not attach to processes",
        ));
    }
    match pid {
        1.. => Ok(()),
        _ => Err(ApiError::invalid("pid is a positive number")),
    }
}

fn check_filter(names: Vec<String>) -> ApiResult<BTreeSet<String>> {
    if names.is_empty() {
        return Err(ApiError::invalid("filter names a system call"));
    }
    let unknown = names.iter().find(|name| numbers(name).next().is_none());
    match unknown {
        None => Ok(names.into_iter().collect()),
        Some(name) => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "no-such-call",
            format!("there is no system call {:?}", shortened(name)),
        )),
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

/// The calls of this name in all tables of the machine.
fn numbers(name: &str) -> impl Iterator<Item = SyscallNumber> {
    let other = match Arch::NATIVE {
        Arch::X86_64 => Arch::I386,
        _ => Arch::ARM,
    };
    let named = move |arch| SyscallNumber::named(arch, name);
    [Arch::NATIVE, other].into_iter().filter_map(named)
}

impl Plan {
    /// Whether a call of this name is told of.
    pub(crate) fn shows(&self, name: &str) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|names| names.contains(name))
    }

    /// The command to be spawned.
    pub(crate) fn command(&self, program: &[String]) -> Command {
        let (name, args) = program
            .split_first()
            .map_or(("", &[][..]), |(name, args)| (name.as_str(), args));
        let mut command = Command::new(&self.file);
        command
            .arg0(name)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A signal from the service's terminal is not for it.
            .process_group(0)
            .follow(Follow::Everything)
            .exit_kill(true);
        match &self.filter {
            Some(names) => {
                let calls = names.iter().flat_map(|name| numbers(name));
                // Those that are let go run on, as far as that is possible.
                command.trace_syscalls(calls).unwatched(Unwatched::Pass);
            }
            None => {
                command.resume_mode(ResumeMode::Syscall);
            }
        }
        command
    }
}

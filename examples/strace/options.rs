//! The command line.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::Parser;

use crate::decode;

/// Prints the system calls and signals of a command, or of running processes.
///
/// One line for each finished call, with the thread that made it: its arguments, and
/// behind `=` what it returned. Ends as the command ends.
#[derive(Parser, Debug)]
#[command(name = "strace", args_override_self = true)]
pub(crate) struct Options {
    /// Also trace the threads and processes that come of the traced ones
    #[arg(short = 'f')]
    pub(crate) follow: bool,

    /// Attach to all threads of a running process (may be repeated)
    #[arg(short = 'p', value_name = "PID", value_delimiter = ',')]
    pub(crate) attach: Vec<i32>,

    /// Only these calls: trace=NAME,…; trace=!NAME,… all but these; trace=all
    #[arg(short = 'e', value_name = "trace=NAME,…", value_parser = Filter::parse)]
    pub(crate) filter: Option<Filter>,

    /// Let only the calls of `-e trace=` stop, by a seccomp filter: all others run at full
    /// speed. Only for the command and what comes of it, which cannot be let go: it ends with
    /// strace. Without `-f`, too; strace then stays until all that it does not show has ended
    #[arg(long)]
    pub(crate) seccomp_bpf: bool,

    /// Instead of lines, a table of calls, errors and time in the end. The time is that of
    /// the clock on the wall, between the stops at a call's entry and exit
    #[arg(short = 'c')]
    pub(crate) count: bool,

    /// Write to this file, not to standard error
    #[arg(short = 'o', value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Run the logic in ordinary tasks, not on the tracer thread
    #[arg(long)]
    pub(crate) remote: bool,

    /// The program to run and its arguments
    #[arg(
        trailing_var_arg = true,
        required_unless_present = "attach",
        value_name = "COMMAND"
    )]
    pub(crate) command: Vec<OsString>,
}

impl Options {
    /// What is asked for and has no effect, as a text for the user.
    pub(crate) fn warning(&self) -> Option<&'static str> {
        if !self.seccomp_bpf {
            return None;
        }
        match &self.filter {
            None | Some(Filter::AllBut(_)) if self.seccomp_filter().is_none() => {
                Some("--seccomp-bpf has no effect: without -e trace=NAME,… every call is traced")
            }
            _ if !self.attach.is_empty() => {
                Some("--seccomp-bpf is not enabled for processes attached with -p")
            }
            _ => None,
        }
    }

    /// The calls by which a seccomp filter is to tell those that stop, if there is to be one.
    pub(crate) fn seccomp_filter(&self) -> Option<&Filter> {
        let filter = self.filter.as_ref().filter(|_| self.seccomp_bpf)?;
        (*filter != Filter::all()).then_some(filter)
    }

    /// The command's name, for messages.
    pub(crate) fn program(&self) -> &OsStr {
        self.command
            .first()
            .map_or(OsStr::new(""), OsString::as_os_str)
    }
}

/// Which calls are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Those of the set.
    Only(HashSet<&'static str>),
    /// Those that are not in the set.
    AllBut(HashSet<&'static str>),
}

impl Filter {
    /// No filter.
    pub(crate) fn all() -> Self {
        Filter::AllBut(HashSet::new())
    }

    /// Reads `trace=NAME,…`.
    fn parse(text: &str) -> Result<Self, String> {
        let set = match text.split_once('=') {
            Some(("trace" | "t", set)) => set,
            Some((other, _)) => return Err(format!("unknown qualifier '{other}'")),
            None => text,
        };
        let (set, inverted) = match set.strip_prefix('!') {
            Some(set) => (set, true),
            None => (set, false),
        };
        let names = match set {
            "all" => return Ok(Filter::constant(!inverted)),
            "none" => return Ok(Filter::constant(inverted)),
            _ => set.split(',').map(name).collect::<Result<_, _>>()?,
        };
        Ok(match inverted {
            true => Filter::AllBut(names),
            false => Filter::Only(names),
        })
    }

    fn constant(all: bool) -> Self {
        match all {
            true => Filter::all(),
            false => Filter::Only(HashSet::new()),
        }
    }

    /// Whether a call of this name is shown. One without a name is, unless names were
    /// asked for.
    pub(crate) fn shows(&self, name: Option<&str>) -> bool {
        match (self, name) {
            (Filter::Only(names), name) => name.is_some_and(|name| names.contains(name)),
            (Filter::AllBut(names), name) => !name.is_some_and(|name| names.contains(name)),
        }
    }
}

/// The call of this name; `?` before it says that it need not exist.
fn name(text: &str) -> Result<&'static str, String> {
    let (text, optional) = match text.strip_prefix('?') {
        Some(text) => (text, true),
        None => (text, false),
    };
    match decode::known_name(text) {
        Some(name) => Ok(name),
        None if optional => Ok(""),
        None => Err(format!("invalid system call '{text}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["strace"], args].concat())
    }

    #[test]
    fn the_commands_own_options_are_its_own() {
        let options = parse(&["-f", "-o", "out", "ls", "-l", "--", "-f", "--remote"]).unwrap();
        assert!(options.follow && !options.remote);
        assert_eq!(options.command, ["ls", "-l", "--", "-f", "--remote"]);
        let options = parse(&["--", "-odd", "-c"]).unwrap();
        assert_eq!(options.command, ["-odd", "-c"]);
        assert!(!options.count);
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let warning = |args: &[&str]| parse(args).unwrap().warning();
        assert!(warning(&["-e", "trace=read", "ls"]).is_none());
        assert!(warning(&["--seccomp-bpf", "-e", "trace=read", "ls"]).is_none());
        assert!(warning(&["--seccomp-bpf", "-e", "trace=none", "ls"]).is_none());
        assert!(warning(&["--seccomp-bpf", "-e", "!read", "ls"]).is_none());
        for all in [
            &["--seccomp-bpf", "ls"][..],
            &["--seccomp-bpf", "-e", "trace=all", "ls"],
        ] {
            assert!(warning(all).unwrap().contains("every call"));
        }
        let attach = ["--seccomp-bpf", "-e", "read", "-p", "1"];
        assert!(warning(&attach).unwrap().contains("-p"));
    }

    #[test]
    fn there_must_be_something_to_trace() {
        assert!(parse(&["-f"]).is_err());
        assert!(parse(&["-x", "ls"]).is_err());
        let options = parse(&["-p", "1", "-p2,3"]).unwrap();
        assert_eq!(options.attach, [1, 2, 3]);
    }

    #[test]
    fn filters_name_calls() {
        let filter = Filter::parse("trace=openat,read").unwrap();
        assert!(filter.shows(Some("read")) && !filter.shows(Some("write")));
        assert!(!filter.shows(None));
        let filter = Filter::parse("!read").unwrap();
        assert!(!filter.shows(Some("read")) && filter.shows(Some("write")));
        assert!(Filter::parse("trace=all").unwrap().shows(None));
        assert!(!Filter::parse("trace=none").unwrap().shows(Some("read")));
        assert!(Filter::parse("trace=?nosuch,read").is_ok());
    }

    #[test]
    fn unknown_names_are_errors() {
        let error = Filter::parse("trace=read,nosuch").unwrap_err();
        assert_eq!(error, "invalid system call 'nosuch'");
        assert!(Filter::parse("trace=").is_err());
        assert!(Filter::parse("fault=read").is_err());
    }
}

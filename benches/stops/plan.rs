//! How much to run: the command line, and the numbers that follow from it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measures what a stop costs, pinned to one CPU.
#[derive(Parser)]
pub(crate) struct Args {
    /// Only cases whose name contains one of these words
    pub(crate) words: Vec<String>,
    /// A look in a few seconds: less exact, and without the cases that take long if no
    /// word asks for them
    #[arg(long, env = "TRACEHOUND_BENCH_QUICK")]
    quick: bool,
    /// How often each case runs
    #[arg(long, env = "TRACEHOUND_BENCH_ROUNDS")]
    rounds: Option<usize>,
    /// How many system calls the traced program makes
    #[arg(long, env = "TRACEHOUND_BENCH_CALLS")]
    calls: Option<u64>,
    /// Writes all samples to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draws one tracee's stops to this file, and measures only what is drawn if no word
    /// asks for more
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Measures nothing: takes the samples of that file
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Given by `cargo bench`; without it (`cargo test --benches`) each case is only tried
    #[arg(long, hide = true)]
    bench: bool,
    /// Runs this case once and prints its sample: how each run is started
    #[arg(long, hide = true, value_name = "NAME")]
    pub(crate) one: Option<String>,
}

/// How much to run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How often each case runs.
    pub(crate) rounds: usize,
    /// System calls of a lone tracee: two stops each.
    pub(crate) calls: u64,
    /// Loop rounds of a tracee that is single-stepped.
    pub(crate) spins: u64,
    /// System calls of each tracee of a crowd of busy ones.
    pub(crate) crowd_calls: u64,
    /// Rare calls that are timed beside a busy tracee.
    pub(crate) pulses: u64,
    /// Forks that are followed.
    pub(crate) forks: u64,
    /// Programs that are spawned.
    pub(crate) spawns: u64,
    /// Threads of a process that is attached to, and how often.
    pub(crate) threads: u64,
    pub(crate) attaches: u64,
    /// How long the CPU time of a tracer that waits is looked at.
    pub(crate) look: Duration,
    /// See [`Scope::Named`].
    pub(crate) words: Vec<String>,
    /// Which cases.
    pub(crate) scope: Scope,
}

/// Which cases run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    /// Those that have one of the words in their name.
    Named,
    /// Those of the drawing.
    Drawn,
    /// Those that do not take long.
    Quick,
    /// All.
    All,
}

impl Scope {
    fn new(args: &Args) -> Self {
        match (args.words.is_empty(), &args.svg, args.quick) {
            (false, ..) => Scope::Named,
            (true, Some(_), _) => Scope::Drawn,
            (true, None, true) => Scope::Quick,
            (true, None, false) => Scope::All,
        }
    }
}

impl Plan {
    /// The plan that the command line asks for.
    pub(crate) fn new(args: &Args) -> Self {
        let asked = args.rounds.is_some() || args.calls.is_some();
        let (rounds, calls) = match (args.quick, args.bench || asked) {
            (true, _) => (3, 10_000),
            (false, true) => (15, 15_000),
            (false, false) => (1, 100),
        };
        let calls = args.calls.unwrap_or(calls);
        Plan {
            rounds: args.rounds.unwrap_or(rounds).max(1),
            calls,
            spins: calls / 3,
            crowd_calls: (calls / 100).max(10),
            pulses: (calls / 100).max(10),
            forks: (calls / 15).max(10),
            spawns: (calls / 300).max(5),
            threads: calls.min(1_000),
            attaches: 3,
            look: Duration::from_millis((calls / 10).clamp(50, 1_000)),
            words: args.words.clone(),
            scope: Scope::new(args),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds; {} system calls of a lone tracee, {} of each in a crowd",
            self.rounds, self.calls, self.crowd_calls
        )
    }
}

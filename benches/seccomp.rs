//! What a filter costs a program that makes none of the calls that it asks for.
//!
//!     cargo bench --bench seccomp
//!
//! Such a program never stops. It makes a million cheap calls and says how long they took:
//! untraced, traced with a filter by tracehound, and by `strace --seccomp-bpf`; by turns, all
//! on one CPU. The ratios are of one round each, and the table has their median and range.
//!
//! The kernel's own price of a filter, any filter, is some 15 to 20 ns for each call (Linux
//! 6.18), traced or not: one tenth of the cheapest call there is, less of all others.

// Of the other benchmark, and not all of it.
#[allow(dead_code)]
#[path = "stops/machine.rs"]
mod machine;

use std::fs::File;
use std::io::{self, PipeWriter, Read};
use std::os::fd::OwnedFd;
use std::time::Instant;

use tracehound::{Command, Event, Sysno, Tracer};

/// The first argument of the program.
const MARK: &str = "--calls";

/// The largest ratio that is good enough.
const GOAL: f64 = 1.05;

/// What the program does.
const WORKLOADS: [(&str, &str); 2] = [
    ("getppid", "the cheapest call"),
    ("read", "4 KiB of /dev/zero"),
];

/// The program: makes the calls, and says how many nanoseconds each took.
fn make_calls(what: &str, count: u64) -> io::Result<()> {
    let mut zero = File::open("/dev/zero")?;
    let mut buffer = [0; 4096];
    let start = Instant::now();
    for _ in 0..count {
        match what {
            // No C library answers this one without asking the kernel.
            "getppid" => drop(std::hint::black_box(nix::unistd::getppid())),
            _ => zero.read_exact(&mut buffer)?,
        }
    }
    println!("{}", start.elapsed().as_nanos() as f64 / count as f64);
    Ok(())
}

/// Calls that no program of this kind makes, not even at its start. Every other number: the
/// longest filter for so many.
fn unused() -> impl Iterator<Item = Sysno> {
    let odd = (0..256).filter(|number| number % 2 == 1).rev();
    let calls = odd
        .filter_map(Sysno::new)
        .filter(|call| *call != Sysno::exit_group);
    calls.take(50)
}

fn untraced(program: &[String], out: PipeWriter) -> io::Result<()> {
    run(
        std::process::Command::new(&program[0]).args(&program[1..]),
        out,
    )
}

fn strace(program: &[String], out: PipeWriter) -> io::Result<()> {
    let calls: Vec<&str> = unused().map(|call| call.name()).collect();
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "--seccomp-bpf", "-o", "/dev/null", "-e"]);
    command.arg(format!("trace={}", calls.join(",")));
    run(command.arg("--").args(program), out)
}

fn run(command: &mut std::process::Command, out: PipeWriter) -> io::Result<()> {
    let status = command.stdout(out).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(status.to_string())),
    }
}

fn traced(program: &[String], out: PipeWriter) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).stdout(OwnedFd::from(out));
        command.trace_syscalls(unused());
        let tracer = Tracer::new().map_err(io::Error::other)?;
        let traced = tracer.trace(command, async |mut tracee| {
            while let Some(event) = futures::StreamExt::next(&mut tracee).await {
                assert!(!matches!(event, Event::Seccomp(_)), "{event:?}");
            }
        });
        let status = traced.await.map_err(io::Error::other)?;
        assert!(status.success(), "{status}");
        Ok(())
    })
}

/// A way to run the program, with its output to this pipe.
type Way = fn(&[String], PipeWriter) -> io::Result<()>;

/// The first is what the others are compared with.
const WAYS: [(&str, Way); 3] = [
    ("untraced", untraced),
    ("tracehound", traced),
    ("strace --seccomp-bpf", strace),
];

/// Nanoseconds for each call.
fn measure(way: Way, workload: &str, calls: u64) -> io::Result<f64> {
    let program = std::env::current_exe()?.to_string_lossy().into_owned();
    let program = [program, MARK.into(), workload.into(), calls.to_string()];
    let (mut reader, writer) = io::pipe()?;
    way(&program, writer)?;
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    text.trim_end().parse().map_err(io::Error::other)
}

/// Runs every way once in each round, beginning with another one each time.
fn compare(workload: &str, rounds: usize, calls: u64) {
    let mut times = WAYS.map(|_| Vec::new());
    let mut ratios = WAYS.map(|_| Vec::new());
    for round in 0..rounds {
        let mut time = WAYS.map(|_| f64::NAN);
        for turn in 0..WAYS.len() {
            let which = (round + turn) % WAYS.len();
            // What is not installed has no figures.
            time[which] = measure(WAYS[which].1, workload, calls).unwrap_or(f64::NAN);
        }
        for which in 0..WAYS.len() {
            times[which].push(time[which]);
            ratios[which].push(time[which] / time[0]);
        }
    }
    for (which, (name, _)) in WAYS.iter().enumerate() {
        let (time, (ratio, low, high)) = (spread(&mut times[which]).0, spread(&mut ratios[which]));
        println!("  {name:24} {time:8.1} {ratio:8.3}  {low:.3} to {high:.3}");
    }
}

/// Median, least and greatest.
fn spread(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (
        values[values.len() / 2],
        values[0],
        values[values.len() - 1],
    )
}

/// A number of the environment, as the other benchmark has them.
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [mark, what, count] = &args[..]
        && mark == MARK
    {
        return make_calls(what, count.parse().unwrap_or(1));
    }
    // Without `--bench` (`cargo test --benches`) it is only tried.
    let tried = !args.iter().any(|arg| arg == "--bench");
    let (rounds, calls) = if tried { (1, 1000) } else { (21, 1_000_000) };
    let rounds = asked("TRACEHOUND_BENCH_ROUNDS").unwrap_or(rounds).max(1);
    println!("{}", machine::Machine::this());
    match machine::pin() {
        Ok(cpu) => println!("All on CPU {cpu}. {rounds} rounds of {calls} calls. Goal: {GOAL}."),
        Err(error) => println!("Not pinned: {error}."),
    }
    for (workload, what) in WORKLOADS {
        println!("{workload}, {what:24} ns    ratio  range");
        compare(workload, rounds as usize, calls);
    }
    Ok(())
}

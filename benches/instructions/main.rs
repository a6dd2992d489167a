//! How many instructions the tracer thread executes for each stop, beside system calls.
//!
//!     cargo bench --bench instructions                    # the number, and a verdict
//!     cargo bench --bench instructions -- --profile FILE  # and where they are
//!
//! A time is noise on a busy machine; this number is not. It is counted by tracehound
//! itself: a second process traces a program that makes system calls, with a pinned task,
//! and its tracer thread is single-stepped here. Whoever wants to see functions gives the
//! file to `addr2line -f -e` (each line: how often, and the offset in the executable).

mod observed;

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};

use clap::Parser;
use futures::StreamExt;
use tracehound::{Event, Regs, ResumeMode, Tid, Tracee, Tracer};

use observed::Step;

/// What the first argument of the traced processes is.
const INNER: &str = "--inner";

/// The number and the first argument of the request that the tracer makes once at each
/// syscall stop.
const GET_SYSCALL_INFO: (u64, u64) = (libc::SYS_ptrace as u64, 0x420e);

/// More than this is a mistake somewhere: it was 1,190 when this was written, and 2,340 where the
/// task does not ask for the next stop by itself.
const BUDGET: f64 = 1_900.0;

/// The same for those of them that are for spans, events and metrics, while nobody listens.
const OBSERVING: f64 = 40.0;

/// Counts the instructions of the tracer thread for each stop.
#[derive(Parser)]
struct Args {
    /// How many stops are looked at
    #[arg(long, default_value_t = 200)]
    stops: u64,
    /// Where each instruction was, with its number of times
    #[arg(long)]
    profile: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).as_deref() {
        Some(INNER) => inner(std::env::args().nth(2).as_deref()),
        _ => outer(&Args::parse()),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The program that is traced, or the tracer that is looked at.
fn inner(what: Option<&str>) -> io::Result<ExitCode> {
    if what == Some("calls") {
        loop {
            std::hint::black_box(nix::unistd::getppid());
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let tracer = Tracer::builder().threads(1).build()?;
        let mut command = tracehound::Command::new(std::env::current_exe()?);
        command.args([INNER, "calls"]).exit_kill(true);
        command.resume_mode(ResumeMode::Syscall);
        let (tracee, _child) = tracer.spawn(command).await?;
        let task = tracee.spawn_pinned(|mut tracee| async move {
            let mut stops = 0_u64;
            while let Some(event) = tracee.next().await {
                std::hint::black_box(&event);
                stops += 1;
                if stops == 2_000 {
                    println!("ready");
                }
            }
        });
        let _ = task.await;
        Ok(ExitCode::SUCCESS)
    })
}

/// A tracer in a process of its own, killed in the end.
struct Inner(Child);

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn outer(args: &Args) -> io::Result<ExitCode> {
    let mut inner = std::process::Command::new(std::env::current_exe()?)
        .arg(INNER)
        .stdout(Stdio::piped())
        .spawn()
        .map(Inner)?;
    let output = inner.0.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    // It says so when everything has been allocated.
    BufReader::new(output).read_line(&mut String::new())?;
    let thread = tracer_thread(inner.0.id())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let counted = runtime.block_on(count(thread, args.stops))?;
    drop(runtime);
    let base = load_address(inner.0.id())?;
    if let Some(file) = &args.profile {
        write_profile(&counted, base, file)?;
    }
    let observing = observed::count(&counted.steps, &std::env::current_exe()?, base)?;
    let observing = observing as f64 / counted.stops as f64;
    let per_stop = counted.steps.len() as f64 / counted.stops as f64;
    println!(
        "{per_stop:.0} instructions and {:.2} system calls for each of {} stops (at most {BUDGET})",
        counted.calls as f64 / counted.stops as f64,
        counted.stops,
    );
    println!(
        "{observing:.0} of them for spans and metrics while nobody listens (at most {OBSERVING})"
    );
    Ok(match per_stop <= BUDGET && observing <= OBSERVING {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The thread of that process that is called `tracehound`.
fn tracer_thread(pid: u32) -> io::Result<i32> {
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let entry = entry?;
        if std::fs::read_to_string(entry.path().join("comm"))?.trim() == "tracehound" {
            return entry
                .file_name()
                .to_string_lossy()
                .parse()
                .map_err(io::Error::other);
        }
    }
    Err(io::Error::other("the process has no tracer thread"))
}

/// Where the executable is mapped.
fn load_address(pid: u32) -> io::Result<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let (start, _) = maps.split_once('-').ok_or(io::ErrorKind::InvalidData)?;
    u64::from_str_radix(start, 16).map_err(io::Error::other)
}

/// What was seen.
#[derive(Default)]
struct Counted {
    stops: u64,
    steps: Vec<Step>,
    calls: u64,
}

async fn count(thread: i32, stops: u64) -> io::Result<Counted> {
    let tracer = Tracer::builder().threads(1).build()?;
    let attach = tracer.attach_thread(Tid::from_raw(thread));
    // Nothing waits for the process before it is let go.
    let attach = attach.own_child(true).resume_mode(ResumeMode::Step);
    let tracee = attach.await?;
    let counted = tracee
        .spawn_pinned(move |tracee| look(tracee, stops))
        .await
        .map_err(|error| io::Error::other(error.to_string()))??;
    tracer.shutdown().await?;
    Ok(counted)
}

/// Steps from one stop of the inner tracee to the one that is so many later.
async fn look(mut tracee: Tracee, stops: u64) -> tracehound::Result<Counted> {
    let mut counted = Counted::default();
    let mut begun = false;
    while let Some(event) = tracee.next().await {
        if !matches!(event, Event::Step) {
            continue;
        }
        let registers = tracee.getregs().await?;
        // Just before a system call: where a step over it leads is one instruction.
        let place = registers.instruction_pointer();
        let call = is_call(&tracee, place);
        if call && (number(&registers), registers.syscall_args()[0]) == GET_SYSCALL_INFO {
            if begun {
                counted.stops += 1;
                if counted.stops == stops {
                    break;
                }
            }
            begun = true;
        }
        if begun {
            counted.steps.push(Step {
                place,
                stack: registers.stack_pointer(),
            });
            counted.calls += u64::from(call);
        }
    }
    Ok(counted)
}

/// The number of the system call that an instruction is about to make.
fn number(registers: &Regs) -> u64 {
    // In `orig_rax` only from the call on.
    #[cfg(target_arch = "x86_64")]
    return registers.rax;
    #[cfg(not(target_arch = "x86_64"))]
    registers.syscall_number()
}

/// Whether a system call instruction is at this address.
fn is_call(tracee: &Tracee, address: u64) -> bool {
    #[cfg(target_arch = "x86_64")]
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    #[cfg(target_arch = "aarch64")]
    const SYSCALL: [u8; 4] = [0x01, 0x00, 0x00, 0xd4];
    let mut code = [0; SYSCALL.len()];
    tracee.read_memory(address, &mut code).is_ok() && code == SYSCALL
}

fn write_profile(counted: &Counted, base: u64, file: &Path) -> io::Result<()> {
    let mut places: HashMap<u64, u64> = HashMap::new();
    for step in &counted.steps {
        *places.entry(step.place).or_default() += 1;
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_unstable();
    let mut out = io::BufWriter::new(std::fs::File::create(file)?);
    for (address, times) in places {
        writeln!(out, "{times} {:#x}", address.wrapping_sub(base))?;
    }
    out.flush()
}

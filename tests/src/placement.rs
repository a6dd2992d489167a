//! Where the tests' tracers and programs run, as the environment says: any test has to pass
//! wherever that is.
//!
//! `TRACEHOUND_PLACEMENT` is `none` (the default: the scheduler places them), `one` (all tracer
//! threads on one CPU), `one-with-programs` (and the programs there, too), `all` (a CPU for each
//! tracer thread in turn) or `all-with-programs`. `TRACEHOUND_THREADS` is the number of tracer
//! threads.

use std::sync::OnceLock;

use tracehound::{Command, Tracer, TracerBuilder, allowed_cpus};

#[derive(Clone, Copy, Debug)]
enum Cpus {
    Any,
    One,
    All,
}

#[derive(Clone, Copy, Debug)]
struct Placement {
    cpus: Cpus,
    with_programs: bool,
    threads: usize,
}

fn placement() -> Placement {
    static PLACEMENT: OnceLock<Placement> = OnceLock::new();
    *PLACEMENT.get_or_init(|| {
        let text = |name| std::env::var(name).unwrap_or_default();
        let (cpus, with_programs) = match text("TRACEHOUND_PLACEMENT").as_str() {
            "" | "none" => (Cpus::Any, false),
            "one" => (Cpus::One, false),
            "one-with-programs" => (Cpus::One, true),
            "all" => (Cpus::All, false),
            "all-with-programs" => (Cpus::All, true),
            other => panic!("TRACEHOUND_PLACEMENT={other}: no such placement"),
        };
        let threads = match text("TRACEHOUND_THREADS").as_str() {
            "" => 1,
            number => number.parse().expect("TRACEHOUND_THREADS: a number"),
        };
        Placement {
            cpus,
            with_programs,
            threads,
        }
    })
}

/// A tracer's options with the placement of this run.
///
/// # Panics
///
/// If there is no such placement.
pub fn builder() -> TracerBuilder {
    let placement = placement();
    let mut builder = Tracer::builder();
    builder.threads(placement.threads);
    let allowed = allowed_cpus().expect("this thread's CPUs");
    match placement.cpus {
        Cpus::Any => {}
        Cpus::One => drop(builder.cpus(allowed.into_iter().take(1))),
        Cpus::All => drop(builder.cpus(allowed)),
    }
    builder
}

/// A tracer with the placement of this run.
///
/// # Panics
///
/// If there is no such placement, or no tracer.
pub fn new_tracer() -> Tracer {
    builder().build().expect("a tracer")
}

/// Gives a program the placement of this run, for a tracer that has it.
///
/// # Panics
///
/// If there is no such placement.
pub fn place(command: &mut Command) -> &mut Command {
    if placement().with_programs {
        command.on_tracers_cpu(true);
    }
    command
}

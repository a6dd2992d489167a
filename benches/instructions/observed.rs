//! Which of the counted instructions are for observing: spans, events and metrics, where nobody
//! listens.
//!
//! An instruction is if the compiler has it from a file of that, or if it is in a function that
//! such a one has called. What becomes of the rest because of them (a register less, a branch
//! moved, the arguments of a call) is not seen: 27 were counted where a build without all of it
//! had some 55 less for each stop.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use addr2line::Loader;

/// One instruction of the thread: where, and with which stack.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) place: u64,
    pub(crate) stack: u64,
}

/// Whose an instruction is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of a file of tracehound's for observing: what it calls is for that, too.
    Own,
    /// Of tracing itself, which also calls what is observed.
    Tracing,
    Other,
}

fn kind_of_file(file: &str) -> Kind {
    let own = ["tracehound/src/observe.rs", "tracehound/src/metrics.rs"];
    let is_tracing = |part: &str| part.starts_with("tracing-");
    match file {
        file if own.iter().any(|own| file.ends_with(own)) => Kind::Own,
        file if file.split('/').any(is_tracing) => Kind::Tracing,
        _ => Kind::Other,
    }
}

/// The functions that are inlined into each other at an address tell, from within. The standard
/// library's are whoever's that uses them.
fn kind_at(loader: &Loader, address: u64) -> Result<Kind, Box<dyn std::error::Error>> {
    let mut frames = loader.find_frames(address)?;
    while let Some(frame) = frames.next()? {
        let file = frame.location.and_then(|location| location.file);
        if let Some(file) = file.filter(|file| !file.starts_with("/rustc/")) {
            return Ok(kind_of_file(file));
        }
    }
    Ok(Kind::Other)
}

/// How many of these steps are for observing, in an executable that is mapped there.
pub(crate) fn count(steps: &[Step], executable: &Path, base: u64) -> io::Result<u64> {
    let other = |error: Box<dyn std::error::Error>| io::Error::other(error.to_string());
    let loader = Loader::new(executable).map_err(other)?;
    let mut kinds = HashMap::new();
    let mut count = 0;
    // The stack of the code that has called something for observing.
    let mut caller = None;
    for step in steps {
        if caller.is_some_and(|stack| step.stack < stack) {
            count += 1;
            continue;
        }
        caller = None;
        let kind = match kinds.get(&step.place) {
            Some(kind) => *kind,
            None => {
                let kind = kind_at(&loader, step.place.wrapping_sub(base)).map_err(other)?;
                kinds.insert(step.place, kind);
                kind
            }
        };
        count += u64::from(kind != Kind::Other);
        if kind == Kind::Own {
            caller = Some(step.stack);
        }
    }
    Ok(count)
}

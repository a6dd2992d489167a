//! What the old texts on ptrace left open, asked of the running kernel.
//!
//! Each test names its question in plain words. Those that make ptrace(2) requests by
//! themselves show what the kernel does; the others, what a user of tracehound sees. The
//! answers are written down in the guide, page `open_questions`.

mod exec;
mod job_control;
mod signals;
mod steps;
mod waiting;

use std::time::Duration;

use tracehound::{Errno, Tid};
use tracehound_sys::ptrace::{self, Options};
use tracehound_sys::wait::{self, Report, Target, WaitStatus};
use tracehound_tests::{Ward, soon, state, until};

const KEEPER: &str = env!("CARGO_BIN_EXE_keeper");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");
const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

/// What a wait of this thread takes, if there is anything.
fn poll(tid: Tid, flags: i32) -> Result<Option<WaitStatus>, Errno> {
    let report = wait::poll(Target::One(tid), flags)?;
    Ok(report.map(
        |Report {
             tid: who, status, ..
         }| {
            assert_eq!(who, tid);
            status
        },
    ))
}

/// What a wait of this thread takes, when it comes.
async fn report(tid: Tid, flags: i32) -> WaitStatus {
    let come = async {
        loop {
            match poll(tid, flags).expect("a child") {
                Some(status) => break status,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    soon("a report", come).await
}

/// A program whose real parent waits for nothing, seized by this thread.
async fn seized(program: &[&str]) -> Ward {
    let command = [KEEPER, "hold"].into_iter().chain(program.iter().copied());
    let ward = Ward::start(command).await;
    until("it pauses", || state(ward.pid()) == Some('S')).await;
    ptrace::seize(ward.pid(), Options::empty()).expect("permitted");
    ward
}

/// Interrupts a tracee of this thread, and leaves its report where it is.
async fn interrupted(tid: Tid) {
    ptrace::interrupt(tid).expect("it runs");
    until("it stops", || state(tid) == Some('t')).await;
}

/// All that the package's tests say in Rust, by the name of their file or folder.
fn sources() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let mut sources = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"));
            let name = inside.expect("inside").components().next().expect("a name");
            let name = name.as_os_str().to_string_lossy();
            let text = std::fs::read_to_string(&path).expect("text");
            sources.push((name.trim_end_matches(".rs").to_string(), text));
        }
    }
    sources
}

// The page names tests; each must be there, and each of these must be named.
#[test]
fn the_guide_names_tests_that_exist() {
    let page = include_str!("../../../crates/tracehound/docs/open_questions.md");
    let sources = sources();
    let named: Vec<(&str, &str)> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| {
            code.chars()
                .all(|c| c.is_ascii_lowercase() || "_:".contains(c))
        })
        .filter_map(|code| code.split_once("::"))
        .collect();
    assert!(named.len() > 50, "{named:?}");
    for (file, test) in &named {
        let function = format!("fn {test}(");
        let there = |(name, text): &(String, String)| name == file && text.contains(&function);
        assert!(sources.iter().any(there), "no test {file}::{test}");
    }
    for (_, text) in sources.iter().filter(|(name, _)| name == "open_questions") {
        let tests = text
            .split("async fn ")
            .skip(1)
            .filter_map(|rest| rest.split_once('('));
        for (test, rest) in tests {
            let is_test = rest.starts_with("tracer: Tracer)") || rest.starts_with(") {");
            let helper = ["stopped", "leaderless"].contains(&test);
            let is_named = named.contains(&("open_questions", test));
            assert!(!is_test || helper || is_named, "{test} is not in the guide");
        }
    }
}

//! `--seccomp-bpf`: only the calls that are shown stop.
//!
//! At its seccomp stop a call is entered; resumed by `PTRACE_SYSCALL` from there, it stops
//! once more at its exit. All else is resumed by `PTRACE_CONT`.

use std::collections::HashSet;

use futures::StreamExt;
use tracehound::requests::Options;
use tracehound::{Arch, Command, Event, ResumeMode, SyscallNumber, Tracee};

use crate::options::Filter;

/// Gives a command a filter that stops at the calls that are shown.
pub(crate) fn install(command: &mut Command, filter: &Filter) {
    match filter {
        Filter::Only(names) => command.trace_syscalls(numbers(names)),
        Filter::AllBut(names) => command.trace_syscalls_except(numbers(names)),
    };
}

/// The calls of these names in all tables of the machine.
fn numbers(names: &HashSet<&str>) -> impl Iterator<Item = SyscallNumber> {
    let other = match Arch::NATIVE {
        Arch::X86_64 => Arch::I386,
        _ => Arch::ARM,
    };
    names.iter().flat_map(move |name| {
        let named = move |arch| SyscallNumber::named(arch, name);
        [Arch::NATIVE, other].into_iter().filter_map(named)
    })
}

/// Whether a tracee has such a filter. One that was attached has not.
pub(crate) fn has_filter(tracee: &Tracee) -> bool {
    tracee.options().contains(Options::TRACESECCOMP)
}

/// Chooses how a tracee with a filter is resumed after this event. What was born in a call
/// that stopped begins with its exit.
pub(crate) fn choose_mode(tracee: &mut Tracee, event: &Event) {
    match event {
        Event::Seccomp(_) => tracee.set_resume_mode(ResumeMode::Syscall),
        Event::SyscallExit(_) => tracee.set_resume_mode(ResumeMode::Cont),
        _ => {}
    }
}

/// Lets a tracee, which has a filter and is not to be shown, and all that it makes run to
/// their ends.
pub(crate) async fn pass(mut tracee: Tracee, spawn: impl Fn(Tracee)) {
    tracee.set_resume_mode(ResumeMode::Cont);
    while let Some(event) = tracee.next().await {
        if let Some(child) = event.birth().and_then(|birth| tracee.take_child(birth)) {
            spawn(child);
        }
    }
}

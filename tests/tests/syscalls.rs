//! System calls are seen as they are: entries and exits told apart, numbers of the right
//! table, results.

use futures::StreamExt;
use tracehound::event::{SyscallEnter, SyscallExit};
use tracehound::{Arch, Event, ResumeMode, Signal, SyscallEntry, Tracee, Tracer};
use tracehound_tests::{
    end, in_each_place, line, lines, next, puppet, soon, start, state, to_the_end, until, wait,
};

in_each_place! {
    what_a_call_is, what_it_is_in_text, an_unknown_call, entries_and_exits_alternate,
    in_a_forked_child, in_threads, after_a_signal_in_between, from_cont_in_the_middle_of_a_call,
    a_call_whose_exit_was_skipped, an_interrupted_call, after_an_interrupt, old_calls,
    arguments_and_result_are_changed, a_call_is_skipped, watched_and_unwatched_stretches,
}

/// The entries and exits of a tracee that is watched to its end.
async fn start_watched(
    tracer: &Tracer,
    mut command: tracehound::Command,
) -> (Tracee, tracehound::Child) {
    start(tracer, command.resume_mode(ResumeMode::Syscall)).await
}

/// Goes on to the next mark; see the puppet.
async fn mark(tracee: &mut Tracee) -> SyscallEnter {
    loop {
        tracee.syscall().await.expect("syscall");
        match soon("a mark", tracee.wait()).await {
            Some(Event::SyscallEnter(enter)) if is_mark(&enter.call) => return enter,
            Some(Event::SyscallEnter(_) | Event::SyscallExit(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn is_mark(call: &SyscallEntry) -> bool {
    call.name() == Some("getppid")
}

// Scenario 40
async fn what_a_call_is(tracer: Tracer) {
    let (mut tracee, _child) = start_watched(&tracer, puppet!("marks")).await;
    let enter = mark(&mut tracee).await;
    assert_eq!(enter.call.arch, Arch::NATIVE);
    assert_eq!(enter.call.nr, libc::SYS_getppid as u64);
    assert_eq!(enter.call.args[..3], [1, 2, 3]);
    let regs = tracee.getregs().await.expect("regs");
    assert_eq!(enter.instruction_pointer, regs.instruction_pointer());
    assert_eq!(enter.stack_pointer, regs.stack_pointer());
    assert_eq!(enter.call.nr, regs.syscall_number());
    assert_eq!(enter.call.args, regs.syscall_args());
    let exit = next!(tracee, Event::SyscallExit(exit) => exit);
    assert_eq!(exit.call, Some(enter.call));
    assert_eq!(exit.arch, Arch::NATIVE);
    // The tracee's parent, though a tracer has it: this process.
    assert_eq!(exit.value, i64::from(std::process::id()));
    assert!(!exit.is_error);
    assert_eq!(exit.errno(), None);
    assert_eq!(exit.instruction_pointer, enter.instruction_pointer);
    let regs = tracee.getregs().await.expect("regs");
    assert_eq!(regs.syscall_result(), exit.value);
    tracee.control().kill().expect("kill");
    end(&mut tracee).await;
}

// Scenario 40
async fn what_it_is_in_text(tracer: Tracer) {
    let (mut tracee, _child) = start_watched(&tracer, puppet!("failed-exec")).await;
    let enter = mark(&mut tracee).await;
    assert!(
        enter.to_string().starts_with("getppid(0x1, 0x0, 0x0, "),
        "{enter}"
    );
    next!(tracee, Event::SyscallExit(exit) if exit.to_string().ends_with(&format!(") = {}", exit.value)));
    next!(tracee, Event::SyscallEnter(_));
    let exit = next!(tracee, Event::SyscallExit(exit) => exit);
    let text = exit.to_string();
    assert!(text.starts_with("execve(0x"), "{text}");
    assert!(
        text.ends_with(" = -1 ENOENT (No such file or directory)"),
        "{text}"
    );
    end(&mut tracee).await;
}

// Scenario 40
async fn an_unknown_call(tracer: Tracer) {
    let (mut tracee, _child) = start_watched(&tracer, puppet!("unknown-call")).await;
    let enter = loop {
        match soon("a call", tracee.next()).await.expect("an event") {
            Event::SyscallEnter(enter) if enter.call.nr == 99_999 => break enter,
            event => assert!(!event.is_terminal()),
        }
    };
    assert_eq!(enter.call.name(), None);
    assert_eq!(enter.call.args, [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        enter.to_string(),
        "syscall_0x1869f(0x1, 0x2, 0x3, 0x4, 0x5, 0x6)"
    );
    next!(tracee, Event::SyscallExit(exit) if exit.errno() == Some(libc::ENOSYS));
    end(&mut tracee).await;
}

/// Checks that entries and exits take turns, each exit with its entry's call. The first may
/// be the exit of the execve before the first event; the last call has no exit.
fn alternate(events: &[Event]) {
    let mut inside: Option<SyscallEntry> = None;
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::SyscallEnter(enter) => {
                assert_eq!(inside, None, "{:?}", &events[at.saturating_sub(2)..=at]);
                inside = Some(enter.call);
            }
            Event::SyscallExit(exit) if at == 0 => assert_eq!(exit.call, None),
            Event::SyscallExit(exit) => {
                assert!(inside.is_some(), "{:?}", &events[at.saturating_sub(2)..=at]);
                assert_eq!(exit.call, inside.take());
            }
            _ => {}
        }
    }
    let names: Vec<_> = inside.iter().filter_map(SyscallEntry::name).collect();
    assert!(matches!(names[..], ["exit_group"] | ["exit"]), "{names:?}");
}

// Scenario 39: with births, execs and signals in between.
async fn entries_and_exits_alternate(tracer: Tracer) {
    let exec = puppet!("exec", env!("CARGO_BIN_EXE_puppet"), "mark", 2);
    let commands = [
        puppet!("mark", 20),
        puppet!("fork"),
        puppet!("vfork"),
        puppet!("clone"),
        exec,
        puppet!("failed-exec"),
        puppet!("raise-between"),
        puppet!("block", libc::SIGUSR1),
        puppet!("queue"),
        puppet!("thread-and-fork"),
    ];
    for command in commands {
        let (mut tracee, _child) = start_watched(&tracer, command).await;
        alternate(&to_the_end(&mut tracee).await);
    }
}

// Scenario 39
async fn in_a_forked_child(tracer: Tracer) {
    for command in ["fork", "clone", "clone3", "vfork"] {
        let (mut parent, _child) = start_watched(&tracer, puppet!(command)).await;
        let mut child = loop {
            let event = soon("the birth", parent.next()).await.expect("an event");
            if let Some(birth) = event.birth() {
                break parent.take_child(birth).expect("the child");
            }
        };
        next!(child, Event::Started(_));
        // The call that made it has an exit in the parent only.
        let events = to_the_end(&mut child).await;
        assert!(
            matches!(events.first(), Some(Event::SyscallEnter(_))),
            "{events:?}"
        );
        alternate(&events);
        end(&mut parent).await;
    }
}

// Scenarios 39 and 44
async fn in_threads(tracer: Tracer) {
    let (mut leader, _child) = start_watched(&tracer, puppet!("threads", 20)).await;
    let mut threads = Vec::new();
    let mut events = Vec::new();
    while let Some(event) = soon("an event", leader.next()).await {
        let thread = event.birth().and_then(|birth| leader.take_child(birth));
        if let Some(mut thread) = thread {
            threads.push(tokio::spawn(async move { to_the_end(&mut thread).await }));
        }
        events.push(event);
    }
    alternate(&events);
    assert_eq!(threads.len(), 20);
    for thread in threads {
        let events = soon("a thread", thread).await.expect("its events");
        assert!(
            matches!(events.first(), Some(Event::Started(_))),
            "{events:?}"
        );
        alternate(&events[1..]);
    }
}

// Scenario 39
async fn after_a_signal_in_between(tracer: Tracer) {
    let (mut tracee, _child) = start_watched(&tracer, puppet!("raise-between")).await;
    mark(&mut tracee).await;
    let events = to_the_end(&mut tracee).await;
    let names: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::SyscallEnter(enter) => Some(enter.call.name().unwrap_or("?")),
            Event::SyscallExit(_) => Some("exit"),
            Event::Signal(_) => Some("signal"),
            _ => None,
        })
        .collect();
    let at = names
        .iter()
        .position(|name| *name == "signal")
        .expect("the signal");
    // The call that sent it ends first, then comes the handler's end, entered and left.
    assert_eq!(names[at - 2..at], ["tgkill", "exit"]);
    assert_eq!(names[at + 1..at + 3], ["rt_sigreturn", "exit"]);
    alternate_from_inside(&events);
}

/// As [`alternate`], where the first event is the exit of a call that was entered before.
fn alternate_from_inside(events: &[Event]) {
    assert!(
        matches!(events[0], Event::SyscallExit(exit) if exit.call.is_some()),
        "{events:?}"
    );
    alternate(&events[1..]);
}

// Scenario 39: the first syscall-stop is an exit, and says that its entry was not seen.
async fn from_cont_in_the_middle_of_a_call(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("fork")).await;
    next!(tracee, Event::Fork(_));
    tracee.set_resume_mode(ResumeMode::Syscall);
    let exit = next!(tracee, Event::SyscallExit(exit) => exit);
    assert_eq!(exit.call, None);
    assert!(exit.value > 0);
    assert!(exit.to_string().starts_with("… = "), "{exit}");
    alternate(&to_the_end(&mut tracee).await);
}

// Scenario 39: a call that was left unwatched is not taken for a later one.
async fn a_call_whose_exit_was_skipped(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark-and-fork")).await;
    mark(&mut tracee).await;
    tracee.cont().await.expect("cont");
    let birth = wait!(tracee, Event::Fork(birth) => birth);
    tracee.syscall().await.expect("syscall");
    let exit = wait!(tracee, Event::SyscallExit(exit) => exit);
    assert_eq!(exit.value, i64::from(birth.child.as_raw()));
    assert_eq!(exit.call, None, "{exit}");
    end(&mut tracee).await;
}

// Scenario 41: as the kernel does it, before it is restarted or given up.
async fn an_interrupted_call(tracer: Tracer) {
    let (mut tracee, mut child) = start_watched(&tracer, puppet!("catch", libc::SIGUSR1)).await;
    let mut out = lines(&mut child);
    mark(&mut tracee).await;
    next!(tracee, Event::SyscallExit(_));
    let call = next!(tracee, Event::SyscallEnter(enter) => enter.call);
    assert_eq!(call.name(), Some("rt_sigsuspend"));
    tracee.syscall().await.expect("syscall");
    until("it sleeps", || state(tracee.tid()) == Some('S')).await;
    tracehound_sys::signal_process(tracee.tid(), Signal::SIGUSR1).expect("it lives");
    let exit: SyscallExit = wait!(tracee, Event::SyscallExit(exit) => exit);
    const ERESTARTNOHAND: i32 = 514;
    assert_eq!(
        (exit.call, exit.errno()),
        (Some(call), Some(ERESTARTNOHAND))
    );
    assert!(
        exit.to_string()
            .ends_with(" = -1 ERESTARTNOHAND (To be restarted if no handler)")
    );
    next!(tracee, Event::Signal(stop) if stop.signal == Signal::SIGUSR1);
    next!(tracee, Event::SyscallEnter(enter) if enter.call.name() == Some("rt_sigreturn"));
    // The program sees EINTR: what sigreturn leaves is sigsuspend's result.
    next!(tracee, Event::SyscallExit(exit) if exit.errno() == Some(libc::EINTR));
    end(&mut tracee).await;
    assert_eq!(line(&mut out).await, "ready");
    assert!(line(&mut out).await.starts_with("caught 10 "));
}

// Scenarios 34 and 39: interrupted in a call, which is entered again.
async fn after_an_interrupt(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("say-and-pause")).await;
    let mut out = lines(&mut child);
    tracee.cont().await.expect("cont");
    line(&mut out).await;
    until("it sleeps", || state(tracee.tid()) == Some('S')).await;
    tracee.control().interrupt().await.expect("interrupt");
    wait!(tracee, Event::Interrupted);
    tracee.syscall().await.expect("syscall");
    wait!(tracee, Event::SyscallEnter(enter) if enter.call.name() == Some("pause"));
    tracee.control().kill().expect("kill");
    end(&mut tracee).await;
}

// Scenario 40: a 64-bit program's `int 0x80` is a call of the 32-bit table.
#[cfg(target_arch = "x86_64")]
async fn old_calls(tracer: Tracer) {
    let mut untraced = tokio::process::Command::new(env!("CARGO_BIN_EXE_puppet"));
    if !untraced
        .arg("old-calls")
        .status()
        .await
        .expect("status")
        .success()
    {
        // A kernel without them.
        return;
    }
    let (mut tracee, _child) = start_watched(&tracer, puppet!("old-calls")).await;
    let events = to_the_end(&mut tracee).await;
    alternate(&events);
    let calls: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::SyscallExit(exit) => exit.call.map(|call| (call, exit)),
            _ => None,
        })
        .filter(|(call, _)| call.arch == Arch::I386)
        .collect();
    let [(getpid, pid), (close, closed)] = calls[..] else {
        panic!("{calls:?}");
    };
    assert_eq!((getpid.nr, getpid.name()), (20, Some("getpid")));
    assert_eq!(pid.value, i64::from(tracee.tid().as_raw()));
    assert_eq!((close.nr, close.name()), (6, Some("close")));
    assert_eq!(close.args[0], 0x7fff_ffff);
    assert_eq!(closed.errno(), Some(libc::EBADF));
    assert_eq!(closed.arch, Arch::I386);
}

#[cfg(not(target_arch = "x86_64"))]
async fn old_calls(_: Tracer) {}

// Scenario 40: what the tracer writes is what the kernel and the program get.
async fn arguments_and_result_are_changed(tracer: Tracer) {
    let (mut tracee, mut child) = start_watched(&tracer, puppet!("say-parent")).await;
    let mut out = lines(&mut child);
    mark(&mut tracee).await;
    next!(tracee, Event::SyscallExit(_));
    let mut regs = tracee.getregs().await.expect("regs");
    regs.set_syscall_result(4242);
    tracee.setregs(&regs).await.expect("setregs");
    loop {
        match soon("an event", tracee.next()).await.expect("an event") {
            Event::SyscallEnter(enter) if enter.call.name() == Some("write") => break,
            event => assert!(!event.is_terminal()),
        }
    }
    // The text loses its last digit.
    let mut regs = tracee.getregs().await.expect("regs");
    let mut args = regs.syscall_args();
    assert_eq!(tracee.read_bytes(args[1], 4).expect("the text"), b"4242");
    tracee.write_memory(args[1] + 1, b"\n").expect("written");
    args[2] = 2;
    regs.set_syscall_args(args);
    tracee.setregs(&regs).await.expect("setregs");
    let exit = next!(tracee, Event::SyscallExit(exit) => exit);
    assert_eq!(exit.value, 2);
    tracee.control().kill().expect("kill");
    end(&mut tracee).await;
    assert_eq!(line(&mut out).await, "4");
}

// Scenario 43's neighbour: entered, and not made.
async fn a_call_is_skipped(tracer: Tracer) {
    let (mut tracee, mut child) = start_watched(&tracer, puppet!("say-parent")).await;
    let mut out = lines(&mut child);
    mark(&mut tracee).await;
    tracee.set_syscall_number(-1).await.expect("skipped");
    let exit = next!(tracee, Event::SyscallExit(exit) => exit);
    if cfg!(target_arch = "x86_64") {
        assert_eq!(exit.errno(), Some(libc::ENOSYS));
    }
    let mut regs = tracee.getregs().await.expect("regs");
    regs.set_syscall_result(7);
    tracee.setregs(&regs).await.expect("setregs");
    tracee.set_resume_mode(ResumeMode::Cont);
    end(&mut tracee).await;
    assert_eq!(line(&mut out).await, "7");
}

// Scenario 44: the mode changes at any stop.
async fn watched_and_unwatched_stretches(tracer: Tracer) {
    // It makes a great many while nobody watches.
    let mut command = puppet!("mark", i32::MAX);
    command.resume_mode(ResumeMode::Syscall).exit_kill(true);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    for _ in 0..20 {
        mark(&mut tracee).await;
        tracee.cont().await.expect("cont");
        tracee.control().interrupt().await.expect("interrupt");
        wait!(tracee, Event::Interrupted);
        tracee.step().await.expect("step");
        wait!(tracee, Event::Step);
    }
    tracee.control().kill().expect("kill");
    end(&mut tracee).await;
}

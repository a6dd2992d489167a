//! A tracee executes one instruction at a time, and its system calls are seen and not made.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]

use tracehound::{Event, ResumeMode, Tracee, Tracer};
use tracehound_tests::{end, in_each_place, line, lines, next_mark, puppet, soon, start, wait};

in_each_place! { over_a_system_call, by_the_stream, mixed_with_others, nothing_is_left_of_it }

async fn ip(tracee: &Tracee) -> u64 {
    let regs = tracee.getregs().await.expect("regs");
    regs.instruction_pointer()
}

async fn ends_well(tracee: &mut Tracee) {
    tracee.set_resume_mode(ResumeMode::Cont);
    let end = end(tracee).await;
    assert!(matches!(end, Event::Exited(e) if e.code == 0), "{end:?}");
}

/// Goes on by instructions to the entry of a call that is not made; gives its name and how
/// many instructions came before.
async fn to_a_call(tracee: &mut Tracee) -> (&'static str, u32) {
    for steps in 0..1_000_000 {
        tracee.sysemu_step().await.expect("sysemu step");
        match soon("a stop", tracee.wait()).await {
            Some(Event::Step) => {}
            Some(Event::SyscallEnter(enter)) => return (enter.call.name().unwrap_or("?"), steps),
            other => panic!("{other:?}"),
        }
    }
    panic!("no call");
}

/// Gives the call that was not made a result.
async fn answer(tracee: &mut Tracee, value: i64) {
    let mut regs = tracee.getregs().await.expect("regs");
    regs.set_syscall_result(value);
    tracee.setregs(&regs).await.expect("setregs");
}

// Scenarios 42 and 43: the second mark is seen, not made, and given a result.
async fn over_a_system_call(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("say-parent")).await;
    let mut out = lines(&mut child);
    // Out of the execve, where the call cannot be left out any more.
    tracee.syscall().await.expect("syscall");
    wait!(tracee, Event::SyscallExit(_));
    // The loader's calls are made; then, by instructions, the one that is asked for.
    let before_it = before_getppid(&mut tracee).await;
    let (name, steps) = to_a_call(&mut tracee).await;
    assert_eq!((name, steps), ("getppid", 0));
    let behind = ip(&tracee).await;
    assert_eq!(
        behind,
        before_it + if cfg!(target_arch = "x86_64") { 2 } else { 4 }
    );
    answer(&mut tracee, 4711).await;
    // The next stop is an instruction, not the exit of the call.
    tracee.sysemu_step().await.expect("sysemu step");
    wait!(tracee, Event::Step);
    ends_well(&mut tracee).await;
    assert_eq!(line(&mut out).await, "4711");
}

/// Goes on to the instruction that makes the call getppid; gives where it is.
async fn before_getppid(tracee: &mut Tracee) -> u64 {
    next_mark(tracee).await;
    let mut regs = tracee.getregs().await.expect("regs");
    let behind = regs.instruction_pointer();
    let at = behind - if cfg!(target_arch = "x86_64") { 2 } else { 4 };
    // Leaves the call, and goes back to before it.
    let number = regs.syscall_number();
    tracee.syscall().await.expect("syscall");
    wait!(*tracee, Event::SyscallExit(_));
    regs = tracee.getregs().await.expect("regs");
    regs.set_instruction_pointer(at);
    #[cfg(target_arch = "x86_64")]
    {
        regs.rax = number;
    }
    let _ = number;
    tracee.setregs(&regs).await.expect("setregs");
    at
}

// Contract 2: as a resume mode.
async fn by_the_stream(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("say-parent")).await;
    let mut out = lines(&mut child);
    before_getppid(&mut tracee).await;
    tracee.set_resume_mode(ResumeMode::SysemuStep);
    tracehound_tests::next!(tracee, Event::SyscallEnter(e) if e.call.name() == Some("getppid"));
    answer(&mut tracee, 42).await;
    for _ in 0..10 {
        tracehound_tests::next!(tracee, Event::Step);
    }
    ends_well(&mut tracee).await;
    assert_eq!(line(&mut out).await, "42");
}

// Scenario 44: after it, whatever else.
async fn mixed_with_others(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("say-parent")).await;
    let mut out = lines(&mut child);
    before_getppid(&mut tracee).await;
    to_a_call(&mut tracee).await;
    answer(&mut tracee, 17).await;
    tracee.step().await.expect("step");
    wait!(tracee, Event::Step);
    tracee.sysemu_step().await.expect("sysemu step");
    wait!(tracee, Event::Step);
    // The next call is made, and reported from its entry to its exit.
    tracee.syscall().await.expect("syscall");
    let enter = wait!(tracee, Event::SyscallEnter(enter) => enter);
    tracee.syscall().await.expect("syscall");
    let exit = wait!(tracee, Event::SyscallExit(exit) => exit);
    assert_eq!(exit.call, Some(enter.call));
    ends_well(&mut tracee).await;
    assert_eq!(line(&mut out).await, "17");
}

// Scenario 42: after a detach from a step, and from a call that is not made.
async fn nothing_is_left_of_it(tracer: Tracer) {
    for at_call in [false, true] {
        for dropped in [false, true] {
            let (mut tracee, mut child) = start(&tracer, &mut puppet!("say-parent")).await;
            let mut out = lines(&mut child);
            before_getppid(&mut tracee).await;
            to_a_call(&mut tracee).await;
            answer(&mut tracee, 23).await;
            if !at_call {
                tracee.sysemu_step().await.expect("sysemu step");
                wait!(tracee, Event::Step);
            }
            if !dropped {
                tracee.detach().await.expect("detach");
            }
            drop(tracee);
            assert_eq!(line(&mut out).await, "23");
            let status = soon("its end", child.wait()).await.expect("status");
            assert!(status.success(), "{status:?}");
        }
    }
}

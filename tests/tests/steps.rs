//! A tracee executes one instruction at a time, also into a signal handler.
#![cfg(target_arch = "x86_64")]

use tracehound::{Event, ResumeMode, Signal, Tracee, Tracer};
use tracehound_tests::{end, in_each_place, next, puppet, soon, start, wait};

in_each_place! {
    one_instruction_each, by_the_stream, over_a_system_call, into_a_handler,
    into_a_handler_by_the_stream, nothing_is_left_of_it,
}

/// Goes on to the next mark and gives what it says.
async fn mark(tracee: &mut Tracee) -> u64 {
    loop {
        tracee.syscall().await.expect("syscall");
        match soon("a mark", tracee.wait()).await {
            Some(Event::SyscallEnter(enter)) if enter.call.name() == Some("getppid") => {
                return enter.call.args[0];
            }
            Some(Event::SyscallEnter(_) | Event::SyscallExit(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn ip(tracee: &Tracee) -> u64 {
    let regs = tracee.getregs().await.expect("regs");
    regs.instruction_pointer()
}

async fn step(tracee: &mut Tracee) -> u64 {
    tracee.step().await.expect("step");
    wait!(*tracee, Event::Step);
    ip(tracee).await
}

async fn ends_well(tracee: &mut Tracee) {
    let end = end(tracee).await;
    assert!(
        matches!(end, Event::Exited(exited) if exited.code == 0),
        "{end:?}"
    );
}

// Scenario 42
async fn one_instruction_each(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("step")).await;
    let code = mark(&mut tracee).await;
    while step(&mut tracee).await != code {}
    // Three of one byte each, and a return.
    for at in 1..4 {
        assert_eq!(step(&mut tracee).await, code + at);
    }
    let back = step(&mut tracee).await;
    assert!(!(code..code + 5).contains(&back));
    ends_well(&mut tracee).await;
}

// Scenario 42, contract 2: as a resume mode.
async fn by_the_stream(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("step")).await;
    let code = mark(&mut tracee).await;
    tracee.set_resume_mode(ResumeMode::Step);
    while ip(&tracee).await != code {
        next!(tracee, Event::Step);
    }
    for at in 1..4 {
        next!(tracee, Event::Step);
        assert_eq!(ip(&tracee).await, code + at);
    }
    tracee.set_resume_mode(ResumeMode::Cont);
    ends_well(&mut tracee).await;
}

// Scenario 42: one step from before the call to behind it.
async fn over_a_system_call(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 2)).await;
    mark(&mut tracee).await;
    let behind = ip(&tracee).await;
    // The rest of this call, then up to the next one: `syscall` has two bytes.
    assert_eq!(step(&mut tracee).await, behind);
    while step(&mut tracee).await != behind - 2 {}
    assert_eq!(step(&mut tracee).await, behind);
    let regs = tracee.getregs().await.expect("regs");
    assert_eq!(regs.syscall_result(), i64::from(std::process::id()));
    ends_well(&mut tracee).await;
}

/// The puppet in the signal-delivery-stop of its SIGUSR1; gives its handler.
async fn about_to_be_handled(tracee: &mut Tracee) -> u64 {
    let handler = mark(tracee).await;
    tracee.cont().await.expect("cont");
    wait!(*tracee, Event::Signal(stop) if stop.signal == Signal::SIGUSR1);
    handler
}

// Scenario 42: the first stop is before the handler's first instruction.
async fn into_a_handler(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("step-handler")).await;
    let handler = about_to_be_handled(&mut tracee).await;
    tracee.step_with(Signal::SIGUSR1).await.expect("step");
    wait!(tracee, Event::Step);
    assert_eq!(ip(&tracee).await, handler);
    assert_eq!(step(&mut tracee).await, handler + 1);
    // Back through sigreturn, to where the signal came.
    ends_well(&mut tracee).await;
}

// Scenario 42
async fn into_a_handler_by_the_stream(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("step-handler")).await;
    let handler = about_to_be_handled(&mut tracee).await;
    tracee.set_resume_mode(ResumeMode::Step);
    next!(tracee, Event::Step);
    assert_eq!(ip(&tracee).await, handler);
    // Through the handler and sigreturn, step by step.
    for _ in 0..20 {
        next!(tracee, Event::Step);
    }
    tracee.set_resume_mode(ResumeMode::Cont);
    ends_well(&mut tracee).await;
}

// Scenario 42: after a detach it runs on without a trap.
async fn nothing_is_left_of_it(tracer: Tracer) {
    for dropped in [false, true] {
        let (mut tracee, mut child) = start(&tracer, &mut puppet!("step")).await;
        mark(&mut tracee).await;
        for _ in 0..10 {
            step(&mut tracee).await;
        }
        if !dropped {
            tracee.detach().await.expect("detach");
        }
        drop(tracee);
        let status = soon("its end", child.wait()).await.expect("status");
        assert!(status.success(), "{status:?}");
    }
}

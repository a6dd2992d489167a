//! A tracee runs up to its next branch. Where the processor, or a hypervisor, does not do
//! that it is one instruction at a time: all else holds there, too.
#![cfg(target_arch = "x86_64")]

use tracehound::{Event, ResumeMode, Signal, Tracee, Tracer};
use tracehound_tests::{
    end, in_each_place, line, lines, next, next_mark, puppet, soon, start, wait,
};

in_each_place! {
    up_to_the_branch, by_the_stream, into_a_handler, a_signal_of_its_own, nothing_is_left_of_it,
    overtaken_by_an_interrupt,
}

async fn ip(tracee: &Tracee) -> u64 {
    let regs = tracee.getregs().await.expect("regs");
    regs.instruction_pointer()
}

async fn block_step(tracee: &mut Tracee) -> u64 {
    tracee.block_step().await.expect("block step");
    wait!(*tracee, Event::Step);
    ip(tracee).await
}

async fn ends_well(tracee: &mut Tracee) {
    tracee.set_resume_mode(ResumeMode::Cont);
    let end = end(tracee).await;
    assert!(matches!(end, Event::Exited(e) if e.code == 0), "{end:?}");
}

/// Goes on, by instructions, to the three nops and the return of the puppet; gives where
/// they are.
async fn to_the_nops(tracee: &mut Tracee) -> u64 {
    let [code, ..] = next_mark(tracee).await;
    loop {
        tracee.step().await.expect("step");
        wait!(*tracee, Event::Step);
        if ip(tracee).await == code {
            return code;
        }
    }
}

// Scenario 42: three nops without a stop, and out by the return.
async fn up_to_the_branch(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("step")).await;
    let code = to_the_nops(&mut tracee).await;
    let (mut stops, mut before) = (0, code);
    loop {
        stops += 1;
        let at = block_step(&mut tracee).await;
        if !(code..code + 4).contains(&at) {
            break;
        }
        assert!(at > before, "{at:#x} behind {before:#x}");
        before = at;
    }
    assert!(stops <= 4, "{stops} stops");
    if stops > 1 {
        // A hypervisor that takes the CPU away may forget what it was to stop at.
        eprintln!("{stops} stops: this machine does not, or not always, stop at branches");
    }
    ends_well(&mut tracee).await;
}

// Scenario 42, contract 2: as a resume mode.
async fn by_the_stream(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("step")).await;
    let code = to_the_nops(&mut tracee).await;
    tracee.set_resume_mode(ResumeMode::Block);
    let mut stops = 0;
    while (code..code + 4).contains(&ip(&tracee).await) {
        next!(tracee, Event::Step);
        stops += 1;
    }
    assert!((1..=4).contains(&stops));
    for _ in 0..20 {
        next!(tracee, Event::Step);
    }
    ends_well(&mut tracee).await;
}

// Scenario 42: the first stop is at the handler's first instruction.
async fn into_a_handler(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("step-handler")).await;
    let [handler, ..] = next_mark(&mut tracee).await;
    tracee.cont().await.expect("cont");
    wait!(tracee, Event::Signal(stop) if stop.signal == Signal::SIGUSR1);
    tracee
        .block_step_with(Signal::SIGUSR1)
        .await
        .expect("block step");
    wait!(tracee, Event::Step);
    assert_eq!(ip(&tracee).await, handler);
    ends_well(&mut tracee).await;
}

// Scenario 29: the program's own SIGTRAP is a signal, block-stepping or not.
async fn a_signal_of_its_own(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("breakpoint")).await;
    let mut out = lines(&mut child);
    next_mark(&mut tracee).await;
    tracee.set_resume_mode(ResumeMode::Block);
    let signal = loop {
        match soon("an event", futures::StreamExt::next(&mut tracee)).await {
            Some(Event::Step) => {}
            Some(Event::Signal(stop)) => break stop,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(signal.signal, Signal::SIGTRAP);
    ends_well(&mut tracee).await;
    assert!(line(&mut out).await.starts_with("caught 5 "));
}

// Scenario 42: after a detach it runs on without a trap.
async fn nothing_is_left_of_it(tracer: Tracer) {
    for dropped in [false, true] {
        let (mut tracee, mut child) = start(&tracer, &mut puppet!("step")).await;
        next_mark(&mut tracee).await;
        for _ in 0..10 {
            block_step(&mut tracee).await;
        }
        if !dropped {
            tracee.detach().await.expect("detach");
        }
        drop(tracee);
        let status = soon("its end", child.wait()).await.expect("status");
        assert!(status.success(), "{status:?}");
    }
}

// Scenarios 34 and 42: an interrupt that comes before the step's own stop leaves a trap
// behind, which is no signal of the program's, and does not kill it after a detach.
async fn overtaken_by_an_interrupt(tracer: Tracer) {
    for detached in [false, true] {
        for _ in 0..20 {
            let (mut tracee, mut child) = start(&tracer, &mut puppet!("step")).await;
            next_mark(&mut tracee).await;
            let control = tracee.control();
            let (stepped, interrupted) =
                futures::join!(tracee.block_step(), async { control.interrupt().await });
            stepped.expect("block step");
            interrupted.expect("interrupt");
            let first = soon("a stop", tracee.wait()).await;
            assert!(
                matches!(first, Some(Event::Step | Event::Interrupted)),
                "{first:?}"
            );
            if detached {
                tracee.detach().await.expect("detach");
            } else {
                loop {
                    match soon("an event", futures::StreamExt::next(&mut tracee)).await {
                        Some(Event::Step | Event::Interrupted) => {}
                        Some(Event::Exited(exited)) if exited.code == 0 => break,
                        other => panic!("{other:?}"),
                    }
                }
            }
            let status = soon("its end", child.wait()).await.expect("status");
            assert!(status.success(), "{status:?}");
        }
    }
}

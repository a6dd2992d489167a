//! Breakpoints and watchpoints in debug registers stop the tracee where it meets them, are
//! no signals of its own, and are gone when it is let go.
//!
//! On x86: arm64 stops before the access, and meets a watchpoint again.
#![cfg(target_arch = "x86_64")]

use tracehound::requests::{BreakpointKind, HardwareBreakpoint, SignalQueue};
use tracehound::{Child, Error, Event, ResumeMode, Signal, Tracee, Tracer};
use tracehound_tests::{
    end, if_there_is, in_each_place, line, lines, next, next_mark, puppet, soon, start, wait,
};

in_each_place! {
    a_write_is_seen, reads_and_writes, an_instruction, all_registers, taken_out, asked_for_twice,
    what_cannot_be_watched, while_stepping, by_the_stream, only_this_thread, gone_after_a_detach,
    gone_after_an_exec, overtaken_by_an_interrupt, a_forged_trap,
}

fn write(address: u64) -> HardwareBreakpoint {
    HardwareBreakpoint::watch(address, 8, BreakpointKind::Write)
}

/// The puppet at its first mark; gives its two variables and its function.
async fn watched(tracer: &Tracer) -> (Tracee, Child, [u64; 3]) {
    let (mut tracee, child) = start(tracer, &mut puppet!("watched")).await;
    let places = next_mark(&mut tracee).await;
    (tracee, child, places)
}

/// The event of a breakpoint, which is these.
async fn met(tracee: &mut Tracee, expected: &[HardwareBreakpoint]) {
    let stop = wait!(*tracee, Event::HardwareBreakpoint(stop) => stop);
    assert_eq!(stop.info.signal(), Signal::SIGTRAP);
    let fired = tracee.fired_hardware_breakpoints().await.expect("fired");
    assert_eq!(fired, expected);
}

/// Goes on by `cont` to the end, which is a good one.
async fn ends_well(tracee: &mut Tracee) {
    tracee.set_resume_mode(ResumeMode::Cont);
    let end = end(tracee).await;
    assert!(matches!(end, Event::Exited(e) if e.code == 0), "{end:?}");
}

/// The value of the variable.
fn value(tracee: &Tracee, address: u64) -> u64 {
    let bytes = tracee.read_bytes(address, 8).expect("a variable");
    u64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
}

async fn a_write_is_seen(tracer: Tracer) {
    let (mut tracee, mut child, [watched, ..]) = watched(&tracer).await;
    let mut out = lines(&mut child);
    let watch = write(watched);
    if if_there_is(tracee.set_hardware_breakpoint(&watch).await).is_some() {
        for expected in [7, 8] {
            // Reads, and writes beside it, are not met.
            tracee.cont().await.expect("cont");
            met(&mut tracee, &[watch]).await;
            assert_eq!(value(&tracee, watched), expected);
        }
    }
    ends_well(&mut tracee).await;
    assert_eq!(line(&mut out).await, "8");
}

async fn reads_and_writes(tracer: Tracer) {
    let (mut tracee, _child, [watched, ..]) = watched(&tracer).await;
    let watch = HardwareBreakpoint::watch(watched, 4, BreakpointKind::ReadWrite);
    if if_there_is(tracee.set_hardware_breakpoint(&watch).await).is_some() {
        // The read, two writes, and the read for what it says at the end.
        for expected in [0, 7, 8, 8] {
            tracee.cont().await.expect("cont");
            met(&mut tracee, &[watch]).await;
            assert_eq!(value(&tracee, watched), expected);
        }
    }
    ends_well(&mut tracee).await;
}

async fn an_instruction(tracer: Tracer) {
    let (mut tracee, _child, [.., function]) = watched(&tracer).await;
    let there = HardwareBreakpoint::execute(function);
    if if_there_is(tracee.set_hardware_breakpoint(&there).await).is_some() {
        tracee.cont().await.expect("cont");
        met(&mut tracee, &[there]).await;
        let regs = tracee.getregs().await.expect("regs");
        assert_eq!(regs.instruction_pointer(), function);
    }
    // On from there, with the breakpoint in place.
    ends_well(&mut tracee).await;
}

async fn all_registers(tracer: Tracer) {
    let (mut tracee, _child, [watched, other, function]) = watched(&tracer).await;
    let all = [
        write(other),
        HardwareBreakpoint::watch(watched, 2, BreakpointKind::Write),
        HardwareBreakpoint::watch(watched, 1, BreakpointKind::ReadWrite),
        HardwareBreakpoint::execute(function),
    ];
    for breakpoint in &all {
        if if_there_is(tracee.set_hardware_breakpoint(breakpoint).await).is_none() {
            return ends_well(&mut tracee).await;
        }
    }
    assert_eq!(tracee.hardware_breakpoints().await.expect("list"), all);
    let error = tracee.set_hardware_breakpoint(&write(watched)).await;
    let error = error.expect_err("there are four");
    assert!(
        matches!(error, Error::NoFreeDebugRegister { .. }),
        "{error:?}"
    );
    for expected in [&all[..1], &all[2..3], &all[1..3], &all[1..3], &all[3..4]] {
        tracee.cont().await.expect("cont");
        met(&mut tracee, expected).await;
    }
    // In a place that is free again, of another kind and length.
    assert!(
        tracee
            .clear_hardware_breakpoint(&all[1])
            .await
            .expect("clear")
    );
    let odd = HardwareBreakpoint::watch(watched + 1, 1, BreakpointKind::Write);
    tracee
        .set_hardware_breakpoint(&odd)
        .await
        .expect("there is room");
    let now = [all[0], odd, all[2], all[3]];
    assert_eq!(tracee.hardware_breakpoints().await.expect("list"), now);
    for breakpoint in &now {
        assert!(
            tracee
                .clear_hardware_breakpoint(breakpoint)
                .await
                .expect("clear")
        );
    }
    ends_well(&mut tracee).await;
}

async fn taken_out(tracer: Tracer) {
    let (mut tracee, _child, [watched, ..]) = watched(&tracer).await;
    let watch = write(watched);
    if if_there_is(tracee.set_hardware_breakpoint(&watch).await).is_some() {
        tracee.cont().await.expect("cont");
        met(&mut tracee, &[watch]).await;
        assert!(
            tracee
                .clear_hardware_breakpoint(&watch)
                .await
                .expect("clear")
        );
        assert!(
            !tracee
                .clear_hardware_breakpoint(&watch)
                .await
                .expect("clear")
        );
        assert!(
            tracee
                .hardware_breakpoints()
                .await
                .expect("list")
                .is_empty()
        );
    }
    // The second write is not met.
    ends_well(&mut tracee).await;
}

async fn asked_for_twice(tracer: Tracer) {
    let (mut tracee, _child, [watched, ..]) = watched(&tracer).await;
    let watch = write(watched);
    for _ in 0..10 {
        let set = tracee.set_hardware_breakpoint(&watch).await;
        if if_there_is(set).is_none() {
            return ends_well(&mut tracee).await;
        }
    }
    assert_eq!(tracee.hardware_breakpoints().await.expect("list"), [watch]);
    assert!(
        tracee
            .clear_hardware_breakpoint(&watch)
            .await
            .expect("clear")
    );
    ends_well(&mut tracee).await;
}

async fn what_cannot_be_watched(tracer: Tracer) {
    let (mut tracee, _child, [watched, ..]) = watched(&tracer).await;
    let kind = BreakpointKind::Write;
    for (address, length, kind) in [
        (watched, 0, kind),
        (watched, 3, kind),
        (watched, 16, kind),
        (watched, 255, kind),
        (watched + 1, 8, kind),
        (0, 8, kind),
        (watched, 8, BreakpointKind::Read),
        (watched, 8, BreakpointKind::Execute),
        // Of the kernel.
        (u64::MAX - 7, 8, kind),
        (0xffff_8880_0000_0000, 1, BreakpointKind::Execute),
    ] {
        let breakpoint = HardwareBreakpoint::watch(address, length, kind);
        let error = tracee.set_hardware_breakpoint(&breakpoint).await;
        let error = error.expect_err("it cannot be");
        assert!(
            matches!(
                error,
                Error::InvalidArgument(_) | Error::Architecture { .. }
            ),
            "{breakpoint:?}: {error:?}"
        );
    }
    // Nothing is left of it, and there is room.
    if let Some(found) = if_there_is(tracee.hardware_breakpoints().await) {
        assert!(found.is_empty(), "{found:?}");
        for length in [1, 2, 4, 8] {
            let watch = HardwareBreakpoint::watch(watched, length, kind);
            tracee
                .set_hardware_breakpoint(&watch)
                .await
                .expect("there is room");
        }
    }
    tracee.control().kill().expect("kill");
    end(&mut tracee).await;
}

// A step that meets a breakpoint is a step, and tells of it.
async fn while_stepping(tracer: Tracer) {
    let (mut tracee, _child, [watched, ..]) = watched(&tracer).await;
    let watch = write(watched);
    if if_there_is(tracee.set_hardware_breakpoint(&watch).await).is_none() {
        return ends_well(&mut tracee).await;
    }
    while next_mark(&mut tracee).await[0] != 2 {}
    let mut steps = 0;
    loop {
        tracee.step().await.expect("step");
        wait!(tracee, Event::Step);
        let fired = tracee.fired_hardware_breakpoints().await.expect("fired");
        if !fired.is_empty() {
            assert_eq!(fired, [watch]);
            break;
        }
        steps += 1;
        assert_eq!(value(&tracee, watched), 0, "it was not met");
    }
    assert!(steps > 0);
    assert_eq!(value(&tracee, watched), 7);
    ends_well_but_for(&mut tracee, &watch).await;
}

/// Goes on to the end, which is a good one, past a breakpoint that is still met.
async fn ends_well_but_for(tracee: &mut Tracee, watch: &HardwareBreakpoint) {
    tracee.cont().await.expect("cont");
    met(tracee, &[*watch]).await;
    ends_well(tracee).await;
}

// Contract 2: asking for the next event does not give the program a SIGTRAP.
async fn by_the_stream(tracer: Tracer) {
    let (mut tracee, mut child, [watched, ..]) = watched(&tracer).await;
    let mut out = lines(&mut child);
    if if_there_is(tracee.set_hardware_breakpoint(&write(watched)).await).is_some() {
        next!(tracee, Event::HardwareBreakpoint(_));
        next!(tracee, Event::HardwareBreakpoint(_));
    }
    next!(tracee, Event::Exited(exited) if exited.code == 0);
    assert_eq!(line(&mut out).await, "8");
    assert!(child.wait().await.expect("status").success());
}

async fn only_this_thread(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("watched-elsewhere")).await;
    let mut out = lines(&mut child);
    let [watched, ..] = next_mark(&mut tracee).await;
    let watch = write(watched);
    if if_there_is(tracee.set_hardware_breakpoint(&watch).await).is_none() {
        return ends_well(&mut tracee).await;
    }
    let mut born = 0;
    loop {
        let event = soon("an event", futures::StreamExt::next(&mut tracee)).await;
        match event {
            Some(Event::Exited(exited)) if exited.code == 0 => break,
            // Of the child's end.
            Some(Event::Signal(stop)) if stop.signal == Signal::SIGCHLD => {}
            Some(event) if event.birth().is_some() => {
                let birth = *event.birth().expect("a birth");
                let mut other = tracee.take_child(&birth).expect("it is followed");
                next!(other, Event::Started(_));
                let found = other.hardware_breakpoints().await.expect("list");
                assert!(found.is_empty(), "{found:?}");
                // One of its own, and no other.
                let own = write(watched + 8);
                other
                    .set_hardware_breakpoint(&own)
                    .await
                    .expect("there is room");
                let found = other.hardware_breakpoints().await.expect("list");
                assert_eq!(found, [own]);
                born += 1;
                // Its parent waits for it.
                tracee.cont().await.expect("cont");
                ends_well(&mut other).await;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(born, 2);
    assert_eq!(line(&mut out).await, "1");
}

// Scenario 42's neighbour: whoever is let go does not meet it, and does not die of it.
async fn gone_after_a_detach(tracer: Tracer) {
    for met_before in [false, true] {
        for dropped in [false, true] {
            let (mut tracee, mut child, [watched, _, function]) = watched(&tracer).await;
            let mut out = lines(&mut child);
            for breakpoint in [write(watched), HardwareBreakpoint::execute(function)] {
                if_there_is(tracee.set_hardware_breakpoint(&breakpoint).await);
            }
            if met_before
                && !tracee
                    .hardware_breakpoints()
                    .await
                    .unwrap_or_default()
                    .is_empty()
            {
                tracee.cont().await.expect("cont");
                met(&mut tracee, &[write(watched)]).await;
            }
            if !dropped {
                tracee.detach().await.expect("detach");
            }
            drop(tracee);
            assert_eq!(line(&mut out).await, "8");
            let status = soon("its end", child.wait()).await.expect("status");
            assert!(status.success(), "{status:?}");
        }
    }
}

async fn gone_after_an_exec(tracer: Tracer) {
    let puppet = env!("CARGO_BIN_EXE_puppet");
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("exec", puppet, "watched")).await;
    let mut out = lines(&mut child);
    let stack = tracee.getregs().await.expect("regs").stack_pointer();
    let watch = write(stack & !7);
    if if_there_is(tracee.set_hardware_breakpoint(&watch).await).is_some() {
        loop {
            match soon("an event", futures::StreamExt::next(&mut tracee)).await {
                Some(Event::Exec(_)) => break,
                Some(Event::HardwareBreakpoint(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        let found = tracee.hardware_breakpoints().await.expect("list");
        assert!(found.is_empty(), "{found:?}");
    }
    ends_well(&mut tracee).await;
    assert_eq!(line(&mut out).await, "8");
}

// Scenario 34's neighbour: an interrupt that comes before the breakpoint's own stop leaves a
// trap behind, which is no signal of the program's, and does not kill it after a detach.
async fn overtaken_by_an_interrupt(tracer: Tracer) {
    for detached in [false, true] {
        for _ in 0..20 {
            let (mut tracee, mut child, [watched, ..]) = watched(&tracer).await;
            let watch = write(watched);
            if_there_is(tracee.set_hardware_breakpoint(&watch).await);
            while next_mark(&mut tracee).await[0] != 2 {}
            let control = tracee.control();
            let (resumed, interrupted) =
                futures::join!(tracee.cont(), async { control.interrupt().await });
            resumed.expect("cont");
            interrupted.expect("interrupt");
            let first = soon("a stop", tracee.wait()).await;
            let expected = matches!(
                first,
                Some(Event::HardwareBreakpoint(_) | Event::Interrupted)
            );
            assert!(expected, "{first:?}");
            if detached {
                tracee.detach().await.expect("detach");
            } else {
                loop {
                    match soon("an event", futures::StreamExt::next(&mut tracee)).await {
                        Some(Event::HardwareBreakpoint(_) | Event::Interrupted) => {}
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

// Contract 8: a trap that the program made itself, and blocks, does not keep a detach from
// coming to its end.
async fn a_forged_trap(tracer: Tracer) {
    const TRAP_HWBKPT: i32 = 4;
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("forge-trap", TRAP_HWBKPT)).await;
    let there = write(tracee.getregs().await.expect("regs").stack_pointer() & !7);
    if_there_is(tracee.set_hardware_breakpoint(&there).await);
    if_there_is(tracee.clear_hardware_breakpoint(&there).await);
    next_mark(&mut tracee).await;
    let waiting = tracee
        .pending_signals(SignalQueue::Thread)
        .await
        .expect("peek");
    assert_eq!(waiting.len(), 1);
    soon("detach", tracee.detach()).await.expect("detach");
    let status = soon("its end", child.wait()).await.expect("status");
    assert!(status.success(), "{status:?}");
}

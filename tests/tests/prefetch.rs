//! Registers that are read with each event.

use futures::FutureExt;
use tracehound::{Event, ResumeMode, Tracee, Tracer};
use tracehound_tests::{end, in_each_place, next, puppet, soon, start};

in_each_place! {
    are_those_of_the_stop, are_inherited, follow_what_is_written, end_with_the_stop,
}

/// The registers, which must be there at once.
fn at_once(tracee: &Tracee) -> tracehound_sys::ptrace::Regs {
    let registers = tracee.getregs().now_or_never();
    registers.expect("they were read before").expect("held")
}

#[cfg(target_arch = "x86_64")]
fn instruction_pointer(registers: &tracehound_sys::ptrace::Regs) -> u64 {
    registers.rip
}

#[cfg(target_arch = "aarch64")]
fn instruction_pointer(registers: &tracehound_sys::ptrace::Regs) -> u64 {
    registers.pc
}

async fn are_those_of_the_stop(tracer: Tracer) {
    let mut command = puppet!("mark", 50);
    command.prefetch_registers(true);
    command.resume_mode(ResumeMode::Syscall);
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    let mut stops = 0;
    while let Some(event) = soon("an event", futures::StreamExt::next(&mut tracee)).await {
        let pointer = match &event {
            Event::SyscallEnter(enter) => enter.instruction_pointer,
            Event::SyscallExit(exit) => exit.instruction_pointer,
            _ => continue,
        };
        assert_eq!(instruction_pointer(&at_once(&tracee)), pointer, "{event:?}");
        stops += 1;
    }
    assert!(stops > 100, "{stops}");
    soon("the status", child.wait()).await.expect("status");
}

async fn are_inherited(tracer: Tracer) {
    let mut command = puppet!("fork");
    let (mut parent, _child) = start(&tracer, command.prefetch_registers(true)).await;
    let birth = next!(parent, Event::Fork(birth) => birth);
    let mut child = parent.take_child(&birth).expect("the child");
    next!(child, Event::Started(_));
    assert_ne!(instruction_pointer(&at_once(&child)), 0);
    child.set_prefetch_registers(false);
    // From now on they are asked for.
    assert_ne!(
        instruction_pointer(&soon("registers", child.getregs()).await.expect("held")),
        0
    );
    drop(child);
    end(&mut parent).await;
}

#[cfg(target_arch = "x86_64")]
async fn follow_what_is_written(tracer: Tracer) {
    let mut command = puppet!("pause");
    let (mut tracee, _child) = start(&tracer, command.prefetch_registers(true)).await;
    tracee.set_resume_mode(ResumeMode::Syscall);
    // The end of its execve, then a call.
    next!(tracee, Event::SyscallExit(_));
    next!(tracee, Event::SyscallEnter(_));
    let before = at_once(&tracee);
    let mut changed = before;
    changed.r15 ^= 0xff;
    tracee.setregs(&changed).await.expect("held");
    let after = tracee.getregs().await.expect("held");
    assert_eq!(after.r15, changed.r15);
    // By another way.
    let offset = 0;
    tracee.poke_user(offset, before.r15).await.expect("held");
    assert_eq!(tracee.getregs().await.expect("held").r15, before.r15);
    tracee.set_syscall_number(-1).await.expect("held");
    let skipped = tracee.getregs().await.expect("held").orig_rax;
    assert_eq!(skipped.cast_signed() as i32, -1);
    tracee.control().kill().expect("it lives");
    end(&mut tracee).await;
}

#[cfg(not(target_arch = "x86_64"))]
async fn follow_what_is_written(_tracer: Tracer) {}

async fn end_with_the_stop(tracer: Tracer) {
    let mut command = puppet!("pause");
    let (mut tracee, _child) = start(&tracer, command.prefetch_registers(true)).await;
    // The first step ends before the first instruction.
    tracee.set_resume_mode(ResumeMode::Step);
    next!(tracee, Event::Step);
    let before = at_once(&tracee);
    tracee.step().await.expect("held");
    let running = tracee.getregs().now_or_never();
    assert!(matches!(running, Some(Err(tracehound::Error::Running(_)))));
    tracehound_tests::wait!(tracee, Event::Step);
    assert_ne!(
        instruction_pointer(&at_once(&tracee)),
        instruction_pointer(&before)
    );
    tracee.control().kill().expect("it lives");
    end(&mut tracee).await;
}

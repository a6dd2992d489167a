//! Registers of every kind are read and written, and say what the program itself says.

use tracehound::requests::{FpRegs, RegSet, SyscallOp};
use tracehound::{Error, Event, Tracee, Tracer};
use tracehound_tests::{
    end, if_there_is, in_each_place, line, lines, next_mark, puppet, soon, start,
};

in_each_place! {
    the_same_by_register_set, vectors, unknown_sets, values_that_cannot_be, lengths_that_cannot_be,
}

async fn ends_well(tracee: &mut Tracee) {
    let end = end(tracee).await;
    assert!(matches!(end, Event::Exited(e) if e.code == 0), "{end:?}");
}

async fn killed(mut tracee: Tracee) {
    tracee.control().kill().expect("kill");
    end(&mut tracee).await;
}

// Scenario 19's neighbour: two ways to the same registers.
async fn the_same_by_register_set(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    next_mark(&mut tracee).await;
    let regs = tracee.getregs().await.expect("regs");
    let bytes = tracee.getregset(RegSet::PRSTATUS).await.expect("regset");
    assert_eq!(regs.as_bytes(), bytes);
    let info = tracee.syscall_info().await.expect("info");
    assert_eq!(info.stack_pointer, regs.stack_pointer());
    assert_eq!(info.instruction_pointer, regs.instruction_pointer());
    assert!(matches!(info.op, SyscallOp::Entry(call) if call.nr == regs.syscall_number()));

    let fpregs = tracee.getfpregs().await.expect("fpregs");
    let bytes = tracee.getregset(RegSet::PRFPREG).await.expect("regset");
    assert_eq!(bytes.len(), size_of::<FpRegs>());
    let vector = fpregs.vector(3).expect("there are more");
    let at = if cfg!(target_arch = "x86_64") { 160 } else { 0 };
    assert_eq!(vector, bytes[at + 48..at + 64]);

    // Written as it was read, the program does not notice; also its beginning alone.
    let set = RegSet::PRSTATUS;
    let before = tracee.getregset(set).await.expect("regset");
    assert_eq!(
        tracee.setregset(set, &before).await.expect("set"),
        before.len()
    );
    assert_eq!(tracee.setregset(set, &before[..16]).await.expect("set"), 16);
    assert_eq!(tracee.getregset(set).await.expect("regset"), before);
    tracee.setregs(&regs).await.expect("setregs");
    tracee.setfpregs(&fpregs).await.expect("setfpregs");
    assert_eq!(tracee.getfpregs().await.expect("fpregs"), fpregs);
    ends_well(&mut tracee).await;
}

/// The bytes that the puppet had put there.
fn counted(length: u8) -> Vec<u8> {
    (1..=length).collect()
}

// The program finds in its vector registers what the tracer wrote, by either way.
async fn vectors(tracer: Tracer) {
    if cfg!(not(target_arch = "x86_64")) {
        return;
    }
    for by_xstate in [false, true] {
        let (mut tracee, mut child) = start(&tracer, &mut puppet!("vectors")).await;
        let mut out = lines(&mut child);
        while next_mark(&mut tracee).await[0] != 0xfe {}
        let mut fpregs = tracee.getfpregs().await.expect("fpregs");
        assert_eq!(fpregs.vector(5).expect("there is"), counted(16)[..]);
        let xstate = if_there_is(tracee.getxstate().await);
        let wide = xstate.as_ref().and_then(|state| state.ymm(5));
        if let Some(wide) = wide {
            assert_eq!(wide, counted(32)[..]);
        }
        let mut expected = counted(if wide.is_some() { 32 } else { 16 });
        if let (Some(mut state), true, true) = (xstate, by_xstate, wide.is_some()) {
            // The extended registers of the processors to come have more than a page.
            assert!(state.as_bytes().len() > 576);
            assert!(state.set_ymm(5, [0xab; 32]));
            tracee.setxstate(&state).await.expect("setxstate");
            expected = vec![0xab; 32];
        } else {
            assert!(fpregs.set_vector(5, [0xcd; 16]));
            tracee.setfpregs(&fpregs).await.expect("setfpregs");
            expected[..16].fill(0xcd);
        }
        tracee.cont().await.expect("cont");
        let expected: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(line(&mut out).await, expected);
        ends_well(&mut tracee).await;
    }
}

async fn unknown_sets(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("pause")).await;
    for raw in [0, 0x7777, u32::MAX] {
        let unknown = RegSet::from_raw(raw);
        let is =
            |error: &Error| matches!(error, Error::NoRegisterSet { set, .. } if *set == unknown);
        let error = tracee.getregset(unknown).await.expect_err("no such set");
        assert!(is(&error), "{error:?}");
        let error = tracee
            .setregset(unknown, &[0; 8])
            .await
            .expect_err("no such set");
        assert!(is(&error), "{error:?}");
    }
    // That of another architecture; and one that this thread may or may not have.
    let other = if cfg!(target_arch = "x86_64") {
        RegSet::ARM_TLS
    } else {
        RegSet::X86_XSTATE
    };
    let error = tracee.getregset(other).await.expect_err("no such set");
    assert!(matches!(error, Error::NoRegisterSet { .. }), "{error:?}");
    if let Some(bytes) = if_there_is(tracee.getregset(RegSet::X86_SHSTK).await) {
        assert_eq!(bytes.len(), 8);
    }
    killed(tracee).await;
}

async fn values_that_cannot_be(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    #[cfg(target_arch = "x86_64")]
    {
        let mut regs = tracee.getregs().await.expect("regs");
        let before = regs;
        // Both of the kernel.
        regs.cs = 0x10;
        let error = tracee.setregs(&regs).await.expect_err("not allowed");
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
        regs = before;
        regs.fs_base = u64::MAX;
        let error = tracee.setregs(&regs).await.expect_err("not allowed");
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
        tracee.setregs(&before).await.expect("setregs");
        let mut fpregs = tracee.getfpregs().await.expect("fpregs");
        fpregs.mxcsr = u32::MAX;
        let error = tracee.setfpregs(&fpregs).await.expect_err("not allowed");
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
    }
    // It takes further requests, and goes on.
    tracee.getregs().await.expect("regs");
    ends_well(&mut tracee).await;
}

async fn lengths_that_cannot_be(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    let set = RegSet::PRSTATUS;
    let mut bytes = tracee.getregset(set).await.expect("regset");
    let error = tracee.setregset(set, &bytes[..3]).await.expect_err("odd");
    assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
    // More than there is: the rest is not looked at. Nothing: nothing is done.
    let length = bytes.len();
    bytes.resize(1 << 20, 0xff);
    assert_eq!(tracee.setregset(set, &bytes).await.expect("set"), length);
    assert_eq!(tracee.setregset(set, &[]).await.expect("set"), 0);
    let state = if_there_is(tracee.getxstate().await);
    if let Some(state) = state {
        let short = &state.as_bytes()[..64];
        let error = tracee.setregset(RegSet::X86_XSTATE, short).await;
        let error = error.expect_err("not all of it");
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
    }
    soon("its end", ends_well(&mut tracee)).await;
}

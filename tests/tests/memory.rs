//! A tracee's memory is read and written as far as it goes, and no further; whatever is
//! asked for.

use tracehound::{Child, Error, Event, Tracee, Tracer};
use tracehound_tests::{end, in_each_place, puppet, soon, start};

in_each_place! {
    full_pages, partial_at_the_end_of_a_page, without_permission, read_only, wild_addresses,
    endless_reads, strings, written_and_run, by_a_control_while_it_runs, empty_requests,
}

const PAGE: u64 = 4096;

/// What the puppet's first two pages hold.
fn pattern(at: u64) -> u8 {
    (at % 251) as u8 + 1
}

/// The puppet, held at its first mark, and where its memory is.
struct Memory {
    tracee: Tracee,
    _child: Child,
    /// Two pages with nothing behind them.
    full: u64,
    /// A page that may not be read; its first byte is 0x5e.
    secret: u64,
    /// A page that may only be read; its first byte is 0xf1.
    fixed: u64,
}

async fn memory(tracer: &Tracer) -> Memory {
    let (mut tracee, child) = start(tracer, &mut puppet!("memory")).await;
    let [full, secret, fixed] = mark(&mut tracee).await;
    Memory {
        tracee,
        _child: child,
        full,
        secret,
        fixed,
    }
}

/// Goes on to the next mark and gives what it says.
async fn mark(tracee: &mut Tracee) -> [u64; 3] {
    loop {
        tracee.syscall().await.expect("syscall");
        match soon("a mark", tracee.wait()).await {
            Some(Event::SyscallEnter(enter)) if enter.call.name() == Some("getppid") => {
                let [a, b, c, ..] = enter.call.args;
                return [a, b, c];
            }
            Some(Event::SyscallEnter(_) | Event::SyscallExit(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

impl Memory {
    async fn finish(mut self) {
        self.tracee.getregs().await.expect("it is held");
        self.tracee.control().kill().expect("kill");
        end(&mut self.tracee).await;
    }
}

fn is_fault(error: &Error, at: u64) -> bool {
    matches!(error, Error::Memory { address, source, .. }
        if *address == at && *source as i32 == libc::EFAULT)
}

async fn full_pages(tracer: Tracer) {
    let memory = memory(&tracer).await;
    let mut all = vec![0; 2 * PAGE as usize];
    assert_eq!(
        memory
            .tracee
            .read_memory(memory.full, &mut all)
            .expect("read"),
        all.len()
    );
    assert!((0..).zip(&all).all(|(at, byte)| *byte == pattern(at)));
    let some = memory
        .tracee
        .read_bytes(memory.full + 100, 5000)
        .expect("read");
    assert_eq!(some, all[100..5100]);
    memory.finish().await;
}

async fn partial_at_the_end_of_a_page(tracer: Tracer) {
    let mut memory = memory(&tracer).await;
    let at = memory.full + 2 * PAGE - 10;
    let mut buf = [0; 100];
    assert_eq!(memory.tracee.read_memory(at, &mut buf).expect("read"), 10);
    assert!(
        (2 * PAGE - 10..)
            .zip(&buf[..10])
            .all(|(at, byte)| *byte == pattern(at))
    );
    assert_eq!(memory.tracee.read_bytes(at, 100).expect("read"), buf[..10]);
    assert_eq!(
        memory.tracee.write_memory(at, &[9; 100]).expect("written"),
        10
    );
    assert_eq!(memory.tracee.read_bytes(at, 100).expect("read"), [9; 10]);
    // Not even the first byte.
    let behind = memory.full + 2 * PAGE;
    let tracee = &mut memory.tracee;
    assert!(is_fault(
        &tracee.read_memory(behind, &mut buf).expect_err("nothing"),
        behind
    ));
    assert!(is_fault(
        &tracee.read_bytes(behind, 1).expect_err("nothing"),
        behind
    ));
    assert!(is_fault(
        &tracee.read_cstring(behind, 1).expect_err("nothing"),
        behind
    ));
    assert!(is_fault(
        &tracee.write_memory(behind, &[1]).expect_err("nothing"),
        behind
    ));
    memory.finish().await;
}

// As a debugger needs it.
async fn without_permission(tracer: Tracer) {
    let memory = memory(&tracer).await;
    assert_eq!(
        memory.tracee.read_bytes(memory.secret, 1).expect("read"),
        [0x5e]
    );
    assert_eq!(
        memory
            .tracee
            .write_memory(memory.secret, &[1, 2])
            .expect("written"),
        2
    );
    assert_eq!(
        memory.tracee.read_bytes(memory.secret, 3).expect("read"),
        [1, 2, 0]
    );
    memory.finish().await;
}

// The program sees what was written to a page that it may not write.
async fn read_only(tracer: Tracer) {
    let mut memory = memory(&tracer).await;
    assert_eq!(
        memory.tracee.read_bytes(memory.fixed, 1).expect("read"),
        [0xf1]
    );
    assert_eq!(
        memory
            .tracee
            .write_memory(memory.fixed, &[0xf2])
            .expect("written"),
        1
    );
    assert_eq!(mark(&mut memory.tracee).await, [0xf2, 0, 0]);
    memory.finish().await;
}

async fn wild_addresses(tracer: Tracer) {
    let memory = memory(&tracer).await;
    let tracee = &memory.tracee;
    let wild = [
        0,
        1,
        0xfff,
        1 << 47,
        1 << 63,
        (1 << 63) - 1,
        u64::MAX - 1,
        u64::MAX,
    ];
    for at in wild {
        for len in [1, 16, 4096, 1 << 20] {
            let mut buf = vec![0; len];
            assert!(is_fault(
                &tracee.read_memory(at, &mut buf).expect_err("wild"),
                at
            ));
            assert!(is_fault(&tracee.read_bytes(at, len).expect_err("wild"), at));
            assert!(is_fault(
                &tracee.read_cstring(at, len).expect_err("wild"),
                at
            ));
            assert!(is_fault(
                &tracee.write_memory(at, &buf).expect_err("wild"),
                at
            ));
        }
    }
    memory.finish().await;
}

// A length that no memory has is refused; a large one ends where the memory does.
async fn endless_reads(tracer: Tracer) {
    let memory = memory(&tracer).await;
    let tracee = &memory.tracee;
    for len in [usize::MAX, usize::MAX / 2 + 1] {
        let error = tracee.read_bytes(memory.full, len).expect_err("too long");
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
        let error = tracee.read_cstring(memory.full, len).expect_err("too long");
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
    }
    let most = isize::MAX as usize;
    let all = tracee.read_bytes(memory.full, most).expect("read");
    assert_eq!(all.len(), 2 * PAGE as usize);
    memory.finish().await;
}

async fn strings(tracer: Tracer) {
    let memory = memory(&tracer).await;
    let tracee = &memory.tracee;
    let at = memory.full + PAGE - 3;
    // Over the end of a page.
    tracee.write_memory(at, b"string\0rest").expect("written");
    assert_eq!(tracee.read_cstring(at, 100).expect("read"), b"string\0");
    assert_eq!(tracee.read_cstring(at, 7).expect("read"), b"string\0");
    assert_eq!(tracee.read_cstring(at, 6).expect("read"), b"string");
    assert_eq!(tracee.read_cstring(at, 2).expect("read"), b"st");
    assert_eq!(tracee.read_cstring(at + 6, 100).expect("read"), b"\0");
    // One without an end goes as far as the memory.
    let unterminated = memory.full + PAGE + 100;
    let most = isize::MAX as usize;
    let text = tracee.read_cstring(unterminated, most).expect("read");
    assert_eq!(text.len() as u64, PAGE - 100);
    assert!(!text.contains(&0));
    memory.finish().await;
}

// The code itself: a breakpoint and back.
#[cfg(target_arch = "x86_64")]
async fn written_and_run(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("step")).await;
    let [code, ..] = mark(&mut tracee).await;
    let original = tracee.read_bytes(code, 1).expect("read");
    assert_eq!(original, [0x90]);
    assert_eq!(tracee.write_memory(code, &[0xcc]).expect("written"), 1);
    tracee.cont().await.expect("cont");
    tracehound_tests::wait!(tracee, Event::Signal(stop) if stop.signal == tracehound::Signal::SIGTRAP);
    let mut regs = tracee.getregs().await.expect("regs");
    assert_eq!(regs.instruction_pointer(), code + 1);
    tracee.write_memory(code, &original).expect("written");
    regs.set_instruction_pointer(code);
    tracee.setregs(&regs).await.expect("setregs");
    tracee.cont().await.expect("cont");
    let end = end(&mut tracee).await;
    assert!(
        matches!(end, Event::Exited(exited) if exited.code == 0),
        "{end:?}"
    );
}

#[cfg(not(target_arch = "x86_64"))]
async fn written_and_run(_: Tracer) {}

async fn by_a_control_while_it_runs(tracer: Tracer) {
    let mut memory = memory(&tracer).await;
    memory.tracee.cont().await.expect("cont");
    let control = memory.tracee.control();
    let full = memory.full;
    let thread = std::thread::spawn(move || {
        control.write_memory(full, b"x\0").expect("written");
        control.read_cstring(full, 10).expect("read")
    });
    assert_eq!(thread.join().expect("a thread"), b"x\0");
    memory.tracee.control().kill().expect("kill");
    end(&mut memory.tracee).await;
}

async fn empty_requests(tracer: Tracer) {
    let memory = memory(&tracer).await;
    let tracee = &memory.tracee;
    for at in [memory.full, 0, u64::MAX] {
        assert_eq!(tracee.read_memory(at, &mut []).expect("nothing"), 0);
        assert_eq!(tracee.read_bytes(at, 0).expect("nothing"), []);
        assert_eq!(tracee.read_cstring(at, 0).expect("nothing"), []);
        assert_eq!(tracee.write_memory(at, &[]).expect("nothing"), 0);
    }
    memory.finish().await;
}

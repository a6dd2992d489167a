//! What a thread registers for restartable sequences is what the tracer reads.

use tracehound::{Event, Tracer};
use tracehound_tests::{end, if_there_is, in_each_place, line, lines, next_mark, puppet, start};

in_each_place! { registered_by_itself, registered_by_its_library }

async fn registered_by_itself(tracer: Tracer) {
    let mut command = puppet!("rseq");
    // Else the C library is first.
    let command = command.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
    let (mut tracee, mut child) = start(&tracer, command).await;
    let mut out = lines(&mut child);
    next_mark(&mut tracee).await;
    let Some(before) = if_there_is(tracee.rseq_configuration().await) else {
        end(&mut tracee).await;
        return;
    };
    assert_eq!(before, None);
    let [area, length, signature] = next_mark(&mut tracee).await;
    assert_eq!(line(&mut out).await, "0");
    let now = tracee.rseq_configuration().await.expect("there is");
    let now = now.expect("it is registered");
    assert_eq!(now.rseq_abi_pointer, area);
    assert_eq!(u64::from(now.rseq_abi_size), length);
    assert_eq!(u64::from(now.signature), signature);
    assert_eq!(now.flags, 0);
    assert!(matches!(end(&mut tracee).await, Event::Exited(e) if e.code == 0));
}

// Before its first instruction a program has nothing; then what its C library may do.
async fn registered_by_its_library(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    if let Some(before) = if_there_is(tracee.rseq_configuration().await) {
        assert_eq!(before, None);
        next_mark(&mut tracee).await;
        if let Some(now) = tracee.rseq_configuration().await.expect("there is") {
            // The kernel keeps the number of the CPU in the area, at its start.
            let cpu = tracee
                .read_bytes(now.rseq_abi_pointer, 4)
                .expect("its area");
            let cpu = u32::from_ne_bytes(cpu.try_into().expect("four bytes"));
            assert!(cpu < 1 << 16, "{cpu:#x}");
            assert!(now.rseq_abi_size >= 20);
        } else {
            eprintln!("skipped: the C library registers nothing");
        }
    }
    end(&mut tracee).await;
}

//! Words of memory and of the user area, and what only one architecture has.

use tracehound::requests::{ArchGet, ArchSet, ThreadArea};
use tracehound::{Error, Event, Tracee, Tracer};
use tracehound_tests::{end, if_there_is, in_each_place, next_mark, puppet, start};

in_each_place! {
    memory, memory_that_is_not_there, the_user_area, segments, bases, what_this_machine_lacks,
}

async fn ends_well(tracee: &mut Tracee) {
    let end = end(tracee).await;
    assert!(matches!(end, Event::Exited(e) if e.code == 0), "{end:?}");
}

async fn killed(mut tracee: Tracee) {
    tracee.control().kill().expect("kill");
    end(&mut tracee).await;
}

/// The puppet's memory: two full pages, one that may not be read, one that may only be read.
async fn memory(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("memory")).await;
    let [full, secret, fixed] = next_mark(&mut tracee).await;
    for address in [full, full + 3, full + 4092, full + 2 * 4096 - 8] {
        let bytes = tracee.read_bytes(address, 8).expect("memory");
        let word = u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
        assert_eq!(tracee.peek_data(address).await.expect("peek"), word);
        tracee.poke_data(address, !word).await.expect("poke");
        assert_eq!(tracee.peek_data(address).await.expect("peek"), !word);
        let bytes = tracee.read_bytes(address, 8).expect("memory");
        assert_eq!(bytes, (!word).to_ne_bytes());
    }
    assert_eq!(tracee.peek_data(secret).await.expect("peek") & 0xff, 0x5e);
    // The program sees it.
    tracee.poke_data(fixed, 0x42).await.expect("poke");
    let [now, ..] = next_mark(&mut tracee).await;
    assert_eq!(now, 0x42);
    killed(tracee).await;
}

async fn memory_that_is_not_there(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("memory")).await;
    let [full, ..] = next_mark(&mut tracee).await;
    // Behind the end, across it, nowhere, in the kernel, around the end of all memory.
    for address in [full + 8192, full + 8189, 0, 1 << 63, u64::MAX - 3] {
        let is =
            |error: &Error| matches!(error, Error::Memory { address: at, .. } if *at == address);
        let error = tracee
            .peek_data(address)
            .await
            .expect_err("nothing is there");
        assert!(is(&error), "{error:?}");
        let error = tracee
            .poke_data(address, 1)
            .await
            .expect_err("nothing is there");
        assert!(is(&error), "{error:?}");
    }
    killed(tracee).await;
}

async fn the_user_area(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    next_mark(&mut tracee).await;
    let Some(first) = if_there_is(tracee.peek_user(0).await) else {
        return ends_well(&mut tracee).await;
    };
    let regs = tracee.getregs().await.expect("regs");
    assert_eq!(first.to_ne_bytes(), regs.as_bytes()[..8]);
    for (at, bytes) in regs.as_bytes().chunks(8).enumerate() {
        let word = tracee.peek_user(8 * at as u64).await.expect("peek");
        assert_eq!(word.to_ne_bytes(), bytes);
        // As it is, each may be written.
        tracee.poke_user(8 * at as u64, word).await.expect("poke");
    }
    assert_eq!(tracee.getregs().await.expect("regs"), regs);
    for offset in [1, 7, 1 << 20, u64::MAX, u64::MAX - 7] {
        let error = tracee.peek_user(offset).await.expect_err("not there");
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
        let error = tracee.poke_user(offset, 0).await.expect_err("not there");
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
    }
    ends_well(&mut tracee).await;
}

async fn segments(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    let area = ThreadArea {
        entry_number: 12,
        base_addr: 0x12340,
        limit: 0xfffff,
        // 32 bits wide, in pages, usable.
        flags: 0b101_0001,
    };
    if if_there_is(tracee.set_thread_area(12, &area).await).is_some() {
        assert_eq!(tracee.thread_area(12).await.expect("area"), area);
        let other = tracee.thread_area(13).await.expect("area");
        assert_eq!((other.entry_number, other.base_addr), (13, 0));
        for number in [0, 11, 15, i32::MAX as u32, u32::MAX] {
            let error = tracee.thread_area(number).await.expect_err("not there");
            assert!(
                matches!(error, Error::InvalidArgument(_)),
                "{number}: {error:?}"
            );
            let error = tracee.set_thread_area(number, &area).await;
            let error = error.expect_err("not there");
            assert!(
                matches!(error, Error::InvalidArgument(_)),
                "{number}: {error:?}"
            );
        }
        // One of 16 bits, through which the kernel's stack would leak.
        let narrow = ThreadArea {
            flags: 0b100_0000,
            ..area
        };
        let error = tracee.set_thread_area(12, &narrow).await;
        assert!(matches!(error, Err(Error::InvalidArgument(_))), "{error:?}");
    }
    ends_well(&mut tracee).await;
}

async fn bases(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    next_mark(&mut tracee).await;
    #[cfg(target_arch = "x86_64")]
    {
        let regs = tracee.getregs().await.expect("regs");
        assert_eq!(
            tracee.arch_prctl_get(ArchGet::Fs).await.expect("fs"),
            regs.fs_base
        );
        assert_ne!(regs.fs_base, 0);
        assert_eq!(
            tracee.arch_prctl_get(ArchGet::Gs).await.expect("gs"),
            regs.gs_base
        );
        tracee
            .arch_prctl_set(ArchSet::Gs, 0x7000)
            .await
            .expect("set");
        assert_eq!(
            tracee.arch_prctl_get(ArchGet::Gs).await.expect("gs"),
            0x7000
        );
        assert_eq!(tracee.getregs().await.expect("regs").gs_base, 0x7000);
        let error = tracee.arch_prctl_set(ArchSet::Fs, u64::MAX).await;
        assert!(matches!(error, Err(Error::InvalidArgument(_))), "{error:?}");
        if let Some(mask) = if_there_is(tracee.arch_prctl_get(ArchGet::UntagMask).await) {
            // All bits of an address of the lower half count.
            assert_eq!(mask & 0x7fff_ffff_ffff, 0x7fff_ffff_ffff);
        }
        if let Some(features) = if_there_is(tracee.arch_prctl_get(ArchGet::ShadowStack).await) {
            assert_eq!(features & !3, 0);
            tracee
                .arch_prctl_set(ArchSet::LockShadowStack, 3)
                .await
                .expect("lock");
        }
        if_there_is(tracee.arch_prctl_set(ArchSet::UnlockShadowStack, 3).await);
    }
    ends_well(&mut tracee).await;
}

// An error, not a program that does not compile.
async fn what_this_machine_lacks(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    let [at, ..] = next_mark(&mut tracee).await;
    let lacks = |error: Option<Error>| {
        assert!(
            matches!(error, Some(Error::Architecture { .. })),
            "{error:?}"
        );
    };
    if cfg!(target_arch = "x86_64") {
        lacks(tracee.peek_mte_tags(at, 1).await.err());
        lacks(tracee.poke_mte_tags(at, &[1]).await.err());
    } else {
        lacks(tracee.peek_user(0).await.err());
        lacks(tracee.poke_user(0, 0).await.err());
        lacks(tracee.thread_area(12).await.err());
        lacks(tracee.arch_prctl_get(ArchGet::Fs).await.err());
        lacks(tracee.arch_prctl_set(ArchSet::Gs, 0).await.err());
        lacks(tracee.block_step().await.err());
    }
    ends_well(&mut tracee).await;
}

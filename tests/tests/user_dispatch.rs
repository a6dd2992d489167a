//! System calls that a thread wants as signals: what it set up is read, and set by the
//! tracer.

use tracehound::requests::{DispatchMode, UserDispatch};
use tracehound::{Error, Event, ResumeMode, Tracee, Tracer};
use tracehound_tests::{end, if_there_is, in_each_place, line, lines, next_mark, puppet, start};

in_each_place! { read_and_switched_off, switched_on, what_cannot_be }

/// Goes on to the end; SIGSYS, by which dispatch works, is delivered.
async fn ends_well(tracee: &mut Tracee) {
    tracee.set_resume_mode(ResumeMode::Cont);
    let end = end(tracee).await;
    assert!(matches!(end, Event::Exited(e) if e.code == 0), "{end:?}");
}

/// Goes on to the next mark, delivering signals.
async fn mark(tracee: &mut Tracee) {
    tracee.set_resume_mode(ResumeMode::Syscall);
    loop {
        match tracehound_tests::soon("a mark", futures::StreamExt::next(tracee)).await {
            Some(Event::SyscallEnter(e)) if e.call.name() == Some("getppid") => return,
            Some(event) if !event.is_terminal() => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn read_and_switched_off(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("dispatch")).await;
    let mut out = lines(&mut child);
    let Some(before) = if_there_is(tracee.syscall_user_dispatch().await) else {
        tracee.control().kill().expect("kill");
        end(&mut tracee).await;
        return;
    };
    assert_eq!(before, UserDispatch::OFF);
    let [selector, ..] = next_mark(&mut tracee).await;
    let set = tracee.syscall_user_dispatch().await.expect("dispatch");
    let expected = UserDispatch {
        mode: DispatchMode::EXCLUSIVE_ON,
        selector,
        ..UserDispatch::OFF
    };
    assert_eq!(set, expected);
    mark(&mut tracee).await;
    assert_eq!(line(&mut out).await, libc::SYS_getpgid.to_string());
    tracee
        .set_syscall_user_dispatch(&UserDispatch::OFF)
        .await
        .expect("set");
    let off = tracee.syscall_user_dispatch().await.expect("dispatch");
    assert_eq!(off, UserDispatch::OFF);
    mark(&mut tracee).await;
    assert_eq!(line(&mut out).await, "0");
    tracee
        .set_syscall_user_dispatch(&expected)
        .await
        .expect("set");
    ends_well(&mut tracee).await;
    assert_eq!(line(&mut out).await, libc::SYS_getpgid.to_string());
}

async fn switched_on(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("dispatch-by-tracer")).await;
    let mut out = lines(&mut child);
    let [selector, ..] = next_mark(&mut tracee).await;
    let on = UserDispatch {
        mode: DispatchMode::EXCLUSIVE_ON,
        selector,
        ..UserDispatch::OFF
    };
    mark(&mut tracee).await;
    assert_eq!(line(&mut out).await, "0");
    let set = if_there_is(tracee.set_syscall_user_dispatch(&on).await);
    mark(&mut tracee).await;
    let dispatched = line(&mut out).await;
    if set.is_some() {
        assert_eq!(dispatched, libc::SYS_getpgid.to_string());
        let off = tracee.set_syscall_user_dispatch(&UserDispatch::OFF).await;
        off.expect("set");
    }
    ends_well(&mut tracee).await;
    assert_eq!(line(&mut out).await, "0");
}

async fn what_cannot_be(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    let wrong = [
        UserDispatch {
            mode: DispatchMode::from_raw(77),
            ..UserDispatch::OFF
        },
        // Off, and yet with a selector; and a region that wraps around.
        UserDispatch {
            selector: 0x1000,
            ..UserDispatch::OFF
        },
        UserDispatch {
            mode: DispatchMode::EXCLUSIVE_ON,
            offset: u64::MAX - 5,
            len: 100,
            ..UserDispatch::OFF
        },
        // Not an address of a program.
        UserDispatch {
            mode: DispatchMode::EXCLUSIVE_ON,
            selector: u64::MAX - 4095,
            ..UserDispatch::OFF
        },
    ];
    for dispatch in wrong {
        match tracee.set_syscall_user_dispatch(&dispatch).await {
            Err(Error::InvalidArgument(_)) => {}
            Err(Error::Unsupported { .. } | Error::Architecture { .. }) => eprintln!("skipped"),
            other => panic!("{dispatch:?}: {other:?}"),
        }
    }
    ends_well(&mut tracee).await;
}

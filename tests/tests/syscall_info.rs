//! A system call is looked at and changed in the same way on every architecture.

use tracehound::requests::{SyscallInfo, SyscallOp};
use tracehound::{Error, Event, Tracee, Tracer};
use tracehound_tests::{
    end, if_there_is, in_each_place, line, lines, next, next_mark, puppet, start, wait,
};

in_each_place! {
    the_same_as_the_events, another_call, other_arguments, another_result, no_call_at_all,
    in_the_wrong_stop, numbers_that_no_call_has, another_number,
}

async fn info(tracee: &Tracee) -> SyscallInfo {
    tracee.syscall_info().await.expect("info")
}

/// The puppet that says its parent's id, at the entry of the call that asks for it.
async fn asking(tracer: &Tracer) -> (Tracee, tracehound::Child) {
    let (mut tracee, child) = start(tracer, &mut puppet!("say-parent")).await;
    next_mark(&mut tracee).await;
    (tracee, child)
}

async fn says(tracee: &mut Tracee, mut child: tracehound::Child) -> String {
    let mut out = lines(&mut child);
    assert!(matches!(end(tracee).await, Event::Exited(e) if e.code == 0));
    line(&mut out).await
}

// Scenarios 39 and 40
async fn the_same_as_the_events(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    let first = info(&tracee).await;
    assert_eq!(first.op, SyscallOp::None);
    let regs = tracee.getregs().await.expect("regs");
    assert_eq!(first.instruction_pointer, regs.instruction_pointer());
    assert_eq!(first.stack_pointer, regs.stack_pointer());
    // Out of its execve, and into the next call.
    tracee.syscall().await.expect("syscall");
    wait!(tracee, Event::SyscallExit(_));
    tracee.syscall().await.expect("syscall");
    let enter = wait!(tracee, Event::SyscallEnter(enter) => enter);
    let entry = info(&tracee).await;
    assert_eq!(entry.op, SyscallOp::Entry(enter.call));
    assert_eq!(entry.arch, enter.call.arch);
    assert_eq!(entry.instruction_pointer, enter.instruction_pointer);
    tracee.syscall().await.expect("syscall");
    let exit = wait!(tracee, Event::SyscallExit(exit) => exit);
    let (value, is_error) = (exit.value, exit.is_error);
    assert_eq!(info(&tracee).await.op, SyscallOp::Exit { value, is_error });
    end(&mut tracee).await;
}

// Scenario 40: getppid is asked for, getpid is made.
async fn another_call(tracer: Tracer) {
    let (mut tracee, child) = asking(&tracer).await;
    let asked = info(&tracee).await;
    let SyscallOp::Entry(call) = asked.op else {
        panic!("{asked:?}");
    };
    let mut other = asked;
    other.op = SyscallOp::Entry(tracehound::SyscallEntry {
        nr: libc::SYS_getpid as u64,
        ..call
    });
    // What it does not look at may be anything.
    other.instruction_pointer = 0;
    if if_there_is(tracee.set_syscall_info(&other).await).is_none() {
        end(&mut tracee).await;
        return;
    }
    assert!(matches!(info(&tracee).await.op, SyscallOp::Entry(c) if c.name() == Some("getpid")));
    tracee.syscall().await.expect("syscall");
    let exit = wait!(tracee, Event::SyscallExit(exit) => exit);
    // It is the call as it was entered.
    assert_eq!(exit.call, Some(call));
    let pid = tracee.tid().to_string();
    assert_eq!(says(&mut tracee, child).await, pid);
}

// Scenario 40: the arguments, all six of them.
async fn other_arguments(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("mark", 1)).await;
    next_mark(&mut tracee).await;
    let mut changed = info(&tracee).await;
    let SyscallOp::Entry(call) = &mut changed.op else {
        panic!("{changed:?}");
    };
    call.args = [u64::MAX, 2, 3, 4, 5, 0x1_2345_6789];
    let args = call.args;
    if if_there_is(tracee.set_syscall_info(&changed).await).is_some() {
        assert!(matches!(info(&tracee).await.op, SyscallOp::Entry(c) if c.args == args));
        assert_eq!(tracee.getregs().await.expect("regs").syscall_args(), args);
    }
    end(&mut tracee).await;
    assert!(child.wait().await.expect("status").success());
}

// Scenario 40: the result, at the exit.
async fn another_result(tracer: Tracer) {
    for (value, is_error, said) in [(4711, false, "4711"), (-5, true, "-5")] {
        let (mut tracee, child) = asking(&tracer).await;
        tracee.syscall().await.expect("syscall");
        wait!(tracee, Event::SyscallExit(_));
        let mut changed = info(&tracee).await;
        changed.op = SyscallOp::Exit { value, is_error };
        if if_there_is(tracee.set_syscall_info(&changed).await).is_none() {
            end(&mut tracee).await;
            return;
        }
        assert_eq!(info(&tracee).await.op, changed.op);
        // An error of getppid, which has none, reaches the program as it is: an id.
        let said = match is_error {
            true => (said.parse::<i32>().expect("a number") as u32).to_string(),
            false => said.to_string(),
        };
        assert_eq!(says(&mut tracee, child).await, said);
    }
}

// Scenario 43's neighbour: number -1 skips the call, then the result is set.
async fn no_call_at_all(tracer: Tracer) {
    let (mut tracee, child) = asking(&tracer).await;
    let mut changed = info(&tracee).await;
    if let SyscallOp::Entry(call) = &mut changed.op {
        call.nr = u64::MAX;
    }
    if if_there_is(tracee.set_syscall_info(&changed).await).is_none() {
        end(&mut tracee).await;
        return;
    }
    tracee.syscall().await.expect("syscall");
    let exit = wait!(tracee, Event::SyscallExit(exit) => exit);
    assert_eq!(
        (exit.value, exit.is_error),
        (-i64::from(libc::ENOSYS), true)
    );
    changed.op = SyscallOp::Exit {
        value: 99,
        is_error: false,
    };
    tracee.set_syscall_info(&changed).await.expect("set");
    assert_eq!(says(&mut tracee, child).await, "99");
}

async fn in_the_wrong_stop(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    let refused =
        async |tracee: &mut Tracee, info: &SyscallInfo| match tracee.set_syscall_info(info).await {
            Err(Error::WrongStop {
                request: "PTRACE_SET_SYSCALL_INFO",
                ..
            }) => {}
            Err(Error::Unsupported { since: "6.16", .. }) => eprintln!("skipped: before 6.16"),
            other => panic!("{other:?}"),
        };
    let first = info(&tracee).await;
    refused(&mut tracee, &first).await;
    let exit = SyscallInfo {
        op: SyscallOp::Exit {
            value: 1,
            is_error: false,
        },
        ..first
    };
    refused(&mut tracee, &exit).await;
    next_mark(&mut tracee).await;
    refused(&mut tracee, &exit).await;
    let entry = info(&tracee).await;
    tracee.syscall().await.expect("syscall");
    wait!(tracee, Event::SyscallExit(_));
    refused(&mut tracee, &entry).await;
    end(&mut tracee).await;
}

async fn numbers_that_no_call_has(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    next_mark(&mut tracee).await;
    let before = info(&tracee).await;
    for nr in [u64::MAX / 2, 1 << 32, 0xffff_ffff] {
        let mut changed = before;
        if let SyscallOp::Entry(call) = &mut changed.op {
            call.nr = nr;
        }
        match tracee.set_syscall_info(&changed).await {
            Err(Error::InvalidArgument(_)) => {}
            Err(Error::Unsupported { .. }) => eprintln!("skipped: before 6.16"),
            other => panic!("{nr:#x}: {other:?}"),
        }
    }
    assert_eq!(info(&tracee).await, before);
    next!(tracee, Event::Exited(_));
}

// Scenario 40: on kernels without the request, too.
async fn another_number(tracer: Tracer) {
    let (mut tracee, child) = asking(&tracer).await;
    let number = i32::try_from(libc::SYS_getpid).expect("a number");
    tracee.set_syscall_number(number).await.expect("set");
    assert!(matches!(info(&tracee).await.op, SyscallOp::Entry(c) if c.name() == Some("getpid")));
    let pid = tracee.tid().to_string();
    assert_eq!(says(&mut tracee, child).await, pid);
}

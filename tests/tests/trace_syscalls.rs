//! A filter: only the calls that were asked for stop, in whatever the program makes.

use tracehound::event::{Seccomp, SyscallEnter, SyscallExit};
use tracehound::{
    Arch, Child, Command, Error, Event, ResumeMode, Stdio, SyscallNumber, Sysno, Tid, Tracee,
    Tracer, syscalls,
};
use tracehound_tests::{
    Family, end, if_there_is, in_each_place, line, lines, next, place, puppet, run_host, soon,
    start, to_the_end,
};

in_each_place! {
    only_these_stop, an_exit_follows, in_both_modes, all_but_these, in_all_that_is_made,
    after_an_exec, before_the_exec, calls_are_skipped, old_calls, x32_calls, as_root,
    nothing_listed, all_listed, too_many, a_missing_program,
}

const NONE: [Sysno; 0] = [];

async fn ends_well(tracee: &mut Tracee) {
    let end = end(tracee).await;
    assert!(matches!(end, Event::Exited(e) if e.code == 0), "{end:?}");
}

fn is_getppid(stop: &Seccomp) -> bool {
    stop.call.sysno() == Some(Sysno::getppid)
}

async fn only_these_stop(tracer: Tracer) {
    let mut command = puppet!("mark", 3);
    command.trace_syscalls([Sysno::getppid, Sysno::getpgid]);
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    for n in 0..3 {
        let stop = next!(tracee, Event::Seccomp(stop) => stop);
        assert!(is_getppid(&stop), "{stop:?}");
        assert_eq!((stop.call.args[0], stop.data), (n, 0));
        let regs = tracee.getregs().await.expect("it is held");
        assert_eq!(regs.instruction_pointer(), stop.instruction_pointer);
    }
    next!(tracee, Event::Exited(exited) if exited.code == 0);
    assert!(
        soon("its end", child.wait())
            .await
            .expect("status")
            .success()
    );
}

async fn an_exit_follows(tracer: Tracer) {
    let mut command = puppet!("say-parent");
    command.trace_syscalls([Sysno::getppid]);
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    let mut out = lines(&mut child);
    let stop = next!(tracee, Event::Seccomp(stop) => stop);
    tracee.syscall().await.expect("it is held");
    let exit = tracehound_tests::wait!(tracee, Event::SyscallExit(exit) => exit);
    assert_eq!(exit.call, Some(stop.call));
    assert_eq!(exit.value, i64::from(std::process::id()));
    // And then only what was asked for again.
    ends_well(&mut tracee).await;
    assert_eq!(line(&mut out).await, exit.value.to_string());
}

// What stops at all calls sees those of the filter once more in between.
async fn in_both_modes(tracer: Tracer) {
    let mut command = puppet!("mark", 3);
    command.trace_syscalls([Sysno::getppid]);
    command.resume_mode(ResumeMode::Syscall);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    let (mut entered, mut asked, mut marks) = (None, None, 0);
    for event in to_the_end(&mut tracee).await {
        match event {
            Event::SyscallEnter(SyscallEnter { call, .. }) => {
                assert_eq!((entered.replace(call), asked), (None, None));
            }
            Event::Seccomp(stop) => {
                assert!(is_getppid(&stop), "{stop:?}");
                assert_eq!(entered, Some(stop.call));
                assert_eq!(asked.replace(stop.call), None);
            }
            Event::SyscallExit(SyscallExit { call, .. }) => {
                // The first is that of the execve.
                assert_eq!(call, entered.take());
                let is_mark = call.and_then(|call| call.sysno()) == Some(Sysno::getppid);
                assert_eq!(asked.take().is_some(), is_mark);
                marks += i32::from(is_mark);
            }
            Event::Exited(exited) => assert_eq!(exited.code, 0),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(marks, 3);
}

/// The names of the calls at which a run stops.
async fn stops_of(tracee: &mut Tracee) -> Vec<String> {
    let mut names = Vec::new();
    for event in to_the_end(tracee).await {
        match event {
            Event::Seccomp(stop) => {
                names.push(
                    stop.call
                        .name()
                        .map_or_else(|| stop.call.nr.to_string(), Into::into),
                );
            }
            Event::Exited(exited) => assert_eq!(exited.code, 0),
            other => panic!("{other:?}"),
        }
    }
    names
}

async fn all_but_these(tracer: Tracer) {
    let mut command = puppet!("mark", 3);
    command.trace_syscalls_except(NONE);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    let all = stops_of(&mut tracee).await;
    let is_mark = |name: &&String| *name == "getppid";
    assert_eq!(all.iter().filter(is_mark).count(), 3);
    assert_eq!(all.last().map(String::as_str), Some("exit_group"));
    command.trace_syscalls_except([Sysno::getppid, Sysno::brk]);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    let most = stops_of(&mut tracee).await;
    let other = |name: &&String| !is_mark(name) && *name != "brk";
    assert_eq!(most, all.iter().filter(other).cloned().collect::<Vec<_>>());
    // A call without a name is one of the others.
    let mut command = puppet!("unknown-call");
    command.trace_syscalls_except((0..1000).filter_map(Sysno::new));
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    assert_eq!(stops_of(&mut tracee).await, ["99999"]);
}

async fn in_all_that_is_made(tracer: Tracer) {
    for how in ["fork", "vfork", "clone", "clone3"] {
        let mut command = puppet!(how);
        command.trace_syscalls([Sysno::getppid]);
        let (tracee, mut child) = start(&tracer, &mut command).await;
        let family = Family::of(tracee).to_the_end().await;
        let [parent, born] = &family[..] else {
            panic!("{how}: {family:?}");
        };
        let stop = |event: &Event| matches!(event, Event::Seccomp(stop) if is_getppid(stop));
        assert_eq!(born.life().iter().filter(|e| stop(e)).count(), 1, "{how}");
        assert!(!parent.life().iter().any(stop), "{how}: {parent:?}");
        let status = soon("its end", child.wait()).await.expect("status");
        assert_eq!(status.code(), Some(7), "{how}");
    }
}

async fn after_an_exec(tracer: Tracer) {
    let program = env!("CARGO_BIN_EXE_puppet");
    let mut command = puppet!("posix-spawn", program, "mark", 2);
    command.trace_syscalls([Sysno::getppid]);
    let (tracee, _child) = start(&tracer, &mut command).await;
    let family = Family::of(tracee).to_the_end().await;
    let born = family.last().expect("a child").life();
    let stops = born
        .iter()
        .filter(|event| matches!(event, Event::Seccomp(_)));
    assert_eq!(stops.count(), 2, "{family:?}");
}

// The execve of the command itself, whose arguments are there to be read.
async fn before_the_exec(tracer: Tracer) {
    let mut command = puppet!("exit", 3);
    command.trace_syscalls([Sysno::execve, Sysno::setgid, Sysno::dup2, Sysno::dup3]);
    command.gid(0).stop_before_exec(true);
    let spawned = soon("spawn", tracer.spawn(command)).await;
    let (mut tracee, _child): (Tracee, Child) = spawned.expect("spawn");
    let call = next!(tracee, Event::Started(started) => started).exec;
    let stop = next!(tracee, Event::Seccomp(stop) => stop);
    assert_eq!(Some(stop.call), call);
    tracee.syscall().await.expect("it is held");
    tracehound_tests::wait!(tracee, Event::Exec(_));
    tracee.syscall().await.expect("it is held");
    let exit = tracehound_tests::wait!(tracee, Event::SyscallExit(exit) => exit);
    assert_eq!((exit.call, exit.value), (call, 0));
    next!(tracee, Event::Exited(exited) if exited.code == 3);
}

async fn calls_are_skipped(tracer: Tracer) {
    let mut command = puppet!("say-parent");
    command.trace_syscalls([Sysno::getppid]);
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    let mut out = lines(&mut child);
    next!(tracee, Event::Seccomp(_));
    tracee.set_syscall_number(-1).await.expect("it is held");
    tracee.syscall().await.expect("it is held");
    tracehound_tests::wait!(tracee, Event::SyscallExit(_));
    let mut info = tracee.syscall_info().await.expect("it is held");
    info.op = tracehound::requests::SyscallOp::Exit {
        value: 4711,
        is_error: false,
    };
    let set = tracee.set_syscall_info(&info).await;
    ends_well(&mut tracee).await;
    if if_there_is(set).is_some() {
        assert_eq!(line(&mut out).await, "4711");
    }
}

// By `int 0x80`: of the same name they stop, of the same number they do not.
async fn old_calls(tracer: Tracer) {
    if Arch::NATIVE != Arch::X86_64 {
        return;
    }
    let run = async |filter: &mut Command| {
        let (mut tracee, _child) = start(&tracer, filter).await;
        let events = to_the_end(&mut tracee).await.into_iter();
        let calls = events.filter_map(|event| match event {
            Event::Seccomp(stop) => Some(stop.call),
            _ => None,
        });
        let calls: Vec<_> = calls.filter(|call| call.arch == Arch::I386).collect();
        calls
            .iter()
            .map(|call| (call.nr, call.name()))
            .collect::<Vec<_>>()
    };
    let name = |nr| Sysno::new(nr).expect("a call");
    let mut command = puppet!("old-calls");
    let numbers = run(command.trace_syscalls([name(20), name(6)])).await;
    assert_eq!(numbers, []);
    let names = run(command.trace_syscalls([Sysno::getpid, Sysno::close])).await;
    assert_eq!(names, [(20, Some("getpid")), (6, Some("close"))]);
    let alone = [syscalls::x86::Sysno::getpid];
    assert_eq!(
        run(command.trace_syscalls(alone)).await,
        [(20, Some("getpid"))]
    );
    let but_one = run(command.trace_syscalls_except([Sysno::close])).await;
    assert_eq!(but_one, [(20, Some("getpid"))]);
}

async fn x32_calls(tracer: Tracer) {
    const NR: u64 = 0x4000_0000 | libc::SYS_getppid as u64;
    if Arch::NATIVE != Arch::X86_64 {
        return;
    }
    let mut command = puppet!("x32-call");
    command.trace_syscalls([Sysno::getppid]);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    let stop = next!(tracee, Event::Seccomp(stop) => stop);
    assert_eq!((stop.call.arch, stop.call.nr), (Arch::X86_64, NR));
    assert_eq!(stop.call.name(), Some("getppid"));
    ends_well(&mut tracee).await;
    // By its number alone; and the other one alone.
    let number = u32::try_from(NR).expect("it fits");
    command.trace_syscalls([SyscallNumber::new(Arch::X86_64, number)]);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    assert_eq!(stops_of(&mut tracee).await, ["getppid"]);
    command.trace_syscalls([syscalls::x86::Sysno::getppid]);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    ends_well(&mut tracee).await;
}

fn no_new_privs(tid: Tid) -> String {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status"));
    let status = status.expect("it is there");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NoNewPrivs:\t"));
    line.expect("the line").into()
}

// Nothing is promised where the kernel does not want it, whoever it runs as.
async fn as_root(tracer: Tracer) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: nothing was tested");
        return;
    }
    for uid in [None, Some(65_534)] {
        // In a file that everybody may run.
        let mut command = Command::new("true");
        command
            .trace_syscalls([Sysno::exit_group])
            .stdout(Stdio::null());
        uid.map(|uid| command.uid(uid));
        let (mut tracee, _child) = start(&tracer, &mut command).await;
        // As it is where the tests run.
        let own = no_new_privs(Tid::current_process());
        assert_eq!(no_new_privs(tracee.tid()), own);
        assert_eq!(stops_of(&mut tracee).await, ["exit_group"]);
    }
}

async fn nothing_listed(tracer: Tracer) {
    let mut command = puppet!("mark", 3);
    command.trace_syscalls(NONE);
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    assert_eq!(stops_of(&mut tracee).await.len(), 0);
}

async fn all_listed(tracer: Tracer) {
    let mut command = puppet!("mark", 3);
    command.trace_syscalls((0..1000).filter_map(Sysno::new));
    let (mut tracee, _child) = start(&tracer, &mut command).await;
    let all = stops_of(&mut tracee).await;
    assert!(all.len() > 20, "{all:?}");
}

async fn too_many(tracer: Tracer) {
    let mut command = puppet!("mark", 3);
    command.trace_syscalls((0..5000).map(|nr| SyscallNumber::new(Arch::NATIVE, 2 * nr)));
    let error = tracer.spawn(command).await.expect_err("too many");
    let reason = match error {
        Error::Spawn(error) => error.raw_os_error(),
        other => panic!("{other}"),
    };
    assert_eq!(reason, Some(libc::E2BIG));
}

async fn a_missing_program(tracer: Tracer) {
    let mut command = Command::new("/nonexistent/program");
    command.trace_syscalls_except(NONE);
    let error = soon("spawn", tracer.spawn(place(&mut command)))
        .await
        .expect_err("none");
    let kind = match error {
        Error::Spawn(error) => error.kind(),
        other => panic!("{other}"),
    };
    assert_eq!(kind, std::io::ErrorKind::NotFound);
}

// Without privileges the promise is made, and all else is the same.
#[tokio::test]
async fn without_privileges() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can lay privileges down: nothing was tested");
        return;
    }
    run_host(env!("CARGO_BIN_EXE_host_ordinary_user"), ["filtered"]).await;
}

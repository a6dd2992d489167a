//! A program starts as tokio's `Command` would start it, and sees nothing of its tracer.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;

use futures::StreamExt;
use nix::sys::stat::{Mode, SFlag, mknod};
use tokio::io::AsyncWriteExt;
use tracehound::{Command, Error, Event, ResumeMode, Stdio, Tracee, Tracer};
use tracehound_tests::{
    builder, end, in_each_place, lines, new_tracer, next, place, puppet, soon, start, to_the_end,
    until, wait,
};

in_each_place! {
    held_before_its_first_instruction, arguments, environment, cleared_environment, directory,
    arg0, process_group, user_and_group, another_user_leaves_the_host_dumpable, stdio_pipes, stdio_null, stdio_file, pre_exec,
    failing_pre_exec, a_command_is_used_twice, missing_programs, not_executable, bad_directory,
    an_exec_that_hangs_holds_up_nobody, one_that_is_dropped_while_its_exec_hangs_is_killed,
    nul_bytes, held_before_an_exec_that_fails, held_before_its_exec, no_stray_stop, killed_on_drop, output_is_collected,
}

/// What `puppet report` says under this command.
async fn report(tracer: &Tracer, command: &mut Command) -> Vec<String> {
    let (mut tracee, mut child) = start(tracer, command.stdout(Stdio::piped())).await;
    let mut lines = lines(&mut child);
    let said = async {
        let mut said = Vec::new();
        while let Some(line) = lines.next_line().await.expect("text") {
            said.push(line);
        }
        said
    };
    let (said, end) = futures::join!(soon("the report", said), end(&mut tracee));
    assert!(matches!(end, Event::Exited(exited) if exited.code == 0));
    assert!(soon("wait", child.wait()).await.expect("status").success());
    said
}

fn has(said: &[String], line: impl AsRef<str>) -> bool {
    said.iter().any(|said| said == line.as_ref())
}

// Scenario 1: nothing has run at the first event, and the tracee takes requests.
async fn held_before_its_first_instruction(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("exit", 3)).await;
    assert_eq!(tracee.tid(), child.id());
    assert_eq!(tracee.tgid(), child.id());
    assert_eq!(tracehound_tests::state(tracee.tid()), Some('t'));
    let start = tracee.getregs().await.expect("regs").instruction_pointer();
    // The first step ends the execve, the second is an instruction.
    assert_eq!(step(&mut tracee).await, start);
    assert_ne!(step(&mut tracee).await, start);
    assert_eq!(child.try_wait(), None);
    assert!(matches!(end(&mut tracee).await, Event::Exited(exited) if exited.code == 3));
    let status = soon("wait", child.wait()).await.expect("status");
    assert_eq!(status.code(), Some(3));
    // And again: a status is not used up.
    assert_eq!(child.wait().await.expect("status"), status);
    assert_eq!(child.try_wait(), Some(status));
}

async fn step(tracee: &mut Tracee) -> u64 {
    tracee.step().await.expect("step");
    wait!(tracee, Event::Step);
    let regs = tracee.getregs().await.expect("regs");
    regs.instruction_pointer()
}

// Scenario 1
async fn arguments(tracer: Tracer) {
    let mut command = puppet!("report", "a b", "");
    command.args(["ü", "--x=*"]);
    assert!(has(
        &report(&tracer, &mut command).await,
        "args=a b,,ü,--x=*"
    ));
}

// Scenario 1
async fn environment(tracer: Tracer) {
    let mut command = puppet!("report");
    command
        .env("ONE", "1")
        .envs([("TWO", "2 2"), ("THREE", "")])
        .env("ONE", "uno")
        .env_remove("PATH");
    let said = report(&tracer, &mut command).await;
    assert!(has(&said, "env:ONE=uno"));
    assert!(has(&said, "env:TWO=2 2"));
    assert!(has(&said, "env:THREE="));
    assert!(!said.iter().any(|line| line.starts_with("env:PATH=")));
    // The rest is inherited.
    let inherited = std::env::vars().filter(|(key, value)| {
        !["ONE", "TWO", "THREE", "PATH"].contains(&key.as_str()) && !value.contains('\n')
    });
    for (key, value) in inherited {
        assert!(has(&said, format!("env:{key}={value}")), "{key}");
    }
}

// Scenario 1
async fn cleared_environment(tracer: Tracer) {
    let mut command = puppet!("report");
    command.env("BEFORE", "1").env_clear().env("ONLY", "this");
    let said = report(&tracer, &mut command).await;
    let env: Vec<_> = said
        .iter()
        .filter(|line| line.starts_with("env:"))
        .collect();
    assert_eq!(env, ["env:ONLY=this"]);
}

// Scenario 1
async fn directory(tracer: Tracer) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().canonicalize().expect("a path");
    let said = report(&tracer, puppet!("report").current_dir(&path)).await;
    assert!(has(&said, format!("dir={}", path.display())));
}

// Scenario 1
async fn arg0(tracer: Tracer) {
    let said = report(&tracer, puppet!("report").arg0("another name")).await;
    assert!(has(&said, "name=another name"));
    let said = report(&tracer, &mut puppet!("report")).await;
    assert!(has(&said, concat!("name=", env!("CARGO_BIN_EXE_puppet"))));
}

// Scenario 1
async fn process_group(tracer: Tracer) {
    let said = report(&tracer, puppet!("report").process_group(0)).await;
    assert!(has(&said, "leads=true"));
    let said = report(&tracer, &mut puppet!("report")).await;
    assert!(has(&said, "leads=false"));
}

// Scenario 1
async fn user_and_group(tracer: Tracer) {
    if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("sh");
        command.args(["-c", "id -u; id -g; id -G"]);
        command.current_dir("/").gid(65_533).uid(65_534);
        let said = report(&tracer, &mut command).await;
        assert_eq!(said, ["65534", "65533", "65533"]);
    } else {
        same_error(
            &tracer,
            "true",
            ErrorKind::PermissionDenied,
            |ours, theirs| {
                ours.uid(65_534);
                theirs.uid(65_534);
            },
        )
        .await;
    }
}

/// A program that nobody can execute for now: its opening waits for the end of a write lease.
struct Leased {
    file: std::fs::File,
    directory: tempfile::TempDir,
}

impl Leased {
    /// Nothing where the file system has no leases.
    fn new() -> Option<Leased> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("program");
        std::fs::copy(env!("CARGO_BIN_EXE_puppet"), &path).expect("a copy");
        let file = std::fs::File::open(path).expect("it is there");
        /// As in linux/fcntl.h.
        const F_SETSIG: i32 = 10;
        // SAFETY: takes numbers. The signal that tells of whoever waits is one that is ignored.
        let leased = unsafe {
            libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG);
            libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) == 0
        };
        if !leased {
            eprintln!("skipped: no leases on the file system of the temporary directory");
        }
        leased.then_some(Leased { file, directory })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.directory.path().join("program"));
        command.args(["exit", "0"]);
        command
    }

    /// From now on everybody can. Closing the file is not enough: a child may have it, too.
    fn release(self) {
        let fd = self.file.as_raw_fd();
        // SAFETY: takes numbers.
        let released = unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
        assert_eq!(released, 0);
    }

    /// Somebody waits.
    async fn is_wanted(&self) {
        let fd = self.file.as_raw_fd();
        // SAFETY: takes numbers. While a lease is being broken it is what it will be.
        let wanted = || unsafe { libc::fcntl(fd, libc::F_GETLEASE) } != libc::F_WRLCK;
        until("an exec", wanted).await;
    }
}

// A file on a server that is gone does that.
async fn an_exec_that_hangs_holds_up_nobody(tracer: Tracer) {
    let Some(leased) = Leased::new() else {
        return;
    };
    let mut first = Box::pin(tracer.spawn(leased.command()));
    assert!(futures::poll!(&mut first).is_pending());
    leased.is_wanted().await;
    let (mut tracee, _child) = start(&tracer, &mut puppet!("exit", 0)).await;
    end(&mut tracee).await;
    assert!(futures::poll!(&mut first).is_pending());
    leased.release();
    let (mut tracee, _child) = soon("its exec", first).await.expect("it starts");
    let end = end(&mut tracee).await;
    assert!(matches!(end, Event::Exited(exited) if exited.code == 0));
}

async fn one_that_is_dropped_while_its_exec_hangs_is_killed(_: Tracer) {
    let Some(leased) = Leased::new() else {
        return;
    };
    let tracer = builder().max_tracees(1).build().expect("a tracer");
    let mut spawn = Box::pin(tracer.spawn(leased.command()));
    assert!(futures::poll!(&mut spawn).is_pending());
    leased.is_wanted().await;
    drop(spawn);
    // Its place is free when it is dead.
    let free = async {
        while let Err(error) = tracer.spawn(puppet!("exit", 0)).await {
            assert!(matches!(error, Error::TooManyTracees { .. }), "{error}");
            tokio::task::yield_now().await;
        }
    };
    soon("its place", free).await;
}

// Whoever changes its user makes its memory undumpable: that must not be the host's.
async fn another_user_leaves_the_host_dumpable(tracer: Tracer) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let before = nix::sys::prctl::get_dumpable().expect("a number");
    assert!(before);
    report(&tracer, Command::new("id").current_dir("/").uid(65_534)).await;
    report(&tracer, Command::new("id").current_dir("/").gid(65_534)).await;
    assert_eq!(nix::sys::prctl::get_dumpable(), Ok(before));
}

// Scenario 1: what goes in comes out, on all three streams.
async fn stdio_pipes(tracer: Tracer) {
    let mut command = puppet!("cat");
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    let text = "pipe\n".repeat(50_000);
    let mut input = child.stdin.take().expect("piped");
    let write = async {
        input.write_all(text.as_bytes()).await.expect("written");
        drop(input);
    };
    let all = async { futures::join!(write, end(&mut tracee), child.wait_with_output()) };
    let ((), _, output) = soon("cat", all).await;
    let output = output.expect("output");
    assert!(output.status.success());
    assert!(output.stdout == text.as_bytes());
    assert_eq!(output.stderr, format!("copied {}\n", text.len()).as_bytes());
}

// Scenario 1
async fn stdio_null(tracer: Tracer) {
    let mut command = Command::new("sh");
    command.args(["-c", "cat && echo nobody reads this"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none());
    end(&mut tracee).await;
    assert!(child.wait().await.expect("status").success());
}

// Scenario 1
async fn stdio_file(tracer: Tracer) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut command = puppet!("say-and-pause");
    command.stdout(file.reopen().expect("a file"));
    let (mut tracee, child) = start(&tracer, &mut command).await;
    tracee.cont().await.expect("cont");
    let said = || std::fs::read_to_string(file.path()).expect("text") == "ready\n";
    tracehound_tests::until("the file is written", said).await;
    child.start_kill();
    end(&mut tracee).await;
}

// Scenario 1
async fn pre_exec(tracer: Tracer) {
    let mut command = puppet!("report");
    // SAFETY: setsid takes nothing and touches no memory.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
    assert!(has(&report(&tracer, &mut command).await, "leads=true"));
}

// Scenario 1
async fn failing_pre_exec(tracer: Tracer) {
    let mut command = puppet!("report");
    // SAFETY: makes an error of a number.
    unsafe {
        command.pre_exec(|| Err(std::io::Error::from_raw_os_error(libc::EXDEV)));
    }
    let error = soon("spawn", tracer.spawn(place(&mut command)))
        .await
        .expect_err("it failed");
    let Error::Spawn(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.raw_os_error(), Some(libc::EXDEV));
}

// Scenario 1
async fn a_command_is_used_twice(tracer: Tracer) {
    let mut command = puppet!("exit", 4);
    for _ in 0..2 {
        let (mut tracee, _child) = start(&tracer, &mut command).await;
        assert!(matches!(end(&mut tracee).await, Event::Exited(exited) if exited.code == 4));
    }
}

/// The errors of tracehound and of tokio for the same command.
async fn both_errors(
    tracer: &Tracer,
    program: &str,
    change: impl Fn(&mut Command, &mut tokio::process::Command),
) -> (std::io::Error, std::io::Error) {
    let mut ours = Command::new(program);
    let mut theirs = tokio::process::Command::new(program);
    change(&mut ours, &mut theirs);
    let error = soon("spawn", tracer.spawn(ours))
        .await
        .expect_err("no spawn");
    let Error::Spawn(error) = error else {
        panic!("not an io::Error: {error:?}");
    };
    (error, theirs.spawn().expect_err("no spawn"))
}

async fn same_error(
    tracer: &Tracer,
    program: &str,
    expected: ErrorKind,
    change: impl Fn(&mut Command, &mut tokio::process::Command),
) {
    let (ours, theirs) = both_errors(tracer, program, change).await;
    assert_eq!(ours.kind(), expected, "{program}: {ours}");
    assert_eq!(ours.kind(), theirs.kind(), "{program}");
}

// Scenario 1: an io::Error of the kind that std gives.
async fn missing_programs(tracer: Tracer) {
    for program in ["/nonexistent/program", "no-such-program-in-the-path", ""] {
        same_error(&tracer, program, ErrorKind::NotFound, |_, _| {}).await;
    }
    let into = |error: Error| std::io::Error::from(error).kind();
    let error = tracer.spawn(Command::new("/nonexistent")).await;
    assert_eq!(into(error.expect_err("missing")), ErrorKind::NotFound);
}

// Scenario 1
async fn not_executable(tracer: Tracer) {
    let directory = tempfile::tempdir().expect("a directory");
    // Never open, so that a child of another test cannot keep it busy.
    let make = |name, mode| {
        let path = directory.path().join(name);
        let mode = Mode::from_bits_truncate(mode);
        mknod(&path, SFlag::S_IFREG, mode, 0).expect("a file");
        path.to_str().expect("text").to_owned()
    };
    for program in [&make("data", 0o644), "/"] {
        same_error(&tracer, program, ErrorKind::PermissionDenied, |_, _| {}).await;
    }
    let empty = make("empty", 0o755);
    let (ours, theirs) = both_errors(&tracer, &empty, |_, _| {}).await;
    assert_eq!(ours.raw_os_error(), Some(libc::ENOEXEC));
    assert_eq!(theirs.raw_os_error(), Some(libc::ENOEXEC));
}

// Scenario 1
async fn bad_directory(tracer: Tracer) {
    same_error(&tracer, "true", ErrorKind::NotFound, |ours, theirs| {
        ours.current_dir("/nonexistent");
        theirs.current_dir("/nonexistent");
    })
    .await;
    same_error(&tracer, "true", ErrorKind::NotADirectory, |ours, theirs| {
        ours.current_dir("/dev/null");
        theirs.current_dir("/dev/null");
    })
    .await;
}

// Scenario 1
async fn nul_bytes(tracer: Tracer) {
    let invalid = ErrorKind::InvalidInput;
    same_error(&tracer, "tr\0ue", invalid, |_, _| {}).await;
    same_error(&tracer, "true", invalid, |ours, theirs| {
        ours.arg("a\0b");
        theirs.arg("a\0b");
    })
    .await;
    same_error(&tracer, "true", invalid, |ours, theirs| {
        ours.env("KEY", "a\0b");
        theirs.env("KEY", "a\0b");
    })
    .await;
    same_error(&tracer, "true", invalid, |ours, theirs| {
        ours.current_dir("/\0");
        theirs.current_dir("/\0");
    })
    .await;
    same_error(&tracer, "true", invalid, |ours, theirs| {
        ours.arg0("\0");
        theirs.arg0("\0");
    })
    .await;
}

// Scenario 1: at the entry of its execve, its arguments are there to be read.
async fn held_before_its_exec(tracer: Tracer) {
    let mut command = puppet!("exit", 6);
    let spawned = tracer.spawn(command.stop_before_exec(true)).await;
    let (mut tracee, _child) = spawned.expect("spawn");
    let call = next!(tracee, Event::Started(started) => started.exec).expect("an entry");
    assert_eq!(call.name(), Some("execve"));
    let file = tracee.read_cstring(call.args[0], 4096).expect("a path");
    let file = file.strip_suffix(b"\0").expect("its end");
    assert_eq!(file, env!("CARGO_BIN_EXE_puppet").as_bytes());
    let exec = next!(tracee, Event::Exec(exec) => exec);
    assert_eq!(exec.former_tid, tracee.tid());
    assert!(matches!(end(&mut tracee).await, Event::Exited(exited) if exited.code == 6));
}

// Scenarios 1 and 15: there the exec's failure is an event like any other.
async fn held_before_an_exec_that_fails(tracer: Tracer) {
    let mut command = Command::new("/nonexistent");
    let command = command
        .stop_before_exec(true)
        .resume_mode(ResumeMode::Syscall);
    let (mut tracee, mut child) = start(&tracer, command).await;
    let exit = next!(tracee, Event::SyscallExit(exit) => exit);
    assert_eq!(exit.call.and_then(|call| call.name()), Some("execve"));
    assert_eq!(exit.errno(), Some(libc::ENOENT));
    assert!(matches!(end(&mut tracee).await, Event::Exited(exited) if exited.code == 127));
    let status = soon("wait", child.wait()).await.expect("status");
    assert_eq!(status.code(), Some(127));
}

// Scenario 2: a program that does nothing has no events but its end.
async fn no_stray_stop(tracer: Tracer) {
    for exit_stops in [false, true] {
        let mut command = puppet!("exit", 0);
        let (mut tracee, _child) = start(&tracer, command.exit_stops(exit_stops)).await;
        let events = to_the_end(&mut tracee).await;
        match (&events[..], exit_stops) {
            ([Event::Exited(_)], false) => {}
            ([Event::Exiting(exiting), Event::Exited(_)], true) => {
                assert_eq!(exiting.exit_status().code(), Some(0));
            }
            _ => panic!("{events:?}"),
        }
    }
}

/// The lines of `/proc/PID/status` that tell of signals, as a program sees its own.
fn signal_state(status: &[u8]) -> BTreeMap<String, u64> {
    // glibc's posix_spawn, which tokio's Command comes to, ignores these two of its own.
    let internal = 0b11 << 31;
    let status = String::from_utf8_lossy(status);
    let fields = status.lines().filter_map(|line| line.split_once(":\t"));
    fields
        .filter(|(key, _)| key.starts_with("Sig") || *key == "ShdPnd")
        .filter(|(key, _)| *key != "SigQ")
        .map(|(key, value)| (key, u64::from_str_radix(value, 16).expect("a set")))
        .map(|(key, set)| (key.to_owned(), set & !internal))
        .collect()
}

/// What a program sees of its own signals, started by tokio and by a tracer; the latter
/// both as a vforked and as a forked child.
async fn signals_seen(tracer: &Tracer) -> (BTreeMap<String, u64>, [BTreeMap<String, u64>; 2]) {
    let mut theirs = tokio::process::Command::new("cat");
    let theirs = theirs.arg("/proc/self/status").output().await.expect("cat");
    let mut ours = Vec::new();
    for before_exec in [false, true] {
        let mut command = Command::new("cat");
        command.arg("/proc/self/status").stdout(Stdio::piped());
        let (mut tracee, child) = start(tracer, command.stop_before_exec(before_exec)).await;
        let both = futures::future::join(end(&mut tracee), child.wait_with_output());
        let (_, output) = soon("cat", both).await;
        ours.push(signal_state(&output.expect("output").stdout));
    }
    let ours = ours.try_into().expect("two");
    (signal_state(&theirs.stdout), ours)
}

// Scenario 2: mask, ignored and caught signals, and what is pending, as if untraced.
#[tokio::test]
async fn signal_state_is_as_if_untraced() {
    let tracer = new_tracer();
    let (theirs, [vforked, forked]) = signals_seen(&tracer).await;
    assert_eq!(theirs.len(), 5);
    assert_eq!(vforked, theirs);
    assert_eq!(forked, theirs);
    tracer.shutdown().await.expect("shutdown");
}

// Scenario 2: a program inherits the mask of the thread that starts it.
#[tokio::test]
async fn signal_mask_is_inherited() {
    use nix::sys::signal::{SigSet, Signal};
    let tracer = new_tracer();
    // This thread is the test's own: nobody else sees it.
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGUSR2);
    mask.thread_block().expect("blocked");
    let (theirs, [vforked, forked]) = signals_seen(&tracer).await;
    assert_eq!(theirs["SigBlk"], 1 << (libc::SIGUSR2 - 1));
    assert_eq!(vforked, theirs);
    assert_eq!(forked, theirs);
    tracer.shutdown().await.expect("shutdown");
}

// Scenario 1
async fn killed_on_drop(tracer: Tracer) {
    let mut command = puppet!("pause");
    let (mut tracee, child) = start(&tracer, command.kill_on_drop(true)).await;
    tracee.cont().await.expect("cont");
    drop(child);
    let killed = tracehound::Signal::SIGKILL;
    assert!(matches!(end(&mut tracee).await, Event::Killed(end) if end.signal == killed));
}

// Scenario 1
async fn output_is_collected(tracer: Tracer) {
    let mut command = Command::new("sh");
    command.args(["-c", "echo out; echo err >&2; exit 9"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut tracee, child) = start(&tracer, &mut command).await;
    let follow = async { while tracee.next().await.is_some() {} };
    let both = futures::future::join(follow, child.wait_with_output());
    let output = soon("the output", both).await.1.expect("output");
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.stderr, b"err\n");
}

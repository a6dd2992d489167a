//! Why a process may not be traced: the reason that is given, in each situation that this
//! machine can make. Another user needs root to be made: without it nothing is tested.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use tracehound::Tid;
use tracehound_sys::{proc, signal_process};
use tracehound_tests::{Ward, is_root, is_traced, new_tracer, soon, state, until};

const GUISE: &str = env!("CARGO_BIN_EXE_guise");
const KEEPER: &str = env!("CARGO_BIN_EXE_keeper");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

/// A target in disguise.
async fn target(steps: &[&str]) -> Ward {
    let rest = ["--", "exec", SLEEPER];
    let command = [KEEPER, GUISE].into_iter().chain(steps.iter().copied());
    Ward::start(command.chain(rest)).await
}

/// A target in a disguise that an exec would end.
async fn bare_target(steps: &[&str]) -> Ward {
    let command = [KEEPER, GUISE].into_iter().chain(steps.iter().copied());
    Ward::start(command.chain(["--", "pause"])).await
}

/// Runs a program and gives what it says.
async fn output(program: &str, args: &[&str]) -> String {
    let mut command = tokio::process::Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = soon("a program's end", command.output())
        .await
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {args:?}: {text}{errors}"
    );
    text
}

/// What becomes of an attempt in disguise to attach.
async fn attempt(steps: &[&str], pid: Tid) -> String {
    let pid = pid.to_string();
    let args: Vec<_> = steps
        .iter()
        .copied()
        .chain(["--", "attach", &pid])
        .collect();
    output(GUISE, &args).await
}

/// Checks the reason, and what it says; `text` is a part of that.
fn assert_reason(said: &str, reason: &str, text: &str) {
    assert!(said.starts_with(reason), "not {reason}: {said}");
    let (_, explained) = said.split_once('\n').expect("two lines");
    assert!(explained.contains(text), "no {text:?}: {explained}");
}

// Scenario 7
#[tokio::test]
async fn another_user_is_named() {
    if !is_root() {
        return;
    }
    let root = target(&[]).await;
    let said = attempt(&["user=65534"], root.pid()).await;
    let text = "runs as user 0, the tracer as 65534";
    assert_reason(&said, "DifferentUser", text);
    assert_reason(&said, "DifferentUser", "CAP_SYS_PTRACE");
    let group = target(&["gid=7", "uid=65534"]).await;
    let said = attempt(&["user=65534"], group.pid()).await;
    assert_reason(
        &said,
        "DifferentGroup",
        "runs as group 7, the tracer as 65534",
    );
    // Nothing is wrong with one's own user, nor with root.
    let same = target(&["user=65534"]).await;
    assert_eq!(attempt(&["user=65534"], same.pid()).await, "attached\n");
    assert_eq!(attempt(&[], same.pid()).await, "attached\n");
}

/// A copy of a program, for everybody, with another owner and other permissions.
fn copy(program: &str, owner: u32, mode: u32) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let permissions = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), permissions).expect("ours");
    let path = directory.path().join("program");
    // By another process: what this one has open to write, a child of another test may have, too,
    // and then nobody can execute it.
    let copied = std::process::Command::new("cp")
        .arg(program)
        .arg(&path)
        .status();
    assert!(copied.expect("cp").success());
    std::os::unix::fs::chown(&path, Some(owner), Some(owner)).expect("root may");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("root may");
    (directory, path)
}

// Scenario 7: all of a set-user-ID program's ids are told.
#[tokio::test]
async fn a_setuid_program_is_another_user() {
    if !is_root() {
        return;
    }
    let (_directory, path) = copy(SLEEPER, 7, 0o4755);
    let path = path.to_str().expect("text");
    let args = [KEEPER, GUISE, "user=65534", "--", "exec", path];
    let setuid = Ward::start(args).await;
    let said = attempt(&["user=65534"], setuid.pid()).await;
    let text = "runs as user 65534 (effective 7, saved 7), the tracer as 65534";
    assert_reason(&said, "DifferentUser", text);
}

// Scenario 7
#[tokio::test]
async fn protected_memory_is_said() {
    if !is_root() {
        return;
    }
    // By its own wish; by a change of its user; by a file that it may not read.
    let asked = bare_target(&["user=65534", "dumpable=0"]).await;
    let changed = bare_target(&["user=65534"]).await;
    let (_directory, path) = copy(SLEEPER, 0, 0o711);
    let path = path.to_str().expect("text");
    let args = [KEEPER, GUISE, "user=65534", "--", "exec", path];
    let unreadable = Ward::start(args).await;
    for ward in [asked, changed, unreadable] {
        let said = attempt(&["user=65534"], ward.pid()).await;
        assert_reason(&said, "NotDumpable", "its memory is protected");
        assert_eq!(attempt(&[], ward.pid()).await, "attached\n");
    }
    let open = bare_target(&["user=65534", "dumpable=1"]).await;
    assert_eq!(attempt(&["user=65534"], open.pid()).await, "attached\n");
    // Root's, which look the same both ways.
    let root = bare_target(&["caps=0", "dumpable=0"]).await;
    assert_reason(&attempt(&["caps=0"], root.pid()).await, "NotDumpable", "");
}

// Scenario 7
#[tokio::test]
async fn a_missing_capability_is_named() {
    if !is_root() {
        return;
    }
    // CAP_KILL and CAP_NET_RAW; the tracer has one of them.
    let more = target(&["caps=2020"]).await;
    let said = attempt(&["caps=20"], more.pid()).await;
    assert_reason(
        &said,
        "MissingCapabilities",
        "it has CAP_NET_RAW, the tracer has not",
    );
    for enough in ["caps=2020", "caps=80000"] {
        assert_eq!(attempt(&[enough], more.pid()).await, "attached\n");
    }
}

// Scenario 7
#[tokio::test]
async fn another_user_namespace_is_said() {
    if !is_root() {
        return;
    }
    // From inside: of the same user as far as ids go, and of another.
    let outside = target(&[]).await;
    let said = attempt(&["userns"], outside.pid()).await;
    assert_reason(&said, "UserNamespace", "in another user namespace");
    let outside = target(&["user=65534"]).await;
    assert_reason(
        &attempt(&["userns"], outside.pid()).await,
        "UserNamespace",
        "",
    );
    // A user owns the namespaces that it has made.
    let own = bare_target(&["user=65534", "dumpable=1", "userns", "dumpable=1"]).await;
    assert_eq!(attempt(&["user=65534"], own.pid()).await, "attached\n");
    assert_eq!(attempt(&[], own.pid()).await, "attached\n");
    // Without any capability outside.
    let roots = bare_target(&["userns", "dumpable=1"]).await;
    assert_eq!(attempt(&["caps=0"], roots.pid()).await, "attached\n");
    let said = attempt(&["user=65534"], roots.pid()).await;
    assert_reason(&said, "DifferentUser", "");
}

// Scenario 7
#[tokio::test]
async fn a_blocked_system_call_is_said() {
    if !is_root() {
        return;
    }
    let ward = target(&[]).await;
    for (filter, errno) in [("seccomp=1", "EPERM"), ("seccomp=38", "ENOSYS")] {
        let said = attempt(&[filter], ward.pid()).await;
        assert_reason(&said, &format!("CallBlocked {{ errno: {errno}"), "seccomp");
    }
    assert_eq!(attempt(&[], ward.pid()).await, "attached\n");
}

// Scenario 7
#[tokio::test]
async fn security_modules_that_could_deny_are_named() {
    let modules = proc::security_modules();
    if !modules.contains(&"landlock") {
        eprintln!("Landlock is not active: nothing was tested");
        return;
    }
    let ward = Ward::start([KEEPER, SLEEPER]).await;
    let said = attempt(&["landlock"], ward.pid()).await;
    assert_reason(&said, "Denied", "landlock");
    // A tracer that is not confined may trace one that is.
    let confined = bare_target(&["landlock"]).await;
    assert_eq!(attempt(&[], confined.pid()).await, "attached\n");
}

// Scenario 7
#[tokio::test]
async fn a_kernel_thread_is_said() {
    let kernel = Tid::from_raw(2);
    if !proc::status(kernel).is_ok_and(|status| status.kernel_thread) {
        eprintln!("no kernel thread is to be seen: nothing was tested");
        return;
    }
    assert_reason(&attempt(&[], kernel).await, "KernelThread", "ftrace");
    if is_root() {
        let said = attempt(&["user=65534"], kernel).await;
        assert_reason(&said, "KernelThread", "ftrace");
    }
}

// Scenario 7: what the kernel looks at first is said first.
#[tokio::test]
async fn a_zombie_of_another_user_is_another_users() {
    if !is_root() {
        return;
    }
    let zombie = Ward::start_silent([KEEPER, "hold", SLEEPER, "exit", "3"]).await;
    until("a zombie", || state(zombie.pid()) == Some('Z')).await;
    assert_reason(&attempt(&[], zombie.pid()).await, "Zombie", "dead");
    let said = attempt(&["user=65534"], zombie.pid()).await;
    assert_reason(&said, "DifferentUser", "user 0");
}

// Scenario 7
#[tokio::test]
async fn the_tracing_process_is_named() {
    let ward = Ward::start([KEEPER, SLEEPER, "threads", "3"]).await;
    let tracer = new_tracer();
    let process = soon("attach", tracer.attach(ward.pid())).await;
    let process = process.expect("attached");
    let said = attempt(&[], ward.pid()).await;
    let own = std::process::id();
    let name = proc::comm(Tid::from(own)).expect("this process");
    let named = format!("traced already, by process {own} ({})", name.display());
    assert_reason(&said, "AlreadyTraced", &named);
    // From the process that has it already.
    let error = soon("attach", tracer.attach(ward.pid())).await;
    let said = error.expect_err("traced").to_string();
    assert!(said.contains("traced already, by this process ("), "{said}");
    drop(process);
}

// Scenario 7: an own child that was asked for, and one that another tracer has.
#[tokio::test]
async fn an_own_child_that_is_traced_is_said() {
    let tracer = new_tracer();
    let mut command = tracehound::Command::new(SLEEPER);
    command.stdout(tracehound::Stdio::null());
    let spawned = soon("spawn", tracer.spawn(command)).await;
    let (_tracee, mut child) = spawned.expect("spawned");
    for own_child in [false, true] {
        let attach = tracer.attach(child.id()).own_child(own_child);
        let error = soon("attach", attach).await.expect_err("traced");
        let said = error.to_string();
        assert!(said.contains("traced already, by this process ("), "{said}");
    }
    soon("its end", child.kill()).await.expect("a status");
    assert_eq!(
        output(GUISE, &["--", "attach-own", SLEEPER]).await,
        "attached\n"
    );
}

/// The init of a container: a pid namespace with a `/proc` of its own.
async fn container() -> Option<(Ward, Tid)> {
    if !is_root() {
        return None;
    }
    let unshare = ["unshare", "--pid", "--kill-child", "--mount-proc", SLEEPER];
    let ward = Ward::start([KEEPER].into_iter().chain(unshare)).await;
    let pid = ward.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let init = children.expect("a list").trim().parse().expect("one child");
    Some((ward, Tid::from_raw(init)))
}

/// An attempt from inside of a container.
async fn attempt_inside(init: Tid, pid: &str) -> String {
    let init = init.to_string();
    let args = ["-t", &init, "-p", "-m", GUISE, "--", "attach", pid];
    output("nsenter", &args).await
}

// Scenario 7
#[tokio::test]
async fn init_in_a_container_is_a_process_as_any_other() {
    let Some((_ward, init)) = container().await else {
        return;
    };
    assert_eq!(attempt(&[], init).await, "attached\n");
    let said = attempt(&["user=65534"], init).await;
    assert_reason(&said, "DifferentUser", "user 0");
    // Also from inside, where it is number 1 and the outside is not to be seen.
    assert_eq!(attempt_inside(init, "1").await, "attached\n");
    let outside = std::process::id().to_string();
    let said = attempt_inside(init, &outside).await;
    assert_reason(&said, "NoSuchProcess", "no process");
}

// Scenario 7
#[tokio::test]
async fn a_tracer_outside_of_the_container_has_no_name_inside() {
    let Some((_ward, init)) = container().await else {
        return;
    };
    let tracer = new_tracer();
    let mut process = soon("attach", tracer.attach(init)).await.expect("root");
    let thread = process.thread(init).expect("the leader");
    thread.control().interrupt().await.expect("it runs");
    soon("a stop", thread.wait()).await.expect("a stop");
    assert!(is_traced(init));
    let said = attempt_inside(init, "1").await;
    assert_reason(
        &said,
        "AlreadyTraced { tracer: None",
        "outside of this pid namespace",
    );
}

/// An attempt where `/proc` is changed first, by these words of a shell.
async fn attempt_behind(mount: &str, pid: Tid) -> String {
    let script = format!("{mount} && exec {GUISE} user=65534 -- attach {pid}");
    output("unshare", &["--mount", "sh", "-c", &script]).await
}

// Scenario 7
#[tokio::test]
async fn what_proc_hides_is_not_missing() {
    if !is_root() {
        return;
    }
    let ward = target(&[]).await;
    let mut behind = vec!["umount --lazy /proc"];
    // Before Linux 5.8 the option is one for all mounts.
    if proc::kernel_version() >= (5, 8) {
        behind.push("mount -t proc -o hidepid=2 proc /proc");
    }
    for mount in behind {
        let said = attempt_behind(mount, ward.pid()).await;
        assert_reason(&said, "Hidden", "/proc does not show it");
    }
    signal_process(ward.pid(), tracehound::Signal::SIGKILL).expect("there");
}

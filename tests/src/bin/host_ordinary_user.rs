//! A host that traces a set-user-ID program: `host_ordinary_user WHAT`.
//!
//! `privileged`: as root. `unprivileged`: after it has laid down its privileges.
//! `filtered`: then with a filter. `unreadable`: then a program that may be run and not read. `exec-under-way`: then one
//! that execs the set-user-ID program after it was let go, and before.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use tracehound::{Child, Command, Errno, Error, Event, Stdio, Sysno, Tracer};
use tracehound_tests::{end, lines, new_tracer, next, sibling, soon, start};

/// Nobody in particular.
const NOBODY: u32 = 65_534;

/// A copy of the puppet with these rights, where everybody can run it.
fn puppet_with(directory: &Path, mode: u32) -> PathBuf {
    let path = directory.join(format!("puppet-{mode:o}"));
    std::fs::copy(sibling("puppet"), &path).expect("a copy");
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&path, mode).expect("a mode");
    path
}

fn report(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("report").stdout(Stdio::piped());
    command
}

/// The effective user that the program says it has.
async fn user(child: &mut Child) -> u32 {
    let mut lines = lines(child);
    let mut user = None;
    while let Some(line) = soon("a line", lines.next_line()).await.expect("text") {
        let uid = line.strip_prefix("uid=");
        user = user.or(uid.and_then(|rest| rest.split(' ').next()?.parse().ok()));
    }
    user.expect("it says so")
}

async fn traced(tracer: &Tracer, program: &Path, expected: u32) {
    let (mut tracee, mut child) = start(tracer, &mut report(program)).await;
    tracee.getregs().await.expect("it is held");
    tracee.cont().await.expect("it is held");
    assert_eq!(user(&mut child).await, expected);
    let end = end(&mut tracee).await;
    assert!(
        matches!(end, Event::Exited(exited) if exited.code == 0),
        "{end:?}"
    );
}

/// Its stops are seen; its memory is not.
async fn unreadable(tracer: &Tracer, program: &Path) {
    let mut command = report(program);
    command.exit_stops(true);
    let (mut tracee, mut child) = start(tracer, &mut command).await;
    let regs = tracee.getregs().await.expect("it is held");
    let read = tracee.read_bytes(regs.stack_pointer(), 8);
    let refused = matches!(
        &read,
        Err(Error::Memory {
            source: Errno::EPERM,
            ..
        })
    );
    assert!(refused, "{read:?}");
    next!(tracee, Event::Exiting(_));
    end(&mut tracee).await;
    assert_eq!(user(&mut child).await, NOBODY);
}

async fn exec_under_way(tracer: &Tracer, program: &Path) {
    let program = program.to_str().expect("text");
    for let_go in [false, true] {
        let mut command = Command::new(sibling("puppet"));
        command
            .args(["exec", program, "report"])
            .stdout(Stdio::piped());
        let (mut tracee, mut child) = start(tracer, &mut command).await;
        if let_go {
            tracee.detach().await.expect("detached");
            assert_eq!(user(&mut child).await, 0);
        } else {
            next!(tracee, Event::Exec(_));
            tracee.cont().await.expect("it is held");
            assert_eq!(user(&mut child).await, NOBODY);
        }
        while soon("its end", tracee.next()).await.is_some() {}
    }
}

/// A filter takes the promise that nothing gains privileges.
async fn filtered(tracer: &Tracer, program: &Path) {
    let mut command = report(program);
    command.trace_syscalls([Sysno::geteuid]);
    let (mut tracee, mut child) = start(tracer, &mut command).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", tracee.tid()));
    assert!(status.expect("it is held").contains("NoNewPrivs:\t1\n"));
    next!(tracee, Event::Seccomp(stop) if stop.call.sysno() == Some(Sysno::geteuid));
    tracee.cont().await.expect("it is held");
    assert_eq!(user(&mut child).await, NOBODY);
    end(&mut tracee).await;
}

async fn check(what: &str, directory: &Path) {
    let program = puppet_with(directory, 0o4755);
    let secret = puppet_with(directory, 0o711);
    if what == "privileged" {
        // Its child is, too; the program's bit changes nothing for it.
        let tracer = new_tracer();
        let (mut tracee, mut child) = start(&tracer, report(&program).uid(NOBODY)).await;
        tracee.cont().await.expect("it is held");
        assert_eq!(user(&mut child).await, 0);
        end(&mut tracee).await;
        return;
    }
    nix::unistd::setresuid(NOBODY.into(), NOBODY.into(), NOBODY.into()).expect("root may");
    // The change has made this process one that may not be traced, and so its children.
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
    let tracer = new_tracer();
    match what {
        "unprivileged" => traced(&tracer, &program, NOBODY).await,
        "unreadable" => unreadable(&tracer, &secret).await,
        "filtered" => filtered(&tracer, &program).await,
        _ => exec_under_way(&tracer, &program).await,
    }
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

fn main() {
    let what = std::env::args().nth(1).expect("what to do");
    let directory = tempfile::tempdir().expect("a directory");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), mode).expect("a mode");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let path = directory.path().to_path_buf();
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(check(&what, &path));
    }));
    // SAFETY: only the thread that removes the directory needs its rights back.
    let _ = unsafe { libc::setresuid(0, 0, 0) };
    drop(directory);
    std::process::exit(i32::from(checked.is_err()));
}

//! The example `strace` with `--seccomp-bpf` says the same as without it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use tracehound_tests::{line, soon, state, until};

/// The system's own programs, not the shell wrappers that a user may have before them.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What has the same arguments and results in each run of a program.
const CALLS: &str = "trace=openat,open,execve,access,faccessat2,readlink,chdir,unlink,rename,\
                     pipe2,dup2,clone,clone3,vfork,fork,set_robust_list,exit,exit_group";

fn is_missing(program: &str) -> bool {
    let missing = !std::env::split_paths(PATH).any(|dir| dir.join(program).is_file());
    if missing {
        eprintln!("skipped: {program} is not installed");
    }
    missing
}

/// Runs a shell script under the example; gives what it writes to its output file.
fn strace(options: &[&str], script: &str, directory: &Path) -> (String, Output) {
    let file = directory.join("strace.out");
    let mut command = Command::new(env!("CARGO_BIN_EXE_strace"));
    command
        .args(options)
        .arg("-o")
        .arg(&file)
        .args(["--", "sh", "-c", script]);
    command.current_dir(directory).env_clear().env("PATH", PATH);
    for (name, value) in [("LC_ALL", "C"), ("HOME", "/"), ("PYTHONHASHSEED", "0")] {
        command.env(name, value);
    }
    let output = command.output().expect("it runs");
    let text = std::fs::read_to_string(&file).expect("an output");
    std::fs::remove_file(file).expect("it was there");
    (text, output)
}

/// The lines of each thread, in the order in which the threads appear, without what differs
/// between two runs: ids, addresses, the names of temporary files.
fn by_thread(text: &str) -> Vec<Vec<String>> {
    let mut order = Vec::new();
    let mut lines: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        let (tid, line) = line.split_once(' ').expect("an id and a text");
        if !lines.contains_key(tid) {
            order.push(tid);
        }
        lines.entry(tid).or_default().push(line);
    }
    let steady = |line: &&str| !line.starts_with("--- SIGCHLD");
    let normal = |line: &str| normal(line, &order);
    let threads = order
        .iter()
        .map(|tid| lines.remove(tid).unwrap_or_default());
    threads
        .map(|lines| lines.into_iter().filter(steady).map(normal).collect())
        .collect()
}

fn normal(line: &str, tids: &[&str]) -> String {
    // What is not followed has an id all the same.
    let births = ["vfork(", "fork(", "clone(", "clone3("];
    let is_birth = births.iter().any(|birth| line.starts_with(birth));
    if let Some((call, _)) = line.rsplit_once(" = ").filter(|_| is_birth) {
        return call.split('(').next().unwrap_or_default().to_string();
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_kill = line.starts_with("kill(") || line.starts_with("tgkill(");
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(len.max(first.len_utf8()));
        let temporary = out.ends_with("/tmp/") && word.starts_with("cc");
        out += match word {
            // Elsewhere it is a number like any other.
            word if is_kill && tids.contains(&word) => "TID",
            word if word.starts_with("0x") && word.len() > 6 => "ADDRESS",
            _ if temporary => "TEMPORARY",
            word => word,
        };
        rest = after;
    }
    out
}

/// Name, calls and errors of each row.
fn rows(table: &str) -> BTreeMap<String, Vec<String>> {
    let rows = table.lines().skip(2).filter(|line| !line.starts_with('-'));
    rows.map(|row| {
        let mut fields: Vec<String> = row.split_whitespace().map(Into::into).collect();
        let name = fields.pop().expect("a name");
        (name, fields.split_off(3))
    })
    .collect()
}

/// Runs the script with and without the filter, in all ways, and compares.
fn compare(script: &str, directory: &Path, calls: &str) {
    // The first one may leave something behind.
    strace(&["-f"], script, directory);
    for options in [&["-f"][..], &[], &["-f", "--remote"], &["--remote"]] {
        let options = [options, &["-e", calls]].concat();
        let filtered = [&options[..], &["--seccomp-bpf"]].concat();
        let (without, status) = strace(&options, script, directory);
        assert!(status.status.success(), "{status:?}");
        let (with, status) = strace(&filtered, script, directory);
        assert!(status.status.success(), "{status:?}");
        let (without, with) = (by_thread(&without), by_thread(&with));
        assert!(
            without.iter().map(Vec::len).sum::<usize>() > 2,
            "{without:?}"
        );
        let shown = |threads: &[Vec<String>]| {
            let lines = threads.iter().map(|lines| lines.join("\n"));
            lines.collect::<Vec<_>>().join("\n\n")
        };
        let same = with == without;
        let (with, without) = (shown(&with), shown(&without));
        assert!(
            same,
            "{options:?} {script}\n-- with:\n{with}\n-- without:\n{without}"
        );
    }
    for follow in [&["-f"][..], &[]] {
        let options = [follow, &["-c", "-e", calls]].concat();
        let filtered = [&options[..], &["--seccomp-bpf"]].concat();
        let without = rows(&strace(&options, script, directory).0);
        let with = rows(&strace(&filtered, script, directory).0);
        assert!(!without.is_empty());
        assert_eq!(with, without, "{options:?} {script}");
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn ls() {
    let directory = directory();
    std::fs::write(directory.path().join("a"), "").expect("writable");
    compare(
        "ls -l; ls /nonexistent || exec true",
        directory.path(),
        CALLS,
    );
}

#[test]
fn git_status() {
    if is_missing("git") {
        return;
    }
    let directory = directory();
    // Older than the index: git looks into a file for as long as it is as young.
    let file = std::fs::File::create(directory.path().join("a")).expect("writable");
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    file.set_modified(long_ago).expect("it is ours");
    strace(&[], "git init -q; git add a", directory.path());
    compare("git status; git status --short", directory.path(), CALLS);
}

#[test]
fn python() {
    if is_missing("python3") {
        return;
    }
    let script = "python3 -Bc 'import threading, subprocess, os
def f(): subprocess.run([\"true\"])
t = threading.Thread(target=f); t.start(); t.join()
# Its last call may come behind that.
while os.path.exists(\"/proc/self/task/%d\" % t.native_id): pass
if os.fork() == 0: os._exit(3)
os.wait()'";
    compare(script, directory().path(), CALLS);
}

#[test]
fn gcc() {
    if is_missing("gcc") {
        return;
    }
    let directory = directory();
    let source = directory.path().join("hello.c");
    std::fs::write(source, "int main(void) { return 0; }\n").expect("writable");
    compare("gcc -o hello hello.c && ./hello", directory.path(), CALLS);
}

// All calls but those that differ between two runs.
#[test]
fn all_but_some() {
    let calls = "trace=!mmap,munmap,brk,getpid,getppid,getrandom,wait4,rt_sigreturn,arch_prctl,\
                 set_tid_address,newfstatat,fstat,statx,getdents64";
    compare("ls; (exec true); :", directory().path(), calls);
    // Of which an execve is none.
    compare(
        "exec true",
        directory().path(),
        "trace=!execve,mmap,brk,getrandom,getpid,getppid,set_tid_address,arch_prctl",
    );
}

// Calls that signals interrupt, handlers, a death by a signal.
#[test]
fn signals() {
    let script = "trap 'echo got it' USR1; kill -USR1 $$; sh -c 'kill -TERM $$; :'; :";
    compare(
        script,
        directory().path(),
        "trace=kill,tgkill,rt_sigaction,write,exit_group,execve",
    );
}

#[test]
fn what_cannot_be_started() {
    let directory = directory();
    for program in ["/nonexistent/program", "nonexistent-program", "/etc/passwd"] {
        let [without, with] = [&["-f"][..], &["-f", "--seccomp-bpf"]].map(|options| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_strace"));
            command
                .args(["-e", "trace=openat"])
                .args(options)
                .arg(program);
            let output = command
                .current_dir(directory.path())
                .output()
                .expect("it runs");
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.code(), by_thread_or_message(&text))
        });
        assert_eq!(with, without, "{program}");
        assert_ne!(with.0, Some(0), "{program}");
    }
}

/// Lines of threads, or a message.
fn by_thread_or_message(text: &str) -> Vec<String> {
    let without_id = |line: &str| match line.split_once(' ') {
        Some((id, rest)) if id.parse::<i32>().is_ok() => rest.to_string(),
        _ => line.to_string(),
    };
    text.lines().map(without_id).collect()
}

#[test]
fn what_has_no_effect_is_said() {
    let directory = directory();
    let (with, output) = strace(&["--seccomp-bpf"], "true", directory.path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("every call is traced"), "{said}");
    assert!(with.contains("mmap("), "{with}");
    let mut options = vec!["--seccomp-bpf", "-e", "trace=openat,exit_group"];
    let (_, output) = strace(&options, "true", directory.path());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    // Both at once: the command has the filter, what is attached to is traced without.
    let mut other = Command::new(env!("CARGO_BIN_EXE_puppet"));
    let mut other = other
        .args(["call-on-demand"])
        .stdin(std::process::Stdio::piped());
    other = other.stdout(std::process::Stdio::null());
    let mut other = other.spawn().expect("it starts");
    let pid = other.id().to_string();
    options.extend(["-p", &pid]);
    let input = other.stdin.take();
    // The command is started when the other is traced.
    let started = directory.path().join("started");
    let ends = std::thread::spawn(move || {
        while !started.exists() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        drop(input);
        other.wait()
    });
    let (with, output) = strace(&options, ": > started", directory.path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("not enabled for processes attached"),
        "{said}"
    );
    let ended = |line: &str| line.contains("exit_group(0)");
    assert_eq!(with.lines().filter(|line| ended(line)).count(), 2, "{with}");
    assert!(ends.join().expect("no panic").expect("status").success());
}

// Without `-f` it stays for what it does not show: that would lose its calls.
#[tokio::test]
async fn what_is_not_shown_runs_on() {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_strace"));
    command.args(["--seccomp-bpf", "-e", "trace=getpgid", "--"]);
    command.args(["sh", "-c", "\"$0\" call-on-demand <&3 & echo $!"]);
    command.arg(env!("CARGO_BIN_EXE_puppet"));
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&reader);
    // SAFETY: dup2 of an open descriptor is async-signal-safe.
    unsafe {
        command.pre_exec(move || match libc::dup2(fd, 3) {
            3 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true);
    let mut strace = command.spawn().expect("it starts");
    drop(reader);
    let stdout = strace.stdout.take().expect("piped");
    let mut out = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stdout));
    let mut said = [line(&mut out).await, line(&mut out).await];
    // The shell's number, and the program's word.
    said.sort();
    assert_eq!(said[1], "ready");
    let pid: i32 = said[0].parse().expect("a pid");
    let pid = tracehound::Tid::from_raw(pid);
    until("the shell has ended", || {
        let status = tracehound_sys::proc::status(pid);
        status.is_ok_and(|status| Some(status.parent.as_raw()) != strace.id().map(|id| id as i32))
    })
    .await;
    for _ in 0..10 {
        std::io::Write::write_all(&mut writer, b"\n").expect("it reads");
        assert_eq!(line(&mut out).await, "made");
    }
    assert!(state(pid).is_some());
    drop(writer);
    let status = soon("its end", strace.wait()).await.expect("status");
    assert!(status.success(), "{status}");
}

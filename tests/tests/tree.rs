//! The example `tree`: what it writes, what it draws, and how it ends.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tracehound::{Signal, Tid};
use tracehound_sys::signal_process;
use tracehound_tests::{is_traced, soon, state, until};

const TREE: &str = env!("CARGO_BIN_EXE_tree");
const CREW: &str = env!("CARGO_BIN_EXE_crew");
const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

fn tree(command: &[&str]) -> Command {
    let mut tree = Command::new(TREE);
    tree.arg("--")
        .args(command)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    tree
}

/// Runs a command under it; gives its lines and how it ended.
async fn lines(command: &[&str]) -> (Vec<String>, ExitStatus) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut tree = Command::new(TREE);
    tree.arg("-o").arg(file.path()).arg("--").args(command);
    tree.stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let status = soon("the end", tree.status()).await.expect("it starts");
    let text = std::fs::read_to_string(file.path()).expect("text");
    (text.lines().map(str::to_string).collect(), status)
}

/// A line without what a process has used; and that.
fn split_usage(line: &str) -> (&str, Option<&str>) {
    match line.strip_suffix(" MiB)").and_then(|l| l.rsplit_once(" (")) {
        Some((line, usage)) => (line, Some(usage)),
        None => (line, None),
    }
}

/// The lines without usage and ids, which are numbers of their own in the order of their coming.
fn numbered(lines: &[String]) -> Vec<String> {
    let mut known: Vec<&str> = Vec::new();
    for line in lines {
        let tid = line.split(' ').next().expect("an id");
        if !known.contains(&tid) {
            known.push(tid);
        }
    }
    let number = |word: &str| {
        let at = known
            .iter()
            .position(|tid| *tid == word.trim_end_matches(':'));
        at.map_or(word.to_string(), |at| format!("#{at}"))
    };
    let line = |line: &String| {
        let (line, _) = split_usage(line);
        line.split(' ').map(number).collect::<Vec<_>>().join(" ")
    };
    lines.iter().map(line).collect()
}

#[tokio::test]
async fn a_line_for_each_event_in_their_order() {
    let script = format!("{PUPPET} exit 3; {PUPPET} raise 9; exit 5");
    let (lines, status) = lines(&["sh", "-c", &script]).await;
    assert_eq!(status.code(), Some(5));
    let lines = numbered(&lines);
    assert_eq!(
        lines,
        [
            &format!("#0 sh -c {script}: begins"),
            "#1 sh: begins, a child of #0",
            &format!("#1 sh: becomes {PUPPET} exit 3"),
            &format!("#1 {PUPPET} exit 3: exited with 3"),
            "#2 sh: begins, a child of #0",
            &format!("#2 sh: becomes {PUPPET} raise 9"),
            &format!("#2 {PUPPET} raise 9: killed by SIGKILL"),
            &format!("#0 sh -c {script}: exited with 5"),
        ]
    );
}

// What a thread has used is not known, so nothing is said.
#[tokio::test]
async fn processes_end_with_what_they_used() {
    let begin = std::time::Instant::now();
    let script = format!("{CREW} burn 100 {} child", 32 << 20);
    let (lines, status) =
        lines(&["sh", "-c", &format!("{script}; {PUPPET} threads 2; exit 5")]).await;
    assert_eq!(status.code(), Some(5));
    for line in &lines {
        let (event, usage) = split_usage(line);
        let of_a_process = event.contains(" with ") && !event.contains(" puppet: ");
        assert_eq!(usage.is_some(), of_a_process, "{line}");
    }
    // The shell waited for the other.
    for end in [": exited with 0", ": exited with 5"] {
        let mut usage = lines.iter().map(|line| split_usage(line));
        let usage = usage.find(|(event, usage)| usage.is_some() && event.ends_with(end));
        let (milliseconds, memory) = numbers(usage.and_then(|(_, usage)| usage).expect("both"));
        // No more than there was; the scheduler's clock is another one.
        let most = 2000.0 * begin.elapsed().as_secs_f64() + 1000.0;
        assert!((100.0..=most).contains(&milliseconds), "{lines:#?}");
        assert!((32.0..64.0).contains(&memory), "{lines:#?}");
    }
}

/// The milliseconds and the mebibytes of `12 ms, 3.4 MiB` or `1.2 s, 3.4 MiB`.
fn numbers(usage: &str) -> (f64, f64) {
    let (time, memory) = usage.split_once(", ").expect("two");
    let number = |text: &str| text.parse::<f64>().expect("a number");
    let time = match time.split_once(' ').expect("a unit") {
        (time, "ms") => number(time),
        (time, "s") => 1000.0 * number(time),
        other => panic!("{other:?}"),
    };
    (time, number(memory))
}

#[tokio::test]
async fn threads_and_an_exec_by_one_of_them() {
    let (lines, status) = lines(&[PUPPET, "exec-from-thread", PUPPET, "exit", "7"]).await;
    assert_eq!(status.code(), Some(7));
    let lines = numbered(&lines);
    let has = |line: &str| lines.iter().any(|l| l == line);
    assert!(has("#1 puppet: begins, a thread of #0"), "{lines:#?}");
    assert!(has("#2 puppet: begins, a thread of #0"), "{lines:#?}");
    let by = format!("#0 puppet: becomes {PUPPET} exit 7, by its thread #2");
    assert!(has(&by), "no {by}: {lines:#?}");
    assert_eq!(
        lines.last().expect("lines"),
        &format!("#0 {PUPPET} exit 7: exited with 7")
    );
}

#[tokio::test]
async fn it_ends_as_the_command_did() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT] {
        let (_, status) = lines(&[PUPPET, "raise", &signal.as_raw().to_string()]).await;
        assert_eq!(status.signal(), Some(signal.as_raw()));
    }
    let failed = soon("the end", tree(&["/nonexistent/program"]).output()).await;
    let failed = failed.expect("it starts");
    let said = String::from_utf8(failed.stderr).expect("text");
    let reason = "No such file or directory";
    assert_eq!(said, format!("tree: /nonexistent/program: {reason}\n"));
    assert_eq!(failed.status.code(), Some(1));
}

// Off a terminal the lines come on standard error, each when it happens.
#[tokio::test]
async fn lines_come_as_it_happens() {
    let (mut child, mut lines, pid) = paused(&[PUPPET, "pause"]).await;
    signal_process(pid, Signal::SIGSTOP).expect("it lives");
    let mut line = String::new();
    soon("a line", lines.read_line(&mut line))
        .await
        .expect("text");
    assert!(line.ends_with(": stopped by SIGSTOP\n"), "{line:?}");
    for signal in [Signal::SIGCONT, Signal::SIGKILL] {
        signal_process(pid, signal).expect("it lives");
        line.clear();
        soon("a line", lines.read_line(&mut line))
            .await
            .expect("text");
    }
    let (line, _) = split_usage(line.trim_end());
    assert!(line.ends_with(": killed by SIGKILL"), "{line:?}");
    let status = soon("its end", child.wait()).await.expect("a status");
    assert_eq!(status.signal(), Some(libc::SIGKILL));
}

// What programs call themselves is theirs to choose.
#[tokio::test]
async fn names_do_no_harm() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = directory.path().join("\x1b[2J\x1b]0;evil\x07\nfake line");
    // A copy could not be executed while a child of another test has it open to write.
    std::os::unix::fs::symlink(PUPPET, &name).expect("a link");
    let name = name.to_str().expect("text");
    let (lines, status) = lines(&[name, "exit", "\x1b[31m\u{9b}0m\r"]).await;
    // Not a number.
    assert_eq!(status.code(), Some(101));
    for line in &lines {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(
            line.split(' ')
                .next()
                .is_some_and(|id| id.parse::<i32>().is_ok()),
            "{line:?}"
        );
    }
    let begins = lines.iter().find(|line| line.ends_with(": begins"));
    let escaped = r"/\u{1b}[2J\u{1b}]0;evil\u{7}\nfake line exit \u{1b}[31m\u{9b}0m\r: begins";
    assert!(
        begins.is_some_and(|line| line.ends_with(escaped)),
        "{lines:#?}"
    );
}

/// A terminal that understands what the tree is drawn with, and nothing else.
struct Terminal {
    rows: Vec<Vec<char>>,
    width: usize,
    at: (usize, usize),
    wrap: bool,
}

impl Terminal {
    fn new(height: usize, width: usize) -> Self {
        Terminal {
            rows: vec![Vec::new(); height],
            width,
            at: (0, 0),
            wrap: true,
        }
    }

    fn down(&mut self) {
        if self.at.0 + 1 == self.rows.len() {
            self.rows.remove(0);
            self.rows.push(Vec::new());
        } else {
            self.at.0 += 1;
        }
    }

    fn put(&mut self, c: char) {
        if self.at.1 == self.width {
            if !self.wrap {
                return;
            }
            self.down();
            self.at.1 = 0;
        }
        let row = &mut self.rows[self.at.0];
        row.resize(row.len().max(self.at.1 + 1), ' ');
        row[self.at.1] = c;
        self.at.1 += 1;
    }

    fn control(&mut self, sequence: &str) {
        match sequence {
            "?7l" => self.wrap = false,
            "?7h" => self.wrap = true,
            // In the last column the cursor is on the character that was put there.
            "K" => self.rows[self.at.0].truncate(self.at.1.min(self.width - 1)),
            "J" => {
                self.rows[self.at.0].truncate(self.at.1);
                self.rows[self.at.0 + 1..].fill(Vec::new());
            }
            other => {
                let up = other
                    .strip_suffix('A')
                    .and_then(|up| up.parse::<usize>().ok());
                let up = up.unwrap_or_else(|| panic!("unexpected sequence {other:?}"));
                assert!(up <= self.at.0, "{up} lines up from line {}", self.at.0);
                self.at.0 -= up;
            }
        }
    }

    fn write(&mut self, text: &str) {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\r' => self.at.1 = 0,
                '\n' => self.down(),
                '\x1b' => {
                    assert_eq!(chars.next(), Some('['), "an unexpected escape");
                    let mut sequence = String::new();
                    for c in chars.by_ref() {
                        sequence.push(c);
                        if c.is_ascii_alphabetic() {
                            break;
                        }
                    }
                    self.control(&sequence);
                }
                c if c.is_control() => panic!("{c:?} on the terminal"),
                c => self.put(c),
            }
        }
    }

    fn screen(&self) -> Vec<String> {
        self.rows.iter().map(|row| row.iter().collect()).collect()
    }
}

const HEIGHT: u16 = 8;
const WIDTH: u16 = 60;

/// Starts a command under it on a terminal, of which it gives the other end.
fn on_a_terminal(command: &[&str]) -> (Child, tokio::fs::File) {
    let size = nix::pty::Winsize {
        ws_row: HEIGHT,
        ws_col: WIDTH,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = nix::pty::openpty(Some(&size), None).expect("a terminal");
    let same = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("a descriptor"));
    let mut tree = tree(command);
    tree.env("TERM", "xterm").stdin(same(&pty.slave));
    tree.stdout(same(&pty.slave)).stderr(same(&pty.slave));
    let child = tree.spawn().expect("it starts");
    (child, std::fs::File::from(pty.master).into())
}

/// All that comes to a terminal until nobody has it open any more.
async fn all(mut terminal: tokio::fs::File) -> String {
    let mut bytes = Vec::new();
    // It ends with an error.
    let _ = soon("the terminal's end", terminal.read_to_end(&mut bytes)).await;
    String::from_utf8(bytes).expect("text")
}

/// What is on the terminal when the command has ended.
async fn last_screen(command: &[&str]) -> (Vec<String>, ExitStatus) {
    let (mut child, terminal) = on_a_terminal(command);
    let (text, status) = futures::future::join(all(terminal), child.wait()).await;
    let mut terminal = Terminal::new(usize::from(HEIGHT), usize::from(WIDTH));
    terminal.write(&text);
    assert!(terminal.wrap, "the terminal is as it was");
    (terminal.screen(), status.expect("a status"))
}

/// A line of the screen without usage, and without the ids in it.
fn without_ids(line: &str) -> String {
    let words = split_usage(line)
        .0
        .split(' ')
        .filter(|word| word.parse::<i32>().is_err());
    words.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_tree_is_drawn_below_what_the_command_writes() {
    let script = "echo hello; (exit 3); sh -c 'true; exit 2'; printf 'a\\033[2Jb\\n' >&2; exit 4";
    let (screen, status) = last_screen(&["sh", "-c", script]).await;
    assert_eq!(status.code(), Some(4));
    let shown: Vec<String> = screen.iter().map(|line| without_ids(line)).collect();
    assert_eq!(shown[..2], ["hello", r"a\u{1b}[2Jb"], "{shown:#?}");
    assert!(shown[2].starts_with("sh -c echo hello;"), "{shown:#?}");
    assert_eq!(shown[3], "├─ sh: exited with", "{shown:#?}");
    assert_eq!(shown[4], "└─ sh -c true; exit 2: exited with", "{shown:#?}");
}

#[tokio::test]
async fn the_tree_is_no_higher_than_the_terminal() {
    let script = "for i in $(seq 60); do sleep 0.0$i & done; wait; exit 6";
    let (screen, status) = last_screen(&["sh", "-c", script]).await;
    assert_eq!(status.code(), Some(6));
    // The cursor has the last line.
    assert_eq!(screen.last().map(String::as_str), Some(""), "{screen:#?}");
    let shown: Vec<String> = screen.iter().map(|line| without_ids(line)).collect();
    assert!(shown[0].starts_with("sh -c for i in"), "{shown:#?}");
    let root = split_usage(&screen[0]).0;
    assert!(root.ends_with(": exited with 6"), "{screen:#?}");
    let leaves = shown.iter().filter(|line| line.contains("─ sleep 0.0"));
    assert_eq!(leaves.count(), usize::from(HEIGHT) - 2, "{shown:#?}");
    assert!(
        screen
            .iter()
            .all(|line| line.chars().count() <= usize::from(WIDTH))
    );
}

/// Starts a command that pauses, and gives its id once it does.
async fn paused(command: &[&str]) -> (Child, BufReader<tokio::process::ChildStderr>, Tid) {
    let mut command = tree(command);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.ends_with(": begins\n") {
        line.clear();
        soon("a line", lines.read_line(&mut line))
            .await
            .expect("text");
    }
    let pid = line.split(' ').next().and_then(|id| id.parse().ok());
    let pid = Tid::from_raw(pid.expect("an id"));
    until("it pauses", || state(pid) == Some('S')).await;
    (child, lines, pid)
}

// The first interrupt is the command's: it decides, and this waits for it.
#[tokio::test]
async fn one_interrupt_is_left_to_the_command() {
    let (mut child, _lines, pid) = paused(&[PUPPET, "pause"]).await;
    let own = Tid::from(child.id().expect("it runs"));
    signal_process(own, Signal::SIGINT).expect("it runs");
    signal_process(pid, Signal::SIGKILL).expect("it lives");
    let status = soon("its end", child.wait()).await.expect("a status");
    assert_eq!(status.signal(), Some(libc::SIGKILL));
}

// After a second one, or another signal, what is left runs on untraced.
#[tokio::test]
async fn signals_that_end_it_leave_the_command_alone() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (mut child, _lines, pid) = paused(&[PUPPET, "pause"]).await;
        let mut status = None;
        until("its end", || {
            status = child.try_wait().expect("ours");
            // Two at once are one.
            let own = child.id().map(Tid::from);
            own.is_none_or(|own| signal_process(own, signal).is_err())
        })
        .await;
        assert_eq!(
            status.and_then(|status| status.signal()),
            Some(signal.as_raw())
        );
        until("it runs on", || !is_traced(pid) && state(pid) == Some('S')).await;
        signal_process(pid, Signal::SIGKILL).expect("it lives");
    }
}

// A command that ends by the interrupt ends it, too, with all that was to be shown.
#[tokio::test]
async fn an_interrupt_ends_both_by_the_command() {
    let (mut child, mut lines, pid) = paused(&[PUPPET, "pause"]).await;
    let own = Tid::from(child.id().expect("it runs"));
    // As from a terminal.
    for process in [own, pid] {
        signal_process(process, Signal::SIGINT).expect("it runs");
    }
    let status = soon("its end", child.wait()).await.expect("a status");
    assert_eq!(status.signal(), Some(libc::SIGINT));
    let mut rest = String::new();
    soon("the rest", lines.read_to_string(&mut rest))
        .await
        .expect("text");
    let (rest, _) = split_usage(rest.trim_end());
    assert!(rest.ends_with("killed by SIGINT"), "{rest}");
}

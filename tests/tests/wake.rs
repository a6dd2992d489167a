//! Waking a thread that waits: at every instruction, and a great many times.

use futures::StreamExt;
use tokio::io::{AsyncWriteExt, Lines};
use tokio::process::{ChildStdin, ChildStdout};
use tracehound::{Command, Event, Follow, ResumeMode, Signal, Stdio, Tid, Tracee, Tracer};
use tracehound_sys::{signal_process, signal_thread};
use tracehound_tests::{new_tracer, place, soon, state, until};

const WAITER: &str = env!("CARGO_BIN_EXE_waiter");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

/// The instruction that makes a system call.
const SYSTEM_CALL: &[u8] = if cfg!(target_arch = "x86_64") {
    &[0x0f, 0x05]
} else {
    &[0x01, 0x00, 0x00, 0xd4]
};

/// This near to the system call every instruction is tried; farther away, some.
const NEAR: usize = 64;
const STRIDE: usize = 16;

/// What comes with the wake.
#[derive(Clone, Copy, Debug, PartialEq)]
enum With {
    Nothing,
    /// A handler of the host has just begun on top of the interrupted code.
    Handler,
    /// The tracee has stopped.
    Report,
    /// An alarm came before, which is the same signal, and says nothing else.
    Alarm,
}

/// Where the waiter is when the wake comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// So many instructions after the round's begin, and before the system call.
    Before(usize),
    /// Asleep in the system call.
    Inside,
    /// So many instructions after the system call has given a report.
    Behind(usize),
}

/// The program `waiter`, its waiting thread held in each round.
struct Waiter {
    tracee: Tracee,
    stdin: ChildStdin,
    lines: Lines<tokio::io::BufReader<ChildStdout>>,
    /// The address of the waiter's system call.
    call: u64,
    /// The process that it traces.
    child: Tid,
    at_mark: bool,
}

fn is_mark(event: &Event) -> bool {
    let Event::SyscallExit(exit) = event else {
        return false;
    };
    exit.call
        .is_some_and(|call| call.nr == libc::SYS_getppid as u64)
}

impl Waiter {
    async fn line(&mut self) -> String {
        let line = soon("a line", self.lines.next_line()).await;
        line.expect("text").expect("a line, not the end")
    }

    /// The waiter's next line while it runs, at most to the begin of a round.
    async fn run_to_line(&mut self) -> String {
        loop {
            let running = !self.at_mark;
            tokio::select! {
                line = self.lines.next_line() => return line.expect("text").expect("a line"),
                event = self.tracee.next(), if running => {
                    self.at_mark = is_mark(&event.expect("it lives"));
                }
            }
        }
    }

    /// Runs it to the begin of a round.
    async fn run_to_mark(&mut self) {
        while !std::mem::take(&mut self.at_mark) {
            let event = soon("the mark", self.tracee.next()).await;
            self.at_mark = is_mark(&event.expect("it lives"));
        }
    }

    async fn address(&self) -> u64 {
        self.tracee
            .getregs()
            .await
            .expect("held")
            .instruction_pointer()
    }

    /// One instruction. What the child's stop sends is not delivered: it is not what is
    /// tried here.
    async fn step(&mut self) {
        loop {
            self.tracee.step().await.expect("held");
            match soon("a step", self.tracee.wait()).await {
                Some(Event::Step) => return,
                Some(Event::Signal(stop)) if stop.signal == Signal::SIGCHLD => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Steps to the system call, or so many instructions; gives how many it were.
    async fn approach(&mut self, most: usize) -> usize {
        for steps in 0..most {
            if self.address().await == self.call {
                return steps;
            }
            self.step().await;
        }
        most
    }

    /// Gives how many instructions were stepped: fewer than asked for if there are no more.
    async fn go(&mut self, at: At) -> usize {
        match at {
            At::Before(count) => self.approach(count).await,
            At::Inside => {
                let steps = self.approach(usize::MAX).await;
                self.tracee.step().await.expect("held");
                let tid = self.tracee.tid();
                until("asleep in its wait", || state(tid) == Some('S')).await;
                steps
            }
            At::Behind(count) => {
                self.approach(usize::MAX).await;
                self.stop_child().await;
                self.step().await;
                for steps in 0..count {
                    let address = self.address().await;
                    let code = self.tracee.read_bytes(address, SYSTEM_CALL.len());
                    // To be made only when the wake is there.
                    if code.expect("code") == SYSTEM_CALL {
                        return steps;
                    }
                    self.step().await;
                }
                count
            }
        }
    }

    async fn stop_child(&self) {
        signal_process(self.child, Signal::SIGUSR1).expect("there");
        until("the child's stop", || state(self.child) == Some('t')).await;
    }

    /// Sends SIGCHLD and runs into its handler.
    async fn enter_handler(&mut self, at: At) {
        let tid = self.tracee.tid();
        signal_thread(self.tracee.tgid(), tid, Signal::SIGCHLD).expect("there");
        if at != At::Inside {
            self.tracee.step().await.expect("held");
        }
        loop {
            match soon("SIGCHLD", self.tracee.wait()).await {
                Some(Event::Signal(stop)) if stop.signal == Signal::SIGCHLD => break,
                // The end of the interrupted call.
                Some(Event::Step) => self.tracee.step().await.expect("held"),
                other => panic!("{other:?}"),
            }
        }
        self.tracee
            .step_with(Signal::SIGCHLD)
            .await
            .expect("a signal stop");
        let event = soon("the handler", self.tracee.wait()).await;
        assert!(matches!(event, Some(Event::Step)), "{event:?}");
    }

    /// The other thread interrupts this one, and says so.
    async fn wake(&mut self) {
        self.stdin.write_all(b"w").await.expect("a reader");
        assert_eq!(self.line().await, "sent");
    }

    /// The signal of an alarm comes; then the waiter runs until it sleeps again.
    async fn alarm(&mut self) {
        let tid = self.tracee.tid();
        self.tracee.set_resume_mode(ResumeMode::Cont);
        signal_thread(self.tracee.tgid(), tid, Signal::SIGURG).expect("there");
        let asleep = until("asleep in its wait", || state(tid) == Some('S'));
        tokio::select! {
            () = async { while self.tracee.next().await.is_some() {} } => panic!("it has died"),
            () = asleep => {}
        }
        self.tracee.set_resume_mode(ResumeMode::Syscall);
    }

    /// One alarm at this place, then a wake, which must not be the alarm's victim, and a
    /// report. Gives how far it came, as `go`.
    async fn alarmed_round(&mut self, at: At) -> usize {
        self.run_to_mark().await;
        let reached = self.go(at).await;
        self.alarm().await;
        self.stdin.write_all(b"w").await.expect("a reader");
        while soon("the answer", self.run_to_line()).await != "asked" {}
        let line = soon("a wake", self.run_to_line()).await;
        assert!(line.starts_with("woken "), "{line} at {at:?}");
        self.stop_child().await;
        let line = soon("a report", self.run_to_line()).await;
        assert!(line.starts_with("report "), "{line} at {at:?}");
        reached
    }

    /// One wake at this place, and one report. Gives how far it came, as `go`.
    async fn round(&mut self, at: At, with: With) -> usize {
        if with == With::Alarm {
            return self.alarmed_round(at).await;
        }
        self.run_to_mark().await;
        let reached = self.go(at).await;
        match with {
            With::Nothing | With::Alarm => {}
            With::Handler => self.enter_handler(at).await,
            With::Report if matches!(at, At::Behind(_)) => {}
            With::Report => self.stop_child().await,
        }
        self.wake().await;
        let first = soon("the first line", self.run_to_line()).await;
        let reported = with == With::Report || matches!(at, At::Behind(_));
        match first.as_str() {
            // Once, and not once more: the wait after it ends with a report.
            "woken 1" => {}
            // The report was there, and the wake is still known.
            "report 0" if reported => {}
            _ => panic!("{first} at {at:?} with {with:?}"),
        }
        if !reported {
            self.stop_child().await;
        }
        let second = soon("the second line", self.run_to_line()).await;
        let good = match first.as_str() {
            "woken 1" => second == "report 1",
            _ => second == "woken 1" || second == "woken 0",
        };
        assert!(good, "{first}, then {second} at {at:?} with {with:?}");
        reached
    }

    fn pinned(self, with: With) -> tracehound::PinnedTask<()> {
        let Waiter {
            tracee,
            stdin,
            lines,
            call,
            child,
            at_mark,
        } = self;
        tracee.spawn_pinned(move |tracee| {
            let waiter = Waiter {
                tracee,
                stdin,
                lines,
                call,
                child,
                at_mark,
            };
            waiter.rounds(with)
        })
    }

    async fn rounds(mut self, with: With) {
        // Whatever is done only once is done in this one.
        self.round(At::Inside, with).await;
        let before = self.round(At::Inside, with).await;
        assert!(before > 2, "at least the section itself");
        for steps in (0..=before).filter(|s| before - s < NEAR || s % STRIDE == 0) {
            self.round(At::Before(steps), with).await;
        }
        let mut steps = 0;
        if with == With::Alarm {
            return self.tracee.control().kill().expect("it lives");
        }
        while self.round(At::Behind(steps), with).await == steps {
            steps += if steps < NEAR { 1 } else { STRIDE };
        }
        assert!(steps > 1, "at least the return");
        self.tracee.control().kill().expect("it lives");
    }
}

async fn wake_everywhere(with: With) {
    let tracer = new_tracer();
    let mut command = Command::new(WAITER);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .follow(Follow::Threads)
        .resume_mode(ResumeMode::Syscall);
    match with {
        With::Handler => drop(command.arg("handler")),
        With::Alarm => drop(command.arg("alarm")),
        _ => {}
    }
    let (mut tracee, mut child) = soon("spawn", tracer.spawn(place(&mut command)))
        .await
        .expect("spawn");
    let birth = loop {
        let event = soon("a thread", tracee.next()).await.expect("it lives");
        if let Event::Clone(birth) = event {
            break birth;
        }
    };
    let mut waker = tracee.take_child(&birth).expect("not taken");
    waker.set_resume_mode(ResumeMode::Cont);
    tokio::spawn(async move { while waker.next().await.is_some() {} });
    let stdout = child.stdout.take().expect("piped");
    let mut waiter = Waiter {
        tracee,
        stdin: child.stdin.take().expect("piped"),
        lines: tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stdout)),
        call: 0,
        child: Tid::from_raw(0),
        at_mark: false,
    };
    let line = soon("its first line", waiter.run_to_line()).await;
    let numbers: Vec<u64> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let [_, end, child] = numbers[..] else {
        panic!("{line}");
    };
    waiter.call = end - SYSTEM_CALL.len() as u64;
    waiter.child = Tid::from_raw(child as i32);
    let task = waiter.pinned(with);
    task.await.unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn a_wake_at_any_instruction_ends_one_wait() {
    wake_everywhere(With::Nothing).await;
}

#[tokio::test]
async fn a_wake_under_a_handler_of_the_host_ends_one_wait() {
    wake_everywhere(With::Handler).await;
}

#[tokio::test]
async fn an_alarm_at_any_instruction_silences_no_wake() {
    wake_everywhere(With::Alarm).await;
}

#[tokio::test]
async fn a_wake_beside_a_report_loses_neither() {
    wake_everywhere(With::Report).await;
}

// Every request from elsewhere wakes the tracer thread, which has other work to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_requests_is_answered() {
    const REQUESTS: usize = 50_000;
    let tracer = new_tracer();
    let busy = |tracer: Tracer| async move {
        let mut command = Command::new(SLEEPER);
        command
            .arg("calls")
            .stdout(Stdio::null())
            .resume_mode(ResumeMode::Syscall);
        let (mut tracee, child) = tracer.spawn(place(&mut command)).await.expect("spawn");
        let control = tracee.control();
        let task = tokio::spawn(async move { while tracee.next().await.is_some() {} });
        (task, control, child)
    };
    let (first, second) = tokio::join!(busy(tracer.clone()), busy(tracer.clone()));
    let mut threads = Vec::new();
    for _ in 0..4 {
        let spawned = tracer.spawn(Command::new("true")).await;
        let (tracee, child) = spawned.expect("spawn");
        threads.push(tokio::task::spawn_blocking(move || {
            let child = child;
            futures::executor::block_on(async move {
                let regs = tracee.getregs().await.expect("held");
                for _ in 1..REQUESTS {
                    assert_eq!(tracee.getregs().await.expect("held"), regs);
                }
                child.start_kill();
            });
        }));
    }
    for thread in threads {
        soon("the answers", thread).await.expect("no panic");
    }
    for (task, control, _child) in [first, second] {
        control.kill().expect("it lives");
        soon("its end", task).await.expect("no panic");
    }
}

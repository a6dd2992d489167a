//! Every future dropped at every one of its polls: what the documentation says is lost, is
//! lost, and nothing else. Scenario 48 throughout; see also `drops.rs`.

use std::time::Duration;

use futures::StreamExt;
use tracehound::requests::{
    ArchGet, ArchSet, HardwareBreakpoint, RegSet, SignalQueue, SyscallOp, ThreadArea, UserDispatch,
};
use tracehound::{Child, Command, Error, Event, LetGo, PinnedTask, ResumeMode, Signal, Stdio};
use tracehound::{Tid, Tracee, Tracer};
use tracehound_sys::{proc, signal_process};
use tracehound_tests::{
    Ward, end, in_each_place, is_traced, line, lines, new_tracer, own_threads, poll_and_drop, soon,
    start, state, tasks, until, wait,
};

const KEEPER: &str = env!("CARGO_BIN_EXE_keeper");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

/// More polls than any future here needs.
const MOST: usize = 200;

fn sleeper(args: &[&str]) -> Command {
    let mut command = Command::new(SLEEPER);
    command.args(args).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

/// A tracee that sleeps in a system call.
async fn sleeping(tracer: &Tracer) -> (Tracee, Child) {
    let (mut tracee, mut child) = start(tracer, &mut sleeper(&[])).await;
    let mut lines = lines(&mut child);
    tracee.cont().await.expect("held");
    assert_eq!(line(&mut lines).await, "ready");
    (tracee, child)
}

/// The same, in a signal-delivery-stop.
async fn in_signal_stop(tracer: &Tracer) -> (Tracee, Child) {
    let (mut tracee, child) = sleeping(tracer).await;
    signal_process(tracee.tid(), Signal::SIGUSR2).expect("it lives");
    wait!(tracee, Event::Signal(_));
    (tracee, child)
}

/// Drops a future at its first poll, at its second and so on; after each, looks whether all is
/// well. The last time it has completed.
macro_rules! at_every_poll {
    ($future:expr => $then:expr) => {{
        let mut polls = 0;
        loop {
            let done = poll_and_drop($future, polls).await.is_some();
            $then;
            if done {
                break;
            }
            polls += 1;
            assert!(polls < MOST, "{} does not end", stringify!($future));
        }
    }};
}

/// Requests that were sent are made, the others are not; the tracee stays held.
async fn a_held_tracee_stays_held(tracer: Tracer) {
    let (mut tracee, mut child) = in_signal_stop(&tracer).await;
    let regs = tracee.getregs().await.expect("held");
    let fpregs = tracee.getfpregs().await.expect("held");
    let info = tracee.getsiginfo().await.expect("a signal");
    let mask = tracee.getsigmask().await.expect("held");
    let set = tracee.getregset(RegSet::PRSTATUS).await.expect("held");
    let stack = regs.stack_pointer();
    let word = tracee.peek_data(stack).await.expect("a stack");
    let options = tracee.options();
    let (second, control) = (Duration::from_secs(1), tracee.control());
    macro_rules! each {
        ($($call:expr),* $(,)?) => {
            $(at_every_poll!($call => {
                assert_eq!(tracee.getregs().await.expect("held"), regs, stringify!($call));
            });)*
        };
    }
    each!(
        tracee.getregs(),
        tracee.setregs(&regs),
        tracee.getfpregs(),
        tracee.setfpregs(&fpregs),
        tracee.getxstate(),
        tracee.getregset(RegSet::PRSTATUS),
        tracee.setregset(RegSet::PRSTATUS, &set),
        tracee.getsiginfo(),
        tracee.setsiginfo(&info),
        tracee.pending_signals(SignalQueue::Thread),
        tracee.peek_siginfo(SignalQueue::Thread, 0, 8),
        tracee.getsigmask(),
        tracee.setsigmask(mask),
        tracee.syscall_info(),
        tracee.syscall_user_dispatch(),
        tracee.rseq_configuration(),
        tracee.peek_data(stack),
        tracee.poke_data(stack, word),
        tracee.peek_user(0),
        tracee.seccomp_filters(),
        tracee.seccomp_filter(0),
        tracee.seccomp_metadata(0),
        tracee.hardware_breakpoints(),
        tracee.fired_hardware_breakpoints(),
        tracee.set_options(options),
        tracee.read_bytes_guarded(stack, 8, second),
        tracee.read_cstring_guarded(stack, 8, second),
        tracee.write_memory_guarded(stack, word.to_ne_bytes(), second),
        control.interrupt(),
        control.read_bytes_guarded(stack, 8, second),
    );
    let event = soon("a stop", tracee.wait());
    assert!(
        futures::FutureExt::now_or_never(event).is_none(),
        "no event came of it"
    );
    // What was sent is done, whether or not anybody waits for the answer; what was not, is not.
    for (polls, expected) in [(0, word), (1, !word)] {
        drop(poll_and_drop(tracee.poke_data(stack, !word), polls).await);
        assert_eq!(tracee.peek_data(stack).await.expect("held"), expected);
    }
    tracee.poke_data(stack, word).await.expect("held");
    tracee.cont().await.expect("held");
    control.kill().expect("it lives");
    assert!(matches!(end(&mut tracee).await, Event::Killed(_)));
    soon("its end", child.wait()).await.expect("a status");
}

/// A resume is made at the first poll, and not before.
async fn a_resume_is_made_once(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut sleeper(&["spin"])).await;
    macro_rules! each {
        ($($call:expr => $event:pat),* $(,)?) => {
            $(
                assert!(poll_and_drop($call, 0).await.is_none());
                tracee.getregs().await.expect("still held");
                drop(poll_and_drop($call, 1).await);
                wait!(tracee, $event);
            )*
        };
    }
    for _ in 0..20 {
        each!(
            tracee.step() => Event::Step,
            tracee.syscall() => Event::SyscallExit(_) | Event::SyscallEnter(_),
        );
    }
    tracee.set_resume_mode(ResumeMode::Step);
    for polls in 0..40 {
        match poll_and_drop(tracee.next(), polls % 5).await {
            Some(event) => assert!(matches!(event, Some(Event::Step)), "{event:?}"),
            None if polls % 5 == 0 => drop(tracee.getregs().await.expect("still held")),
            None => wait!(tracee, Event::Step),
        }
    }
    let control = tracee.control();
    for _ in 0..20 {
        tracee.cont().await.expect("held");
        at_every_poll!(tracee.wait() => {
            // Nothing comes until it is asked for.
            drop(poll_and_drop(control.interrupt(), 1).await);
        });
        tracee.getregs().await.expect("held");
    }
    soon("its end", child.kill()).await.expect("a status");
}

/// The requests of one architecture, of late kernels and of one kind of stop: where there is
/// no such thing, a refusal may be dropped as well.
async fn a_rare_request_may_be_dropped(tracer: Tracer) {
    let (mut tracee, mut child) = in_signal_stop(&tracer).await;
    let regs = tracee.getregs().await.expect("held");
    let xstate = tracee.getxstate().await;
    let stack = regs.stack_pointer();
    let word = tracee.peek_user(0).await;
    let watch = HardwareBreakpoint::execute(0x1000);
    let area = ThreadArea {
        entry_number: 12,
        base_addr: 0,
        limit: 0xfffff,
        flags: 0b101_0001,
    };
    macro_rules! each {
        ($($call:expr),* $(,)?) => {
            $(at_every_poll!($call => {
                assert_eq!(tracee.getregs().await.expect("held"), regs, stringify!($call));
            });)*
        };
    }
    if let (Ok(xstate), Ok(word)) = (xstate, word) {
        each!(tracee.setxstate(&xstate), tracee.poke_user(0, word));
    }
    if let Ok(base) = tracee.arch_prctl_get(ArchGet::Gs).await {
        each!(tracee.arch_prctl_set(ArchSet::Gs, base));
    }
    each!(
        tracee.arch_prctl_get(ArchGet::Fs),
        tracee.thread_area(12),
        tracee.set_thread_area(12, &area),
        tracee.set_syscall_user_dispatch(&UserDispatch::OFF),
        tracee.peek_mte_tags(stack, 1),
        tracee.poke_mte_tags(stack, &[0]),
        tracee.set_hardware_breakpoint(&watch),
        tracee.clear_hardware_breakpoint(&watch),
    );
    soon("its end", child.kill()).await.expect("a status");
}

/// A system call is changed as soon as that was sent.
async fn a_changed_call_stays_changed(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut sleeper(&["spin"])).await;
    tracee.set_resume_mode(ResumeMode::Syscall);
    while !matches!(
        soon("a call", tracee.next()).await,
        Some(Event::SyscallEnter(_))
    ) {}
    let number = async |tracee: &Tracee| match tracee.syscall_info().await.expect("held").op {
        SyscallOp::Entry(call) => call.nr,
        other => panic!("{other:?}"),
    };
    let before = tracee.syscall_info().await.expect("held");
    let was = number(&tracee).await;
    for (polls, expected) in [(0, was), (1, libc::SYS_getppid as u64)] {
        let change = tracee.set_syscall_number(libc::SYS_getppid as i32);
        drop(poll_and_drop(change, polls).await);
        assert_eq!(number(&tracee).await, expected);
    }
    if tracee.set_syscall_info(&before).await.is_ok() {
        tracee
            .set_syscall_number(libc::SYS_getppid as i32)
            .await
            .expect("held");
        for (polls, expected) in [(0, libc::SYS_getppid as u64), (1, was)] {
            drop(poll_and_drop(tracee.set_syscall_info(&before), polls).await);
            assert_eq!(number(&tracee).await, expected);
        }
    }
    at_every_poll!(tracee.set_syscall_number(was as i32) => {
        tracee.getregs().await.expect("held");
    });
    at_every_poll!(tracee.set_syscall_info(&before) => {
        tracee.getregs().await.expect("held");
    });
    soon("its end", child.kill()).await.expect("a status");
}

/// The resumes of one kind of stop: made at the first poll, and not before.
async fn a_rare_resume_is_made_once(tracer: Tracer) {
    let user = Signal::SIGUSR2;
    macro_rules! from_signal_stop {
        ($($method:ident),*) => {
            $({
                let (mut tracee, mut child) = in_signal_stop(&tracer).await;
                assert!(poll_and_drop(tracee.$method(user), 0).await.is_none());
                tracee.getregs().await.expect("still held");
                drop(poll_and_drop(tracee.$method(user), 1).await);
                // Its action is to end the process.
                wait!(tracee, Event::Killed(_));
                soon("its end", child.wait()).await.expect("a status");
            })*
        };
    }
    from_signal_stop!(cont_with, syscall_with);
    let (mut tracee, mut child) = in_signal_stop(&tracer).await;
    signal_process(tracee.tid(), Signal::SIGSTOP).expect("it lives");
    tracee.cont().await.expect("held");
    wait!(tracee, Event::Signal(_));
    tracee.cont_with(Signal::SIGSTOP).await.expect("held");
    wait!(tracee, Event::GroupStop(_));
    assert!(poll_and_drop(tracee.listen(), 0).await.is_none());
    tracee.getregs().await.expect("still held");
    drop(poll_and_drop(tracee.listen(), 1).await);
    let error = tracee.getregs().await.expect_err("it listens");
    assert!(matches!(error, Error::Running(_)), "{error:?}");
    soon("its end", child.kill()).await.expect("a status");
}

/// A detach that was sent is made.
async fn a_detach_cannot_be_recalled(tracer: Tracer) {
    for running in [false, true] {
        for polls in 0.. {
            let (mut tracee, mut child) = match running {
                true => sleeping(&tracer).await,
                false => in_signal_stop(&tracer).await,
            };
            let done = match polls % 2 == 0 || running {
                true => poll_and_drop(tracee.detach(), polls).await,
                false => poll_and_drop(tracee.detach_with(Signal::SIGUSR2), polls).await,
            };
            if polls == 0 {
                assert!(is_traced(child.id()));
                continue;
            }
            wait!(tracee, Event::Detached);
            assert!(soon("nothing", tracee.next()).await.is_none());
            assert!(!is_traced(child.id()));
            soon("its end", child.kill()).await.expect("a status");
            if done.is_some() && polls > 1 {
                break;
            }
            assert!(polls < MOST);
        }
    }
}

/// A trip that is dropped leaves the tracee held, or with an event to come.
async fn a_trip_may_be_dropped(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut sleeper(&["spin"])).await;
    let control = tracee.control();
    let steps = async |tracee: &mut Tracee| {
        for _ in 0..20 {
            tracee.step().await?;
            tracee.wait().await;
            tokio::task::yield_now().await;
        }
        tracee.getregs().await
    };
    at_every_poll!(tracee.pinned(steps) => {
        soon("an answer", control.interrupt()).await.expect("it lives");
        while let Err(error) = tracee.getregs().await {
            assert!(matches!(error, Error::Running(_)), "{error:?}");
            soon("a stop", tracee.wait()).await.expect("it lives");
        }
    });
    soon("its end", child.kill()).await.expect("a status");
}

/// A child's end is not lost with a wait for it.
async fn a_childs_end_is_told_again(tracer: Tracer) {
    for polls in 0..6 {
        let (mut tracee, mut child) = start(&tracer, &mut sleeper(&["exit", "6"])).await;
        drop(poll_and_drop(child.wait(), polls.min(1)).await);
        tracee.detach().await.expect("held");
        drop(poll_and_drop(child.wait(), polls).await);
        let status = soon("its end", child.wait()).await.expect("a status");
        assert_eq!(status.code(), Some(6));
        let (_tracee, mut child) = start(&tracer, &mut sleeper(&[])).await;
        let polls = polls + 1;
        drop(poll_and_drop(child.kill(), polls).await);
        soon("its end", child.wait()).await.expect("a status");
        // The handle goes with this one.
        let (_tracee, child) = start(&tracer, &mut sleeper(&[])).await;
        let pid = child.id();
        drop(poll_and_drop(child.wait_with_output(), 1).await);
        until("no process", || state(pid).is_none()).await;
    }
}

in_each_place!(
    a_held_tracee_stays_held,
    a_resume_is_made_once,
    a_rare_request_may_be_dropped,
    a_changed_call_stays_changed,
    a_rare_resume_is_made_once,
    a_detach_cannot_be_recalled,
    a_trip_may_be_dropped,
    a_childs_end_is_told_again,
);

async fn is_free(pid: Tid) {
    let free = |tid| !is_traced(tid) && state(tid) != Some('t');
    until("free threads", || tasks(pid).into_iter().all(free)).await;
}

// Stopping, letting run and detaching all threads.
#[tokio::test]
async fn a_process_is_left_as_it_says() {
    let ward = Ward::start([KEEPER, SLEEPER, "threads", "9"]).await;
    until("9 threads", || tasks(ward.pid()).len() == 9).await;
    let tracer = new_tracer();
    let attach = async || {
        let attached = soon("attach", tracer.attach(ward.pid())).await;
        attached.expect("attached")
    };
    let mut process = attach().await;
    at_every_poll!(process.stop_all() => {
        soon("stop", process.stop_all()).await.expect("stopped");
        for tracee in process.threads() {
            tracee.getregs().await.expect("held");
        }
        drop(poll_and_drop(process.resume_all(), 1).await);
        // After what was queued.
        soon("an answer", tracer.attach(0)).await.expect_err("nobody");
        until("running", || tasks(ward.pid()).into_iter().all(|t| state(t) != Some('t'))).await;
    });
    // Stopped in part, then let run.
    for polls in 0..4 {
        drop(poll_and_drop(process.stop_all(), polls).await);
        process.resume_all().await.expect("not shut down");
        soon("an answer", tracer.attach(0))
            .await
            .expect_err("nobody");
        until("running", || {
            tasks(ward.pid()).into_iter().all(|t| state(t) != Some('t'))
        })
        .await;
    }
    drop(process);
    is_free(ward.pid()).await;
    for polls in 0..MOST {
        let mut process = attach().await;
        let done = poll_and_drop(process.detach(), polls).await.is_some();
        if polls == 0 {
            assert!(is_traced(ward.pid()));
            drop(process);
        } else {
            let ends: Vec<_> = soon("the ends", process.collect()).await;
            assert_eq!(ends.len(), 9, "{ends:?}");
        }
        is_free(ward.pid()).await;
        if done {
            break;
        }
    }
}

#[tokio::test]
async fn a_dropped_attach_leaves_nothing_attached() {
    let ward = Ward::start([KEEPER, SLEEPER, "threads", "5"]).await;
    until("5 threads", || tasks(ward.pid()).len() == 5).await;
    let tracer = new_tracer();
    for mode in [ResumeMode::Cont, ResumeMode::Syscall] {
        at_every_poll!(tracer.attach(ward.pid()).resume_mode(mode).into_future() => {
            soon("an answer", tracer.attach(0)).await.expect_err("nobody");
            is_free(ward.pid()).await;
        });
        at_every_poll!(tracer.attach_thread(ward.pid()).resume_mode(mode).into_future() => {
            soon("an answer", tracer.attach(0)).await.expect_err("nobody");
            is_free(ward.pid()).await;
        });
    }
}

// A spawn is killed, or was ready; a tree is felled.
#[tokio::test]
async fn a_dropped_spawn_leaves_no_process() {
    let tracer = new_tracer();
    let children = || {
        let lists = own_threads().into_iter().filter_map(|tid| {
            std::fs::read_to_string(format!("/proc/self/task/{tid}/children")).ok()
        });
        lists.collect::<String>()
    };
    at_every_poll!(tracer.spawn(&mut sleeper(&[])) => {
        until("no child", || children().is_empty()).await;
    });
    let logic = |mut tracee: Tracee| async move { while tracee.next().await.is_some() {} };
    at_every_poll!(tracer.trace(&mut sleeper(&["births", "3"]), logic) => {
        until("no child", || children().is_empty()).await;
    });
}

// A shutdown goes on, and may be awaited again.
#[tokio::test]
async fn a_dropped_shutdown_goes_on() {
    for how in [LetGo::Detach, LetGo::Kill] {
        for polls in 0..MOST {
            let tracer = new_tracer();
            let (mut tracee, mut child) = sleeping(&tracer).await;
            let thread = proc::status(child.id()).expect("it lives").tracer;
            let done = poll_and_drop(tracer.shutdown_by(how), polls).await;
            if polls == 0 {
                assert!(is_traced(child.id()));
                soon("shutdown", tracer.shutdown_by(how))
                    .await
                    .expect("shutdown");
            }
            match soon("the end", tracee.wait()).await {
                Some(Event::Detached) => assert_eq!(how, LetGo::Detach),
                Some(Event::Killed(_)) => assert_eq!(how, LetGo::Kill),
                other => panic!("{other:?}"),
            }
            drop(poll_and_drop(tracer.shutdown(), polls).await);
            soon("shutdown", tracer.shutdown()).await.expect("shutdown");
            assert!(!own_threads().contains(&thread), "joined");
            soon("its end", child.kill()).await.expect("a status");
            if done.is_some() {
                break;
            }
        }
    }
}

// Nobody need wait for a pinned task.
#[tokio::test]
async fn a_pinned_task_runs_on_unawaited() {
    let tracer = new_tracer();
    for polls in 0..4 {
        let (tracee, mut child) = start(&tracer, &mut sleeper(&["calls", "50"])).await;
        let task: PinnedTask<usize> = tracee.spawn_pinned(|mut tracee| async move {
            tracee.set_resume_mode(ResumeMode::Syscall);
            tracee.count().await
        });
        drop(poll_and_drop(task, polls).await);
        let status = soon("its end", child.wait()).await.expect("a status");
        assert!(status.success());
    }
}

// Timeouts, select! and aborted tasks are drops.
#[tokio::test]
async fn timeouts_and_aborts_are_drops() {
    let tracer = new_tracer();
    let mut command = sleeper(&["calls", "300"]);
    command.resume_mode(ResumeMode::Syscall);
    let (mut tracee, mut child) = start(&tracer, &mut command).await;
    let (mut enters, mut exits) = (0, 0);
    loop {
        let event = tokio::select! {
            biased;
            () = tokio::task::yield_now() => match tokio::time::timeout(Duration::ZERO, tracee.next()).await {
                Ok(event) => event,
                Err(_) => soon("an event", tracee.wait()).await,
            },
            event = tracee.next() => event,
        };
        match event {
            Some(Event::SyscallEnter(_)) => enters += 1,
            Some(Event::SyscallExit(_)) => exits += 1,
            Some(event) if event.is_terminal() => break,
            other => panic!("{other:?}"),
        }
    }
    // The exit of its execve, and the entry of its exit, have no other half.
    assert!(enters > 300);
    assert_eq!(enters, exits);
    assert!(
        soon("its end", child.wait())
            .await
            .expect("a status")
            .success()
    );
    for turns in 0..30 {
        let (mut tracee, mut child) = start(&tracer, &mut sleeper(&["calls", "300"])).await;
        tracee.set_resume_mode(ResumeMode::Syscall);
        let task = tokio::spawn(async move { while tracee.next().await.is_some() {} });
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        task.abort();
        let status = soon("its end", child.wait()).await.expect("a status");
        assert!(status.success(), "it ran on: {status}");
    }
}

/// Each public `async fn` under the folder, and whether its documentation has the section.
fn futures_of(folder: &std::path::Path, into: &mut Vec<(String, bool)>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            futures_of(&path, into);
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        let mut says = false;
        for line in text.lines().map(str::trim_start) {
            if let Some(rest) = line.strip_prefix("pub async fn ") {
                let end = rest.find(['(', '<']).expect("arguments");
                into.push((rest[..end].to_string(), says));
            }
            says |= line == "/// # Cancel safety";
            // Documentation and attributes belong to what follows them.
            says &= line.starts_with("//") || line.starts_with('#');
        }
    }
}

// One that is added says what a drop loses, and is dropped here.
#[test]
fn every_future_is_documented_and_dropped() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/tracehound/src/");
    let mut futures = Vec::new();
    futures_of(std::path::Path::new(sources), &mut futures);
    assert!(futures.len() > 40, "{futures:?}");
    for (name, says) in futures {
        assert!(says, "{name} does not say what a drop loses");
        // Of a macro, which makes several.
        let dropped =
            name.starts_with('$') || include_str!("cancel.rs").contains(&format!(".{name}("));
        assert!(dropped, "nothing drops {name}");
    }
}

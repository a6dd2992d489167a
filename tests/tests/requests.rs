//! A request that cannot be served says precisely why: the tracee runs, is gone, was
//! detached, was never there.

use futures::StreamExt;
use tracehound::requests::{FpRegs, HardwareBreakpoint, RegSet, SignalQueue, SignalSet};
use tracehound::{Control, Error, Event, Regs, Result, SigInfo, Signal, Tid, Tracee, Tracer};
use tracehound_sys::signal_process;
use tracehound_tests::{
    end, in_each_place, line, lines, new_tracer, next, puppet, soon, start, state, to_the_end,
    until, wait,
};

in_each_place! {
    killed_while_held, killed_while_held_with_exit_stops, running, not_handed_out, after_the_end,
    after_a_detach, after_the_shutdown, from_other_threads, in_the_wrong_stop, nobody_there,
    detached_while_running, interrupted_twice, setregs_moves_the_tracee,
}

/// Makes every request; gives their results.
async fn every_request(tracee: &mut Tracee, regs: &Regs) -> Vec<(&'static str, Result<()>)> {
    vec![
        ("getregs", tracee.getregs().await.map(drop)),
        ("setregs", tracee.setregs(regs).await),
        ("getsiginfo", tracee.getsiginfo().await.map(drop)),
        ("setsiginfo", tracee.setsiginfo(&SigInfo::zeroed()).await),
        ("getfpregs", tracee.getfpregs().await.map(drop)),
        ("setfpregs", tracee.setfpregs(&FpRegs::zeroed()).await),
        ("getxstate", tracee.getxstate().await.map(drop)),
        (
            "getregset",
            tracee.getregset(RegSet::PRSTATUS).await.map(drop),
        ),
        (
            "setregset",
            tracee.setregset(RegSet::PRSTATUS, &[]).await.map(drop),
        ),
        (
            "pending_signals",
            tracee.pending_signals(SignalQueue::Thread).await.map(drop),
        ),
        ("getsigmask", tracee.getsigmask().await.map(drop)),
        ("setsigmask", tracee.setsigmask(SignalSet::EMPTY).await),
        ("syscall_info", tracee.syscall_info().await.map(drop)),
        ("set_options", tracee.set_options(tracee.options()).await),
        ("seccomp_filters", tracee.seccomp_filters().await.map(drop)),
        ("rseq", tracee.rseq_configuration().await.map(drop)),
        ("dispatch", tracee.syscall_user_dispatch().await.map(drop)),
        ("peek_data", tracee.peek_data(0x1000).await.map(drop)),
        ("poke_data", tracee.poke_data(0x1000, 0).await),
        ("peek_user", tracee.peek_user(0).await.map(drop)),
        ("breakpoints", tracee.hardware_breakpoints().await.map(drop)),
        (
            "set_breakpoint",
            tracee
                .set_hardware_breakpoint(&HardwareBreakpoint::execute(0x1000))
                .await,
        ),
        ("cont", tracee.cont().await),
        ("syscall", tracee.syscall().await),
        ("step", tracee.step().await),
        ("sysemu", tracee.sysemu().await),
        ("sysemu_step", tracee.sysemu_step().await),
        ("block_step", tracee.block_step().await),
        ("cont_with", tracee.cont_with(Signal::SIGUSR1).await),
        ("listen", tracee.listen().await),
        ("detach_with", tracee.detach_with(Signal::SIGUSR1).await),
    ]
}

/// What does not need a stop.
async fn every_control(control: &Control) -> Vec<(&'static str, Result<()>)> {
    vec![
        ("interrupt", control.interrupt().await),
        ("kill", control.kill()),
        ("read", control.read_memory(0x1000, &mut [0; 8]).map(drop)),
        ("read_bytes", control.read_bytes(0x1000, 8).map(drop)),
        ("read_cstring", control.read_cstring(0x1000, 8).map(drop)),
        ("write", control.write_memory(0x1000, &[0]).map(drop)),
    ]
}

fn all(results: Vec<(&'static str, Result<()>)>, what: impl Fn(&Error) -> bool) {
    for (name, result) in results {
        match result {
            Err(error) if what(&error) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn gone(tid: Tid) -> impl Fn(&Error) -> bool {
    move |error| matches!(error, Error::Gone(t) if *t == tid)
}

/// A tracee that pauses, held, and registers of some kind.
async fn held(tracer: &Tracer) -> (Tracee, tracehound::Child, Regs) {
    let (tracee, child) = start(tracer, &mut puppet!("say-and-pause")).await;
    let regs = tracee.getregs().await.expect("regs");
    (tracee, child, regs)
}

// Scenario 23: gone, whether or not the tracer has noticed; the end is still told.
async fn killed_while_held(tracer: Tracer) {
    let (mut tracee, mut child, regs) = held(&tracer).await;
    let tid = tracee.tid();
    signal_process(tid, Signal::SIGKILL).expect("it lives");
    until("it is reaped", || state(tid).is_none()).await;
    all(every_request(&mut tracee, &regs).await, gone(tid));
    all(every_control(&tracee.control()).await, gone(tid));
    all(vec![("detach", tracee.detach().await)], gone(tid));
    let events = to_the_end(&mut tracee).await;
    assert!(matches!(events[..], [Event::Killed(end)] if end.signal == Signal::SIGKILL));
    assert!(
        soon("wait", child.wait())
            .await
            .expect("status")
            .code()
            .is_none()
    );
    all(every_request(&mut tracee, &regs).await, gone(tid));
}

// Scenario 23: the exit stop that came in between is not the stop that was held.
async fn killed_while_held_with_exit_stops(tracer: Tracer) {
    let mut command = puppet!("pause");
    let (mut tracee, _child) = start(&tracer, command.exit_stops(true)).await;
    let (tid, regs) = (tracee.tid(), tracee.getregs().await.expect("regs"));
    signal_process(tid, Signal::SIGKILL).expect("it lives");
    until("the request fails", || {
        // Whether by the kernel's word or by the report's, it is gone.
        let result = futures::FutureExt::now_or_never(tracee.getregs());
        matches!(result, Some(Err(Error::Gone(t))) if t == tid)
    })
    .await;
    all(every_request(&mut tracee, &regs).await, gone(tid));
    wait!(tracee, Event::Exiting(_));
    // Held again.
    tracee.getregs().await.expect("regs");
    let events = to_the_end(&mut tracee).await;
    assert!(matches!(events[..], [Event::Killed(end)] if end.signal == Signal::SIGKILL));
}

// Scenario 23
async fn running(tracer: Tracer) {
    let (mut tracee, mut child, regs) = held(&tracer).await;
    let tid = tracee.tid();
    let mut out = lines(&mut child);
    tracee.cont().await.expect("cont");
    let is = |error: &Error| matches!(error, Error::Running(t) if *t == tid);
    all(every_request(&mut tracee, &regs).await, is);
    assert_eq!(line(&mut out).await, "ready");
    all(every_request(&mut tracee, &regs).await, is);
    // Memory needs no stop.
    let stack = regs.stack_pointer();
    assert_eq!(tracee.read_bytes(stack, 16).expect("its stack").len(), 16);
    tracee.control().kill().expect("kill");
    end(&mut tracee).await;
}

// Contract 2: a stop that was not handed out does not take requests.
async fn not_handed_out(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("raise", libc::SIGUSR1)).await;
    let (tid, regs) = (tracee.tid(), tracee.getregs().await.expect("regs"));
    tracee.cont().await.expect("cont");
    until("it has stopped", || state(tid) == Some('t')).await;
    // Twice to its tracer thread and back: by then the tracer has seen it.
    for _ in 0..2 {
        assert!(tracer.attach_thread(tid).await.is_err());
        tokio::task::yield_now().await;
    }
    let is = |error: &Error| matches!(error, Error::Running(t) if *t == tid);
    all(every_request(&mut tracee, &regs).await, is);
    wait!(tracee, Event::Signal(_));
    tracee.getregs().await.expect("regs");
    end(&mut tracee).await;
}

// Scenario 23
async fn after_the_end(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("exit", 0)).await;
    let (tid, regs) = (tracee.tid(), tracee.getregs().await.expect("regs"));
    end(&mut tracee).await;
    all(every_request(&mut tracee, &regs).await, gone(tid));
    all(every_control(&tracee.control()).await, gone(tid));
    all(vec![("detach", tracee.detach().await)], gone(tid));
    assert_eq!(tracee.tid(), tid);
    assert!(tracee.next().await.is_none());
}

async fn after_a_detach(tracer: Tracer) {
    let (mut tracee, child, regs) = held(&tracer).await;
    let tid = tracee.tid();
    tracee.detach().await.expect("detach");
    let is = |error: &Error| matches!(error, Error::Detached(t) if *t == tid);
    all(every_request(&mut tracee, &regs).await, is);
    all(every_control(&tracee.control()).await, is);
    all(vec![("detach", tracee.detach().await)], is);
    let events = to_the_end(&mut tracee).await;
    assert!(matches!(events[..], [Event::Detached]), "{events:?}");
    until("it pauses", || state(tid) == Some('S')).await;
    child.start_kill();
}

async fn after_the_shutdown(tracer: Tracer) {
    let tracer_of_its_own = new_tracer();
    let (mut tracee, mut child, regs) = held(&tracer_of_its_own).await;
    let tid = tracee.tid();
    soon("shutdown", tracer_of_its_own.shutdown())
        .await
        .expect("shutdown");
    let is = |error: &Error| matches!(error, Error::Shutdown | Error::Detached(_));
    all(every_request(&mut tracee, &regs).await, is);
    all(every_control(&tracee.control()).await, is);
    let events = to_the_end(&mut tracee).await;
    assert!(matches!(events[..], [Event::Detached]), "{events:?}");
    let is = |error: &Error| matches!(error, Error::Shutdown);
    let spawn = tracer_of_its_own.spawn(puppet!("pause")).await.map(drop);
    let attach = tracer_of_its_own.attach(tid).await.map(drop);
    let trace = tracer_of_its_own
        .trace(puppet!("pause"), |_| async {})
        .await
        .map(drop);
    all(
        vec![("spawn", spawn), ("attach", attach), ("trace", trace)],
        is,
    );
    // Again is no error; and it runs on, and is awaited.
    soon("shutdown", tracer_of_its_own.shutdown())
        .await
        .expect("shutdown");
    until("it pauses", || state(tid) == Some('S')).await;
    soon("kill", child.kill()).await.expect("killed");
    drop(tracer);
}

// Scenario 23: a request from another thread is sent over.
async fn from_other_threads(tracer: Tracer) {
    let (tracee, _child, regs) = held(&tracer).await;
    let (there, back) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut tracee = tracee;
        let work = async move {
            assert_eq!(tracee.getregs().await.expect("regs"), regs);
            tracee.setregs(&regs).await.expect("setregs");
            tracee.step().await.expect("step");
            wait!(tracee, Event::Step);
            tracee.cont().await.expect("cont");
            tracee.control().interrupt().await.expect("interrupt");
            wait!(tracee, Event::Interrupted);
            tracee
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        there
            .send(runtime.expect("a runtime").block_on(work))
            .expect("it waits");
    });
    let mut tracee = soon("the other thread", back).await.expect("the tracee");
    tracee.getregs().await.expect("regs");
    tracee.control().kill().expect("kill");
    end(&mut tracee).await;
}

async fn in_the_wrong_stop(tracer: Tracer) {
    let (mut tracee, _child, _) = held(&tracer).await;
    let error = tracee.listen().await.expect_err("no group-stop");
    assert!(
        matches!(error, Error::WrongStop { tid, .. } if tid == tracee.tid()),
        "{error:?}"
    );
    tracee.getregs().await.expect("it is held");
    tracee.control().kill().expect("kill");
    end(&mut tracee).await;
}

// Bad input: ids of nobody.
async fn nobody_there(tracer: Tracer) {
    let (mut tracee, child) = start(&tracer, &mut puppet!("exit", 0)).await;
    end(&mut tracee).await;
    for tid in [0, -1, i32::MIN, i32::MAX, child.id().as_raw()].map(Tid::from_raw) {
        let error = tracer.attach(tid).await.expect_err("nobody");
        assert!(
            matches!(error, Error::NoSuchProcess(t) if t == tid),
            "{error:?}"
        );
    }
    let error = Tracer::builder()
        .threads(0)
        .build()
        .expect_err("no threads");
    assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
}

// Scenario 37's neighbour: a running tracee is interrupted first, and sees nothing of it.
async fn detached_while_running(tracer: Tracer) {
    let (mut tracee, mut child, _) = held(&tracer).await;
    let mut out = lines(&mut child);
    tracee.cont().await.expect("cont");
    assert_eq!(line(&mut out).await, "ready");
    soon("detach", tracee.detach()).await.expect("detach");
    assert!(matches!(tracee.next().await, Some(Event::Detached)));
    assert!(tracee.next().await.is_none());
    until("it pauses", || state(tracee.tid()) == Some('S')).await;
    soon("kill", child.kill()).await.expect("killed");
}

// Scenario 34's neighbour: a stopped tracee does not stop twice.
async fn interrupted_twice(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("raise", libc::SIGUSR1)).await;
    // Held: nothing to interrupt.
    tracee.control().interrupt().await.expect("interrupt");
    tracee.control().interrupt().await.expect("interrupt");
    let events = to_the_end(&mut tracee).await;
    assert!(
        matches!(events[..], [Event::Signal(_), Event::Killed(_)]),
        "{events:?}"
    );
}

async fn setregs_moves_the_tracee(tracer: Tracer) {
    let (mut tracee, _child, regs) = held(&tracer).await;
    let mut moved = regs;
    moved.set_instruction_pointer(0);
    tracee.setregs(&moved).await.expect("setregs");
    assert_eq!(
        tracee.getregs().await.expect("regs").instruction_pointer(),
        0
    );
    let stop = next!(tracee, Event::Signal(stop) => stop);
    assert_eq!(
        (stop.signal, stop.info.address()),
        (Signal::SIGSEGV, Some(0))
    );
    let end = end(&mut tracee).await;
    assert!(
        matches!(end, Event::Killed(end) if end.signal == Signal::SIGSEGV),
        "{end:?}"
    );
}

//! Signals that wait are seen and not taken; the mask that makes them wait is read and set.

use tracehound::requests::{SignalQueue, SignalSet};
use tracehound::{Event, Signal, Tracee, Tracer};
use tracehound_tests::{
    end, in_each_place, line, lines, next, next_mark, puppet, start, state, until,
};

in_each_place! {
    seen_and_not_taken, more_than_one_request_gives, one_at_a_time, unblocked, blocked,
    none_that_cannot_be, while_suspended,
}

/// What the kernel says of a thread's signals: a line of its status.
fn told(tracee: &Tracee, field: &str) -> SignalSet {
    let path = format!("/proc/{}/status", tracee.tid());
    let status = std::fs::read_to_string(path).expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let bits = line.expect("the field").trim_start_matches(':').trim();
    SignalSet::from_bits(u64::from_str_radix(bits, 16).expect("hexadecimal"))
}

/// The puppet with so many signals waiting, at its mark; gives which signal it is.
async fn with_pending(tracer: &Tracer, count: i32) -> (Tracee, tracehound::Child, Signal) {
    let (mut tracee, child) = start(tracer, &mut puppet!("pending", count)).await;
    let [signal, ..] = next_mark(&mut tracee).await;
    (tracee, child, Signal::from_raw(signal as i32))
}

/// The rest of the puppet's life: what it blocks, and that everything came.
async fn all_come(tracee: &mut Tracee, child: &mut tracehound::Child, count: i32) {
    let mut out = lines(child);
    assert!(matches!(end(tracee).await, Event::Exited(e) if e.code == 0));
    assert!(line(&mut out).await.starts_with("blocked ["));
    assert_eq!(line(&mut out).await, format!("came {count} 1"));
}

// Scenario 30
async fn seen_and_not_taken(tracer: Tracer) {
    let (mut tracee, mut child, queued) = with_pending(&tracer, 3).await;
    for _ in 0..2 {
        let own = tracee
            .pending_signals(SignalQueue::Thread)
            .await
            .expect("peek");
        assert_eq!(own.len(), 1, "{own:?}");
        assert_eq!(own[0].signal(), Signal::SIGUSR2);
        assert_eq!(own[0].sender(), Some(tracee.tid()));
        let shared = tracee
            .pending_signals(SignalQueue::Process)
            .await
            .expect("peek");
        let values: Vec<_> = shared.iter().map(|info| info.value()).collect();
        assert_eq!(values, [Some(1), Some(2), Some(3)]);
        assert!(shared.iter().all(|info| info.signal() == queued));
        assert_eq!(
            own.iter().map(|i| i.signal()).collect::<SignalSet>(),
            told(&tracee, "SigPnd")
        );
        assert_eq!(
            shared.iter().map(|i| i.signal()).collect::<SignalSet>(),
            told(&tracee, "ShdPnd")
        );
    }
    let mask = tracee.getsigmask().await.expect("mask");
    assert_eq!(mask, told(&tracee, "SigBlk"));
    assert!(mask.contains(queued) && mask.contains(Signal::SIGUSR2));
    all_come(&mut tracee, &mut child, 3).await;
}

// Scenario 30: all of them, in order, however many requests it takes.
async fn more_than_one_request_gives(tracer: Tracer) {
    for count in [63, 64, 65, 300] {
        let (mut tracee, mut child, _) = with_pending(&tracer, count).await;
        let shared = tracee
            .pending_signals(SignalQueue::Process)
            .await
            .expect("peek");
        let values: Vec<_> = shared.iter().filter_map(|info| info.value()).collect();
        assert_eq!(values, (1..=count as u64).collect::<Vec<_>>());
        all_come(&mut tracee, &mut child, count).await;
    }
}

async fn one_at_a_time(tracer: Tracer) {
    let (mut tracee, mut child, _) = with_pending(&tracer, 5).await;
    let queue = SignalQueue::Process;
    for offset in 0..5 {
        let one = tracee.peek_siginfo(queue, offset, 1).await.expect("peek");
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].value(), Some(offset + 1));
    }
    for (offset, most) in [(5, 1), (u64::MAX, 1), (u64::MAX / 2, usize::MAX), (0, 0)] {
        let none = tracee
            .peek_siginfo(queue, offset, most)
            .await
            .expect("peek");
        assert!(none.is_empty(), "{none:?}");
    }
    all_come(&mut tracee, &mut child, 5).await;
}

// Scenario 30: what the tracer unblocks comes at once.
async fn unblocked(tracer: Tracer) {
    let (mut tracee, mut child, queued) = with_pending(&tracer, 2).await;
    let mut out = lines(&mut child);
    let mut mask = tracee.getsigmask().await.expect("mask");
    mask.remove(queued);
    tracee.setsigmask(mask).await.expect("set");
    assert_eq!(told(&tracee, "SigBlk"), mask);
    next!(tracee, Event::Signal(stop) if stop.signal == queued && stop.info.value() == Some(1));
    next!(tracee, Event::Signal(stop) if stop.signal == queued && stop.info.value() == Some(2));
    // The other one waits for the program.
    next!(tracee, Event::Signal(stop) if stop.signal == Signal::SIGUSR2);
    assert!(matches!(end(&mut tracee).await, Event::Exited(e) if e.code == 0));
    assert_eq!(line(&mut out).await, format!("blocked [{}]", libc::SIGUSR2));
    assert_eq!(line(&mut out).await, "came 2 1");
}

// Scenario 30: what the tracer blocks waits, and the program sees it blocked.
async fn blocked(tracer: Tracer) {
    let (mut tracee, mut child, queued) = with_pending(&tracer, 1).await;
    let mut out = lines(&mut child);
    let mut mask = tracee.getsigmask().await.expect("mask");
    mask.insert(Signal::SIGWINCH);
    tracee.setsigmask(mask).await.expect("set");
    assert_eq!(tracee.getsigmask().await.expect("mask"), mask);
    tracehound_sys::signal_process(tracee.tid(), Signal::SIGWINCH).expect("it lives");
    // What was sent to the thread comes first.
    next!(tracee, Event::Signal(stop) if stop.signal == Signal::SIGUSR2);
    next!(tracee, Event::Signal(stop) if stop.signal == queued);
    assert!(told(&tracee, "ShdPnd").contains(Signal::SIGWINCH));
    assert!(matches!(end(&mut tracee).await, Event::Exited(e) if e.code == 0));
    let mut expected = [libc::SIGUSR2, libc::SIGWINCH, queued.as_raw()];
    expected.sort_unstable();
    assert_eq!(line(&mut out).await, format!("blocked {expected:?}"));
}

// Scenario 30: what nobody can block.
async fn none_that_cannot_be(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("pause")).await;
    tracee.setsigmask(SignalSet::ALL).await.expect("set");
    let mut most = SignalSet::ALL;
    most.remove(Signal::SIGKILL);
    most.remove(Signal::SIGSTOP);
    assert_eq!(tracee.getsigmask().await.expect("mask"), most);
    tracee.setsigmask(SignalSet::EMPTY).await.expect("set");
    assert!(tracee.getsigmask().await.expect("mask").is_empty());
    tracee.control().kill().expect("kill");
    end(&mut tracee).await;
}

// Scenario 30: inside of sigsuspend the mask is the one to come back.
async fn while_suspended(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("catch", libc::SIGUSR1)).await;
    let mut out = lines(&mut child);
    tracee.cont().await.expect("cont");
    assert_eq!(line(&mut out).await, "ready");
    let usr1 = Signal::SIGUSR1;
    until("it waits with the signal let through", || {
        state(tracee.tid()) == Some('S') && !told(&tracee, "SigBlk").contains(usr1)
    })
    .await;
    tracee.control().interrupt().await.expect("interrupt");
    tracehound_tests::wait!(tracee, Event::Interrupted);
    assert!(tracee.getsigmask().await.expect("mask").contains(usr1));
    assert!(!told(&tracee, "SigBlk").contains(usr1));
    tracee.cont().await.expect("cont");
    tracehound_sys::signal_process(tracee.tid(), usr1).expect("it lives");
    tracehound_tests::wait!(tracee, Event::Signal(stop) if stop.signal == usr1);
    assert!(matches!(end(&mut tracee).await, Event::Exited(e) if e.code == 0));
}

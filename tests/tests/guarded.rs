//! Memory of a tracee that does not want to be read: guarded accesses end in time, and
//! nobody else waits.

use std::time::{Duration, Instant};

use tokio::io::{AsyncWriteExt, BufReader, Lines};
use tokio::process::ChildStdout;
use tracehound::{Child, Command, Error, Event, Stdio, Tracee, Tracer};
use tracehound_tests::{
    end, in_each_place, line, lines, new_tracer, next, own_threads, puppet, soon, start, until,
    wait,
};

in_each_place! {
    as_without_a_guard, a_page_that_never_comes, other_tracees_go_on, one_reader_is_stuck,
    a_page_that_comes_late, a_dropped_read, crowds_of_readers, after_the_end,
}

/// Readers are counted in the whole process: one test at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);

/// A process whose second page never comes, running.
struct Pager {
    tracee: Tracee,
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    /// A page that is there.
    there: u64,
    /// The one behind it.
    missing: u64,
}

impl Pager {
    /// Nothing where the kernel does not let pages be served.
    async fn start(tracer: &Tracer) -> Option<Pager> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crew"));
        command.arg("pager").stdin(Stdio::piped());
        let (mut tracee, mut child) = start(tracer, command.stdout(Stdio::piped())).await;
        tracee.cont().await.expect("cont");
        let mut out = lines(&mut child);
        let said = line(&mut out).await;
        let Ok(there) = said.parse() else {
            eprintln!("userfaultfd is {said}: nothing was tested");
            end(&mut tracee).await;
            return None;
        };
        Some(Pager {
            tracee,
            child,
            out,
            there,
            missing: there + 4096,
        })
    }

    async fn serve(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"serve\n").await.expect("it listens");
        assert_eq!(line(&mut self.out).await, "served");
    }

    async fn kill(mut self) {
        self.tracee.control().kill().expect("it lives");
        assert!(matches!(end(&mut self.tracee).await, Event::Killed(_)));
    }
}

fn timed_out<T: std::fmt::Debug>(result: Result<T, Error>, tracee: &Tracee) {
    let is = matches!(&result, Err(Error::TimedOut { tid, .. }) if *tid == tracee.tid());
    assert!(is, "{result:?}");
}

/// The threads that read.
fn readers() -> usize {
    let is_reader = |tid: &tracehound::Tid| {
        let name = std::fs::read_to_string(format!("/proc/self/task/{tid}/comm"));
        name.is_ok_and(|name| name.starts_with("tracehound-read"))
    };
    own_threads().iter().filter(|tid| is_reader(tid)).count()
}

// The same results where nothing blocks.
async fn as_without_a_guard(tracer: Tracer) {
    let _alone = ALONE.lock().await;
    let (mut tracee, _child) = start(&tracer, &mut puppet!("pause")).await;
    let stack = tracee.getregs().await.expect("regs").stack_pointer();
    let control = tracee.control();
    let plain = tracee.read_bytes(stack, 64).expect("a stack");
    let guarded = tracee.read_bytes_guarded(stack, 64, LONG).await;
    assert_eq!(guarded.expect("a stack"), plain);
    let written = control
        .write_memory_guarded(stack, b"text\0more", LONG)
        .await;
    assert_eq!(written.expect("a stack"), 9);
    let text = control.read_cstring_guarded(stack, 100, LONG).await;
    assert_eq!(text.expect("a stack"), b"text\0");
    let error = control.read_bytes_guarded(8, 1, LONG).await;
    let fault = matches!(&error, Err(Error::Memory { address: 8, .. }));
    assert!(fault, "{error:?}");
    let error = control.read_bytes_guarded(stack, usize::MAX, LONG).await;
    assert!(matches!(error, Err(Error::InvalidArgument(_))), "{error:?}");
    // Over as soon as it is read, not when its time is up.
    let begin = Instant::now();
    for _ in 0..100 {
        let read = tracee.read_bytes_guarded(stack, 64, LONG).await;
        assert_eq!(read.expect("a stack").len(), 64);
    }
    assert!(begin.elapsed() < LONG);
    tracee.control().kill().expect("it lives");
    end(&mut tracee).await;
}

// Scenario 51
async fn a_page_that_never_comes(tracer: Tracer) {
    let _alone = ALONE.lock().await;
    for what in ["bytes", "string", "write"] {
        let Some(pager) = Pager::start(&tracer).await else {
            return;
        };
        let (tracee, at) = (&pager.tracee, pager.missing);
        let there = tracee.read_bytes_guarded(pager.there, 1, LONG).await;
        assert_eq!(there.expect("it is there"), [42]);
        let begin = Instant::now();
        match what {
            "bytes" => timed_out(tracee.read_bytes_guarded(at, 8, SHORT).await, tracee),
            "string" => timed_out(tracee.read_cstring_guarded(at, 8, SHORT).await, tracee),
            _ => timed_out(tracee.write_memory_guarded(at, [1], SHORT).await, tracee),
        }
        assert!(begin.elapsed() >= SHORT);
        pager.kill().await;
    }
}

// Scenario 51: on the same tracer thread, and elsewhere.
async fn other_tracees_go_on(tracer: Tracer) {
    let _alone = ALONE.lock().await;
    let Some(pager) = Pager::start(&tracer).await else {
        return;
    };
    let control = pager.tracee.control();
    let missing = pager.missing;
    let read = control.read_bytes_guarded(missing, 1, LONG);
    let others = async {
        for _ in 0..10 {
            let (mut tracee, _child) = start(&tracer, &mut puppet!("exit", 3)).await;
            let stack = tracee.getregs().await.expect("regs").stack_pointer();
            let text = tracee.read_bytes_guarded(stack, 8, LONG).await;
            assert_eq!(text.expect("a stack").len(), 8);
            end(&mut tracee).await;
        }
        // The one that reads is not in the way of its own requests.
        control.interrupt().await.expect("it lives");
    };
    tokio::select! {
        result = read => panic!("{result:?}"),
        () = soon("the others", others) => {}
    }
    pager.kill().await;
}

// Scenario 51: what follows fails at once, until the reader is free.
async fn one_reader_is_stuck(tracer: Tracer) {
    let _alone = ALONE.lock().await;
    let Some(mut pager) = Pager::start(&tracer).await else {
        return;
    };
    let tracee = &pager.tracee;
    timed_out(
        tracee.read_bytes_guarded(pager.missing, 1, SHORT).await,
        tracee,
    );
    // Those of the test before may be about to end.
    until("one is stuck", || readers() == 1).await;
    let begin = Instant::now();
    for _ in 0..20 {
        timed_out(
            tracee.read_bytes_guarded(pager.there, 1, LONG).await,
            tracee,
        );
    }
    assert!(begin.elapsed() < LONG);
    assert_eq!(readers(), 1);
    pager.serve().await;
    let tracee = &pager.tracee;
    let begin = Instant::now();
    let bytes = loop {
        match tracee.read_bytes_guarded(pager.missing, 2, LONG).await {
            Ok(bytes) => break bytes,
            Err(Error::TimedOut { .. }) if begin.elapsed() < LONG => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(bytes, [0, 0]);
    pager.kill().await;
}

// Scenario 51: in time.
async fn a_page_that_comes_late(tracer: Tracer) {
    let _alone = ALONE.lock().await;
    let Some(mut pager) = Pager::start(&tracer).await else {
        return;
    };
    let control = pager.tracee.control();
    let read = control.read_bytes_guarded(pager.missing, 2, LONG);
    let serve = async {
        tokio::time::sleep(SHORT).await;
        pager.serve().await;
    };
    let (read, ()) = futures::join!(read, serve);
    assert_eq!(read.expect("it came"), [0, 0]);
    pager.kill().await;
}

// Scenario 48: dropping it loses nothing but the answer.
async fn a_dropped_read(tracer: Tracer) {
    let _alone = ALONE.lock().await;
    let Some(pager) = Pager::start(&tracer).await else {
        return;
    };
    let control = pager.tracee.control();
    let read = tokio::time::timeout(SHORT, control.read_bytes_guarded(pager.missing, 1, LONG));
    assert!(read.await.is_err());
    pager.kill().await;
    until("the reader is free, and ends", || readers() == 0).await;
}

// Scenario 51: more of them than there are threads; each is answered.
async fn crowds_of_readers(tracer: Tracer) {
    let _alone = ALONE.lock().await;
    let Some(first) = Pager::start(&tracer).await else {
        return;
    };
    let mut pagers = vec![first];
    for _ in 0..3 {
        pagers.extend(Pager::start(&tracer).await);
    }
    let reads = pagers.iter().flat_map(|pager| {
        (0..25).map(|_| pager.tracee.read_bytes_guarded(pager.missing, 1, SHORT))
    });
    let results = soon("all answers", futures::future::join_all(reads)).await;
    assert_eq!(results.len(), 100);
    for result in results {
        assert!(matches!(result, Err(Error::TimedOut { .. })), "{result:?}");
    }
    until("no more are stuck", || readers() <= 32).await;
    for pager in pagers {
        pager.kill().await;
    }
    // All are free again.
    let (mut tracee, _child) = start(&tracer, &mut puppet!("pause")).await;
    let stack = tracee.getregs().await.expect("regs").stack_pointer();
    let read = tracee.read_bytes_guarded(stack, 8, LONG).await;
    assert_eq!(read.expect("a stack").len(), 8);
    tracee.control().kill().expect("it lives");
    end(&mut tracee).await;
}

// Scenario 23
async fn after_the_end(tracer: Tracer) {
    let _alone = ALONE.lock().await;
    let (mut tracee, _child) = start(&tracer, &mut puppet!("exit", 0)).await;
    end(&mut tracee).await;
    let read = tracee.read_bytes_guarded(0x1000, 1, LONG).await;
    assert!(matches!(read, Err(Error::Gone(_))), "{read:?}");
    // Killed while somebody reads: it is answered.
    let Some(mut pager) = Pager::start(&tracer).await else {
        return;
    };
    let control = pager.tracee.control();
    let kill = async {
        tokio::time::sleep(SHORT).await;
        pager.tracee.control().kill().expect("it lives");
        wait!(pager.tracee, Event::Killed(_));
    };
    let (read, ()) = futures::join!(control.read_bytes_guarded(pager.missing, 1, LONG), kill);
    // Zeroes, if it is let go before its memory is.
    match read {
        Err(Error::Gone(_) | Error::Memory { .. }) => {}
        Ok(bytes) => assert_eq!(bytes, [0]),
        other => panic!("{other:?}"),
    }
}

// Scenarios 49 and 51: a reader that is stuck does not hold up the end.
#[tokio::test]
async fn a_shutdown_beside_a_stuck_reader() {
    let _alone = ALONE.lock().await;
    let tracer = new_tracer();
    let Some(pager) = Pager::start(&tracer).await else {
        return;
    };
    let control = pager.tracee.control();
    let waits =
        tokio::spawn(async move { control.read_bytes_guarded(pager.missing, 1, LONG).await });
    until("a reader", || readers() == 1).await;
    let begin = Instant::now();
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    assert!(begin.elapsed() < LONG);
    let read = soon("its answer", waits).await.expect("no panic");
    assert!(matches!(read, Err(Error::Shutdown)), "{read:?}");
    pager.child.start_kill();
    until("the reader is free, and ends", || readers() == 0).await;
}

// Scenario 49: threads that are not stuck are gone.
#[tokio::test]
async fn a_shutdown_ends_the_readers() {
    let _alone = ALONE.lock().await;
    let tracer = new_tracer();
    let (mut tracee, _child) = start(&tracer, &mut puppet!("pause")).await;
    let stack = tracee.getregs().await.expect("regs").stack_pointer();
    tracee
        .read_bytes_guarded(stack, 8, LONG)
        .await
        .expect("a stack");
    tracee.control().kill().expect("it lives");
    next!(tracee, Event::Killed(_));
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    until("no reader is left", || readers() == 0).await;
}

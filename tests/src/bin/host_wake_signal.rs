//! A host that uses signals itself: which one wakes the tracer thread, and that nothing
//! else of the host's is touched.

use tracehound::{Errno, Error, Signal, Tracer};
use tracehound_sys::proc;
use tracehound_tests::{builder, dispositions, new_tracer, set_action, soon, trace_births};

extern "C" fn handler(_signal: libc::c_int) {}

/// The signals whose action is another one than before.
fn taken(before: &[(libc::sighandler_t, i32)]) -> Vec<Signal> {
    let after = dispositions();
    (1..)
        .map(Signal::from_raw)
        .zip(before.iter().zip(&after))
        .filter(|(_, (before, after))| before != after)
        .map(|(signal, _)| signal)
        .collect()
}

fn handle(signal: Signal) {
    let address = handler as *const () as libc::sighandler_t;
    set_action(signal.as_raw(), address, libc::SA_RESTART);
}

/// The mask of the calling thread, as `/proc` has it.
fn mask() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc");
    let line = status.lines().find(|line| line.starts_with("SigBlk:"));
    line.expect("SigBlk").to_string()
}

async fn works(tracer: Result<Tracer, Error>) {
    let tracer = tracer.expect("a tracer");
    trace_births(&tracer).await;
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

fn refused(tracer: Result<Tracer, Error>, expected: Errno) {
    match tracer {
        Err(Error::WakeSignal(errno)) => assert_eq!(errno, expected),
        other => panic!("{other:?}"),
    }
}

async fn check(how: &str) {
    let before = dispositions();
    match how {
        "default" => {
            works(builder().build()).await;
            assert_eq!(taken(&before), [Signal::SIGURG]);
            // Again with the same.
            works(builder().build()).await;
            assert_eq!(taken(&before), [Signal::SIGURG]);
        }
        "taken" => {
            handle(Signal::SIGURG);
            let before = dispositions();
            works(builder().build()).await;
            assert_eq!(taken(&before), [Signal::SIGSTKFLT]);
        }
        "ignored" => {
            set_action(libc::SIGURG, libc::SIG_IGN, 0);
            set_action(libc::SIGSTKFLT, libc::SIG_IGN, 0);
            let before = dispositions();
            works(builder().build()).await;
            assert_eq!(taken(&before), [Signal::SIGPWR]);
        }
        "all-taken" => {
            for signal in [Signal::SIGURG, Signal::SIGSTKFLT, Signal::SIGPWR] {
                handle(signal);
            }
            let before = dispositions();
            refused(builder().build(), Errno::EBUSY);
            assert_eq!(taken(&before), []);
            works(builder().wake_signal(Signal::SIGUSR2).build()).await;
            assert_eq!(taken(&before), [Signal::SIGUSR2]);
        }
        "chosen" => {
            works(builder().wake_signal(Signal::SIGVTALRM).build()).await;
            assert_eq!(taken(&before), [Signal::SIGVTALRM]);
            handle(Signal::SIGIO);
            let before = dispositions();
            refused(builder().wake_signal(Signal::SIGIO).build(), Errno::EBUSY);
            for raw in [34, 64, libc::SIGKILL, libc::SIGSTOP, 0, -1, 65] {
                let signal = Signal::from_raw(raw);
                refused(builder().wake_signal(signal).build(), Errno::EINVAL);
            }
            assert_eq!(taken(&before), []);
        }
        "replaced" => {
            works(builder().build()).await;
            // The host takes the signal over after all.
            handle(Signal::SIGURG);
            let before = dispositions();
            works(builder().build()).await;
            assert_eq!(taken(&before), [Signal::SIGSTKFLT]);
        }
        "mask" => masks().await,
        _ => panic!("{how}?"),
    }
}

/// The host's threads keep their masks; the tracer thread lets no handler of the host run.
async fn masks() {
    let before = mask();
    let tracer = new_tracer();
    let spawned = tracer.spawn(tracehound::Command::new("true")).await;
    let (tracee, _child) = spawned.expect("spawn");
    let thread = proc::status(tracee.tid()).expect("held").tracer;
    let status = tracehound_tests::thread_file(thread, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let blocked = u64::from_str_radix(line.expect("SigBlk").trim(), 16).expect("hex");
    let open: Vec<i32> = (1..=64).filter(|s| blocked & (1 << (s - 1)) == 0).collect();
    // Two of them cannot be blocked, two are the C library's.
    let mut expected = vec![libc::SIGKILL, libc::SIGCHLD, libc::SIGSTOP, libc::SIGURG];
    expected.sort_unstable();
    let own = |s: &i32| !matches!(s, 32..=34);
    assert_eq!(open.into_iter().filter(own).collect::<Vec<_>>(), expected);
    assert_eq!(mask(), before);
    let other = tokio::task::spawn_blocking(mask).await.expect("no panic");
    assert_eq!(other, before);
    drop(tracee);
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
    assert_eq!(mask(), before);
}

fn main() {
    let how = std::env::args().nth(1).expect("how");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(check(&how));
}

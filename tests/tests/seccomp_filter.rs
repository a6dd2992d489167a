//! The seccomp filters of a tracee, and what it takes to read or suspend them.

use tracehound::requests::Options;
use tracehound::{Error, Event, Privilege, Tracee, Tracer};
use tracehound_tests::{
    end, if_there_is, in_each_place, line, lines, next_mark, puppet, run_host, start,
};

in_each_place! { as_installed, none, suspended }

/// Whether filters can be read here at all; says why not.
fn readable<T>(result: tracehound::Result<T>) -> Option<T> {
    match result {
        Err(error @ Error::NotPrivileged { .. }) => {
            eprintln!("skipped: {error}");
            None
        }
        result => if_there_is(result),
    }
}

async fn ends_well(tracee: &mut Tracee) {
    let end = end(tracee).await;
    assert!(matches!(end, Event::Exited(e) if e.code == 0), "{end:?}");
}

async fn as_installed(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("filters")).await;
    let _out = lines(&mut child);
    let mut inherited = 0;
    for expected in 0..=2 {
        assert_eq!(next_mark(&mut tracee).await[0], expected as u64);
        let Some(count) = readable(tracee.seccomp_filters().await) else {
            return ends_well(&mut tracee).await;
        };
        if expected == 0 {
            // Of the one who runs the tests.
            inherited = count;
        }
        assert_eq!(count, inherited + expected);
    }
    let first = tracee.seccomp_filter(inherited).await.expect("filter");
    let first = first.expect("it was installed");
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].code, first[0].k), (6, 0x7fff_0000));
    let second = tracee.seccomp_filter(inherited + 1).await.expect("filter");
    let second = second.expect("it was installed");
    assert_eq!(second.len(), 4);
    assert_eq!((second[1].jt, second[1].jf), (0, 1));
    assert_eq!(i64::from(second[1].k), libc::SYS_getpgid);
    assert_eq!(second[2].k, 0x0005_0000 | 77);
    for (index, logs) in [(0, Some(false)), (1, Some(true)), (2, None)] {
        let metadata = tracee.seccomp_metadata(inherited + index).await;
        assert_eq!(metadata.expect("metadata").map(|m| m.logs()), logs);
    }
    for index in [2, 100, usize::MAX - inherited] {
        let none = tracee.seccomp_filter(inherited + index).await;
        assert_eq!(none.expect("no error"), None);
    }
    ends_well(&mut tracee).await;
}

async fn none(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let unfiltered = status.contains("Seccomp:\t0");
    if unfiltered && let Some(count) = readable(tracee.seccomp_filters().await) {
        assert_eq!(count, 0);
        assert_eq!(tracee.seccomp_filter(0).await.expect("no error"), None);
        assert_eq!(tracee.seccomp_metadata(0).await.expect("no error"), None);
    }
    ends_well(&mut tracee).await;
}

// With the filters suspended the call that they refuse is made.
async fn suspended(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("filters")).await;
    let mut out = lines(&mut child);
    while next_mark(&mut tracee).await[0] != 2 {}
    next_mark(&mut tracee).await;
    assert_eq!(line(&mut out).await, "77");
    let before = tracee.options();
    let suspend = tracee.set_options(before | Options::SUSPEND_SECCOMP).await;
    if readable(suspend).is_some() {
        assert_eq!(tracee.options(), before | Options::SUSPEND_SECCOMP);
        ends_well(&mut tracee).await;
        assert_eq!(line(&mut out).await, "made");
    } else {
        assert_eq!(tracee.options(), before);
        ends_well(&mut tracee).await;
        assert_eq!(line(&mut out).await, "77");
    }
}

// What is missing is said: the capability, or a tracer that is free of filters itself.
#[tokio::test]
async fn privileges() {
    for way in ["no-capability", "filtered"] {
        run_host(env!("CARGO_BIN_EXE_host_unprivileged"), [way]).await;
    }
    let text = Error::NotPrivileged {
        request: "PTRACE_SECCOMP_GET_FILTER",
        lacks: Privilege::SysAdmin,
    };
    assert_eq!(
        text.to_string(),
        "PTRACE_SECCOMP_GET_FILTER takes CAP_SYS_ADMIN"
    );
}

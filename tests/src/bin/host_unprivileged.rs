//! A host without the rights that reading seccomp filters takes: it has given up its
//! capabilities, or has a filter itself.

use tracehound::requests::Options;
use tracehound::{Command, Error, Event, Privilege, Tracer};

/// Gives up all capabilities of this thread, and so of those that it will make.
fn give_up_capabilities() {
    // struct __user_cap_header_struct of version 3, and two __user_cap_data_struct.
    let header = [0x2008_0522_u32, 0];
    let none = [0_u32; 6];
    // SAFETY: reads the two structures.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Installs a filter that lets everything through.
fn install_filter() {
    let mut allow = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut allow,
    };
    // SAFETY: numbers, and a program that outlives the calls.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        let result = libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program);
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}

fn lacks(error: &Error, what: Privilege) {
    match error {
        Error::NotPrivileged { lacks, .. } if *lacks == what => {}
        // A kernel that cannot do it at all says so.
        Error::NotConfigured { .. } => eprintln!("{error}"),
        other => panic!("{other:?}"),
    }
    let kind = std::io::Error::from(Error::NotPrivileged {
        request: "any",
        lacks: what,
    });
    assert_eq!(kind.kind(), std::io::ErrorKind::PermissionDenied);
}

async fn check(what: Privilege) {
    let tracer = Tracer::new().expect("a tracer");
    let spawned = tracer.spawn(Command::new("true")).await;
    let (mut tracee, mut child) = spawned.expect("spawn");
    assert!(matches!(tracee.wait().await, Some(Event::Started(_))));
    lacks(&tracee.seccomp_filters().await.expect_err("refused"), what);
    lacks(&tracee.seccomp_filter(0).await.expect_err("refused"), what);
    lacks(
        &tracee.seccomp_metadata(0).await.expect_err("refused"),
        what,
    );
    let options = tracee.options();
    let suspend = tracee.set_options(options | Options::SUSPEND_SECCOMP).await;
    lacks(&suspend.expect_err("refused"), what);
    assert_eq!(tracee.options(), options);
    // It is held still, and may be changed in other ways.
    tracee
        .set_options(options | Options::TRACEEXIT)
        .await
        .expect("options");
    tracee.cont().await.expect("cont");
    assert!(matches!(tracee.wait().await, Some(Event::Exiting(_))));
    tracee.cont().await.expect("cont");
    assert!(matches!(tracee.wait().await, Some(Event::Exited(_))));
    assert!(child.wait().await.expect("status").success());
    tracer.shutdown().await.expect("shutdown");
}

fn main() {
    let way = std::env::args().nth(1).expect("a way");
    let what = match way.as_str() {
        "no-capability" => {
            give_up_capabilities();
            Privilege::SysAdmin
        }
        "filtered" => {
            install_filter();
            Privilege::NoSeccomp
        }
        other => panic!("no such way: {other}"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(check(what));
}

//! A program in disguise: another user, without capabilities, protected, confined. Then it
//! pauses, becomes another program, attaches to one, or has a child attach to it, and says what
//! came of that.
//!
//! ```text
//! guise [STEP…] -- pause | exec PROGRAM [ARG…] | attach PID | attach-own PROGRAM [ARG…]
//!                | traced-by-child
//! ```
//!
//! The steps are made in this order by the main thread, when there is no other.

use std::os::unix::process::CommandExt;

use tracehound::{Error, Tid, Tracer};
use tracehound_tests::{is_traced, soon};

fn check(what: &str, result: impl Into<i64>) {
    let result = result.into();
    let errno = std::io::Error::last_os_error();
    assert!(result != -1, "{what}: {errno}");
}

/// All three ids.
fn set_uid(id: u32) {
    // SAFETY: takes numbers only.
    check("setresuid", unsafe { libc::setresuid(id, id, id) });
}

fn set_gid(id: u32) {
    // SAFETY: takes numbers only, and no groups.
    unsafe {
        check("setgroups", libc::setgroups(0, std::ptr::null()));
        check("setresgid", libc::setresgid(id, id, id));
    }
}

/// Leaves no capability but those of this bit set, here and in a program that it becomes.
fn set_capabilities(bits: u64) {
    for capability in 0..64 {
        if bits & (1 << capability) == 0 {
            // SAFETY: takes numbers only. It fails for what the kernel does not know.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability) };
        }
    }
    // Version 3, this thread; then effective, permitted and inheritable, low and high half.
    let header = [0x2008_0522_u32, 0];
    let (low, high) = (bits as u32, (bits >> 32) as u32);
    let sets = [low, low, 0, high, high, 0];
    // SAFETY: the header and the sets are what version 3 takes.
    check("capset", unsafe {
        libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr())
    });
}

fn set_dumpable(dumpable: u64) {
    // SAFETY: takes numbers only.
    check("prctl", unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, dumpable)
    });
}

/// A user namespace of its own, in which this user is root.
fn new_user_namespace() {
    // SAFETY: takes numbers only.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    // SAFETY: takes numbers only.
    check("unshare", unsafe { libc::unshare(libc::CLONE_NEWUSER) });
    for (file, text) in [
        ("setgroups", "deny".to_string()),
        ("uid_map", format!("0 {uid} 1")),
        ("gid_map", format!("0 {gid} 1")),
    ] {
        std::fs::write(format!("/proc/self/{file}"), text).expect("a map");
    }
}

/// Makes ptrace(2) fail with this error, whatever it is asked.
fn block_ptrace(errno: u32) {
    let filter = [
        // The number of the call; if it is this one, the next, else the one after.
        libc::sock_filter {
            code: 0x20,
            jt: 0,
            jf: 0,
            k: 0,
        },
        libc::sock_filter {
            code: 0x15,
            jt: 0,
            jf: 1,
            k: libc::SYS_ptrace as u32,
        },
        libc::sock_filter {
            code: 0x06,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ERRNO | errno,
        },
        libc::sock_filter {
            code: 0x06,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ALLOW,
        },
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program is live, and the kernel checks it.
    unsafe {
        check("prctl", libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        let mode = libc::SECCOMP_MODE_FILTER;
        check(
            "seccomp",
            libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program),
        );
    }
}

/// A Landlock domain of its own, in which it may still do everything to files.
fn enter_landlock() {
    // Handles one right, to make a block device: landlock_create_ruleset(2), then
    // landlock_restrict_self(2).
    let handled: u64 = 1 << 11;
    // SAFETY: the attributes are live, and of the first version's size; the rest are numbers.
    unsafe {
        check("prctl", libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        let ruleset = libc::syscall(444, &raw const handled, size_of_val(&handled), 0);
        check("landlock_create_ruleset", ruleset);
        check("landlock_restrict_self", libc::syscall(446, ruleset, 0));
    }
}

fn step(step: &str) {
    let (name, value) = step.split_once('=').unwrap_or((step, "0"));
    let number = || value.parse().expect("a number");
    match name {
        "user" => {
            set_gid(number() as u32);
            set_uid(number() as u32);
        }
        "uid" => set_uid(number() as u32),
        "gid" => set_gid(number() as u32),
        "caps" => set_capabilities(u64::from_str_radix(value, 16).expect("a set")),
        "dumpable" => set_dumpable(number()),
        "userns" => new_user_namespace(),
        "seccomp" => block_ptrace(number() as u32),
        "landlock" => enter_landlock(),
        _ => panic!("{step}?"),
    }
}

async fn attach(pid: Tid, own_child: bool) {
    let tracer = Tracer::new().expect("a tracer");
    match soon("attach", tracer.attach(pid).own_child(own_child)).await {
        Ok(_) => println!("attached"),
        Err(Error::NotPermitted { pid: named, reason }) => {
            assert_eq!(named, pid);
            println!("{reason:?}\n{reason}");
        }
        Err(other) => println!("{other:?}\n{other}"),
    }
    // A program that ends with tracees takes the signals with it that it was just told of.
    tracer.shutdown().await.expect("it ends");
}

/// Has a child attach to this process, and says what came of it.
async fn traced_by_child() {
    let own = std::process::id().to_string();
    let mut command = tokio::process::Command::new("/proc/self/exe");
    command.args(["--", "attach", &own]);
    let status = soon("the child", command.status()).await;
    assert!(status.expect("it starts").success());
    assert!(!is_traced(Tid::current_process()));
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Whatever becomes of the test, this ends.
    // SAFETY: takes a number.
    unsafe { libc::alarm(300) };
    let args: Vec<String> = std::env::args().skip(1).collect();
    let steps = args.iter().take_while(|arg| *arg != "--");
    steps.clone().for_each(|arg| step(arg));
    let rest: Vec<&str> = args
        .iter()
        .skip(steps.count() + 1)
        .map(String::as_str)
        .collect();
    match rest.as_slice() {
        ["pause"] => {
            println!("ready");
            std::future::pending().await
        }
        ["exec", program, args @ ..] => {
            let error = std::process::Command::new(program).args(args).exec();
            panic!("{program}: {error}");
        }
        ["attach", pid] => attach(Tid::from_raw(pid.parse().expect("a pid")), false).await,
        ["traced-by-child"] => traced_by_child().await,
        ["attach-own", program, args @ ..] => {
            let mut command = tokio::process::Command::new(program);
            command.args(args).stdout(std::process::Stdio::null());
            let child = command.kill_on_drop(true).spawn().expect("it starts");
            attach(Tid::from(child.id().expect("it runs")), true).await;
        }
        other => panic!("{other:?}?"),
    }
}

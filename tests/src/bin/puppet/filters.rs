//! Filters of system calls, and system calls that become signals.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use crate::births::fork_and_wait;
use crate::{mark, say};

const RET_ALLOW: u32 = 0x7fff_0000;
const RET_ERRNO: u32 = 0x0005_0000;

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

fn answer(with: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, with)
}

/// Installs a filter.
fn install(flags: libc::c_ulong, filter: &mut [libc::sock_filter]) {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: takes numbers, and a program that outlives the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        let result = libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program);
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}

/// Between marks two filters: one of one instruction, one that is logged and of four, by
/// which a call that is not to be made gets 77.
pub(crate) fn install_two() {
    mark(0, 0, 0);
    install(0, &mut [answer(RET_ALLOW)]);
    mark(1, 0, 0);
    let refused = libc::SYS_getpgid as u32;
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    install(
        libc::SECCOMP_FILTER_FLAG_LOG,
        &mut [
            instruction(load, 0, 0, 0),
            instruction(equal, 0, 1, refused),
            answer(RET_ERRNO | 77),
            answer(RET_ALLOW),
        ],
    );
    mark(2, 0, 0);
    say(&refused_call());
    mark(3, 0, 0);
    say(&refused_call());
}

/// Installs a filter that asks the tracer about a call, with the data 5; then makes it
/// between marks, and says what it gives, three times.
pub(crate) fn ask_tracer() {
    const RET_TRACE: u32 = 0x7ff0_0000;
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    install(
        0,
        &mut [
            instruction(load, 0, 0, 0),
            instruction(equal, 0, 1, libc::SYS_getpgid as u32),
            answer(RET_TRACE | 5),
            answer(RET_ALLOW),
        ],
    );
    for n in 0..3 {
        mark(n, 0, 0);
        say(&refused_call());
    }
}

/// What the call that the filter refuses gives.
fn refused_call() -> String {
    // SAFETY: getpgid takes a number and touches nothing.
    let result = unsafe { libc::syscall(libc::SYS_getpgid, 0) };
    match result {
        -1 => std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(0)
            .to_string(),
        _ => "made".to_string(),
    }
}

/// For each line of its input makes a call and says what it gives: by itself, or by what it
/// makes before it says that it is ready.
pub(crate) fn call_on_demand(who: &str) {
    let serve = || {
        say("ready");
        for line in std::io::stdin().lines() {
            assert_eq!(line.expect("an input"), "");
            say(&refused_call());
        }
    };
    match who {
        "self" => serve(),
        "child" => fork_and_wait(serve),
        "grandchild" => fork_and_wait(|| fork_and_wait(serve)),
        "thread" => std::thread::spawn(serve).join().expect("no panic"),
        other => panic!("no such maker of calls: {other}"),
    }
}

/// A call of the x32 ABI; a kernel need not have it.
#[cfg(target_arch = "x86_64")]
pub(crate) fn x32_call() {
    const X32_BIT: libc::c_long = 0x4000_0000;
    // SAFETY: getppid takes no arguments and touches nothing.
    unsafe { libc::syscall(libc::SYS_getppid | X32_BIT, 1, 2, 3) };
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn x32_call() {}

/// What switches the dispatch: allowed while it is 0.
static SELECTOR: AtomicU8 = AtomicU8::new(0);

/// Which calls came as signals, the last one.
static DISPATCHED: AtomicI32 = AtomicI32::new(0);

extern "C" fn note_dispatched(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // So that the return from here is allowed.
    SELECTOR.store(0, Ordering::SeqCst);
    // SAFETY: the kernel passes a siginfo to a handler with SA_SIGINFO; that of SIGSYS has
    // the address of the call and then its number.
    let number = unsafe { info.cast::<i32>().add(6).read() };
    DISPATCHED.store(number, Ordering::SeqCst);
}

/// Makes a call with the selector set to block, and says whether it was dispatched: its
/// number, or zero.
fn try_dispatch() {
    DISPATCHED.store(0, Ordering::SeqCst);
    SELECTOR.store(1, Ordering::SeqCst);
    // SAFETY: getpgid takes a number and touches nothing.
    unsafe { libc::syscall(libc::SYS_getpgid, 0) };
    SELECTOR.store(0, Ordering::SeqCst);
    say(&DISPATCHED.load(Ordering::SeqCst).to_string());
}

/// Marks where the selector is; switches dispatch on, if it was told to; then tries it
/// between marks, three times.
pub(crate) fn dispatch(own: bool) {
    // SAFETY: zero is a value of every field; the handler has the form that SA_SIGINFO asks
    // for, and only stores numbers.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note_dispatched as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSYS, &raw const action, ptr::null_mut());
    }
    let selector = SELECTOR.as_ptr();
    const PR_SET_SYSCALL_USER_DISPATCH: c_int = 59;
    if own {
        // SAFETY: numbers, and an address that is there as long as the program.
        let result = unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, selector) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
    mark(selector as usize, 0, 0);
    try_dispatch();
    mark(1, 0, 0);
    try_dispatch();
    mark(2, 0, 0);
    try_dispatch();
}

/// An area as rseq(2) takes it.
#[repr(C, align(32))]
struct RseqArea([u32; 8]);

/// Marks before and after it registers an area for restartable sequences, and says with
/// which result; the mark has the area, its length and its signature.
pub(crate) fn rseq() {
    const SIGNATURE: u32 = 0x5305_3053;
    mark(0, 0, 0);
    let area: &'static mut RseqArea = Box::leak(Box::new(RseqArea([0; 8])));
    let length = size_of::<RseqArea>();
    // SAFETY: an area that is there as long as the program, and that nothing else uses.
    let result =
        unsafe { libc::syscall(libc::SYS_rseq, ptr::from_mut(area), length, 0, SIGNATURE) };
    say(&result.to_string());
    mark(ptr::from_ref(area) as usize, length, SIGNATURE as usize);
}

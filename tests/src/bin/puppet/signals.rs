//! Sending, catching, blocking.

use std::ffi::{c_int, c_void};
use std::process::exit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use crate::{mark, own_pid, pause, say};

/// What the handler saw, in order: signal, code, value.
static SEEN: [(AtomicI32, AtomicI32, AtomicU64); 16] =
    [const { (AtomicI32::new(0), AtomicI32::new(0), AtomicU64::new(0)) }; 16];
static COUNT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn note(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes a siginfo to a handler with SA_SIGINFO.
    let (code, value) = unsafe { ((*info).si_code, (*info).si_value().sival_ptr as u64) };
    let at = COUNT.fetch_add(1, Ordering::Relaxed);
    if let Some(seen) = SEEN.get(at) {
        seen.0.store(signal, Ordering::Relaxed);
        seen.1.store(code, Ordering::Relaxed);
        seen.2.store(value, Ordering::Relaxed);
    }
}

fn say_seen(from: usize, to: usize) {
    for (signal, code, value) in SEEN.iter().take(to).skip(from) {
        let [signal, code] = [signal, code].map(|n| n.load(Ordering::Relaxed));
        let value = match code {
            libc::SI_QUEUE => value.load(Ordering::Relaxed),
            _ => 0,
        };
        say(&format!("caught {signal} code {code} value {value}"));
    }
}

/// Installs the handler that takes notes.
fn handle(signal: c_int, flags: c_int) {
    // SAFETY: zero is a value of every field; the handler has the form that SA_SIGINFO
    // asks for, and only stores numbers.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | flags;
        assert_eq!(
            libc::sigaction(signal, &raw const action, ptr::null_mut()),
            0
        );
    }
}

/// Sends itself a signal: tgkill, so that it arrives before this returns.
fn to_myself(signal: c_int) {
    // SAFETY: takes a number; whoever calls has a handler or wants the default.
    unsafe { libc::raise(signal) };
}

fn mask(how: c_int, signals: &[c_int]) {
    // SAFETY: a set on this stack.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        libc::sigprocmask(how, &raw const set, ptr::null_mut());
    }
}

/// Blocks signals in this thread, and in those that it makes.
pub(crate) fn block(signals: &[c_int]) {
    mask(libc::SIG_BLOCK, signals);
}

/// Sends itself a signal; ends with 3 if that did nothing.
pub(crate) fn raise(signal: c_int) {
    to_myself(signal);
    exit(3)
}

/// Catches signals, says what it caught, and ends at the last of them. A mark tells that
/// it waits.
pub(crate) fn catch(args: &[String]) {
    let signals: Vec<c_int> = args
        .iter()
        .map(|arg| arg.parse().expect("a number"))
        .collect();
    // Blocked, so that none comes between the look and the sleep.
    mask(libc::SIG_BLOCK, &signals);
    for signal in &signals {
        handle(*signal, 0);
    }
    say("ready");
    mark(0, 0, 0);
    let mut said = 0;
    // SAFETY: zero is a value of a set, and means empty.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: a set that outlives the call.
        unsafe { libc::sigsuspend(&raw const none) };
        let count = COUNT.load(Ordering::Relaxed);
        say_seen(said, count);
        said = count;
        let last = SEEN[count.max(1) - 1].0.load(Ordering::Relaxed);
        if Some(&last) == signals.last() {
            exit(0);
        }
    }
}

/// Real-time signals with values, queued while they are blocked; then says what came.
pub(crate) fn queue_while_blocked() {
    let signal = libc::SIGRTMIN() + 1;
    handle(signal, 0);
    mask(libc::SIG_BLOCK, &[signal]);
    for value in [11_usize, 22, 33] {
        let value = libc::sigval {
            sival_ptr: value as *mut c_void,
        };
        // SAFETY: takes numbers; the value is one.
        assert_eq!(unsafe { libc::sigqueue(own_pid(), signal, value) }, 0);
    }
    mask(libc::SIG_UNBLOCK, &[signal]);
    say_seen(0, COUNT.load(Ordering::Relaxed));
}

/// Sends itself a blocked signal; a mark; then lets it come; a mark.
pub(crate) fn block_a_while(signal: c_int) {
    handle(signal, 0);
    mask(libc::SIG_BLOCK, &[signal]);
    to_myself(signal);
    mark(1, 0, 0);
    mask(libc::SIG_UNBLOCK, &[signal]);
    mark(2, 0, 0);
    say_seen(0, COUNT.load(Ordering::Relaxed));
}

/// How many signals came, and whether with the values 1, 2, 3 and so on.
static IN_ORDER: AtomicI32 = AtomicI32::new(0);

extern "C" fn count_values(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes a siginfo to a handler with SA_SIGINFO.
    let value = unsafe { (*info).si_value().sival_ptr as usize };
    let next = IN_ORDER.load(Ordering::Relaxed) + 1;
    if value == next as usize {
        IN_ORDER.store(next, Ordering::Relaxed);
    }
}

/// Blocks two signals, queues the one for its process so many times, with the values 1, 2, 3
/// and so on, and sends itself the other, for this thread. A mark; then says what it blocks,
/// lets them come, and says how many came in order, and how often the other.
pub(crate) fn pending(count: c_int) {
    let queued = libc::SIGRTMIN() + 1;
    // SAFETY: zero is a value of every field; the handler has the form that SA_SIGINFO asks
    // for, and only stores numbers.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count_values as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(queued, &raw const action, ptr::null_mut());
    }
    handle(libc::SIGUSR2, 0);
    mask(libc::SIG_BLOCK, &[queued, libc::SIGUSR2]);
    for value in 1..=count as usize {
        let value = libc::sigval {
            sival_ptr: value as *mut c_void,
        };
        // SAFETY: takes numbers; the value is one.
        assert_eq!(unsafe { libc::sigqueue(own_pid(), queued, value) }, 0);
    }
    to_myself(libc::SIGUSR2);
    mark(queued as usize, 0, 0);
    // SAFETY: a set on this stack, zero a value of it.
    let blocked: Vec<c_int> = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), &raw mut set);
        (1..=64)
            .filter(|n| libc::sigismember(&raw const set, *n) == 1)
            .collect()
    };
    say(&format!("blocked {blocked:?}"));
    mask(libc::SIG_UNBLOCK, &[queued, libc::SIGUSR2]);
    let others = COUNT.load(Ordering::Relaxed);
    say(&format!(
        "came {} {others}",
        IN_ORDER.load(Ordering::Relaxed)
    ));
}

static CHILD_SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count_child_signals(_: c_int) {
    CHILD_SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Makes a child that pauses and says its id; then what it learns of the child's end.
pub(crate) fn parent_of_a_pausing_child() {
    // Made by a tracer thread it inherits a mask of all signals.
    mask(libc::SIG_UNBLOCK, &[libc::SIGTERM, libc::SIGCHLD]);
    // SAFETY: the handler only adds to a number; zero is a value of every field.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count_child_signals as *const () as usize;
        action.sa_flags = libc::SA_RESTART | libc::SA_NOCLDSTOP;
        libc::sigaction(libc::SIGCHLD, &raw const action, ptr::null_mut());
    }
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        pause();
    }
    say(&format!("{pid}"));
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    let signals = CHILD_SIGNALS.load(Ordering::Relaxed);
    say(&format!(
        "waited {} status {status} signals {signals}",
        waited == pid
    ));
}

/// Marks, with a signal in between that has a handler.
pub(crate) fn raise_between_marks() {
    handle(libc::SIGUSR1, 0);
    mark(1, 0, 0);
    // Not raise(3), which may block signals meanwhile.
    // SAFETY: takes numbers.
    unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            libc::getpid(),
            libc::gettid(),
            libc::SIGUSR1,
        )
    };
    mark(2, 0, 0);
}

/// Runs into an `int3`, with a handler for what comes of it.
#[cfg(target_arch = "x86_64")]
pub(crate) fn breakpoint() {
    handle(libc::SIGTRAP, 0);
    mark(0, 0, 0);
    // SAFETY: one trap, which the handler takes.
    unsafe { std::arch::asm!("int3") };
    say_seen(0, COUNT.load(Ordering::Relaxed));
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn breakpoint() {}

/// Blocks SIGTRAP, and sends itself one that looks as if the kernel had, with this code. A
/// mark; then a good end.
pub(crate) fn forge_trap(code: c_int) {
    mask(libc::SIG_BLOCK, &[libc::SIGTRAP]);
    // SAFETY: zero is a value of every field; a siginfo that outlives the call.
    let result = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        info.si_signo = libc::SIGTRAP;
        info.si_code = code;
        let pid = own_pid();
        let call = libc::SYS_rt_tgsigqueueinfo;
        libc::syscall(call, pid, pid, libc::SIGTRAP, &raw const info)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    mark(0, 0, 0);
}

/// Writes where nothing is.
pub(crate) fn fault() {
    // SAFETY: not sound at all, which is the purpose: the process is to die of it.
    unsafe { ptr::write_volatile(0x123 as *mut u8, 1) };
}

/// Aborts in a directory where a core may be dumped.
pub(crate) fn dump(args: &[String]) {
    std::env::set_current_dir(args.first().expect("a directory")).expect("a directory");
    let limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: a limit that outlives the call; then the end.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
        libc::abort()
    }
}

//! A program to be traced: `actor SCRIPT` lives the life that the script says.
//!
//! A script is a sequence of acts, a letter each. One in brackets is what comes of an act:
//! `t(…)` makes a thread, `f(…)` a process by fork, `e(…)` executes itself with that script,
//! `v(…)` does so in a child of vfork. `T3;` makes three threads that sleep. `c` makes some
//! system calls that must not fail, `n` sleeps a little, `y` computes a little, `p` waits for a signal; `r10;`
//! sends a signal to the thread, `k10;` to the process; `w` waits for a child; `q` ends the
//! thread, `x` the process. What is no act is skipped.

use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::OnceLock;
use std::time::Duration;

/// A script, and the rest of what it is taken from.
type Script = [u8];

static OWN: OnceLock<CString> = OnceLock::new();

/// The part up to the bracket that closes, and what follows it.
fn in_brackets(script: &Script) -> (&Script, &Script) {
    let mut depth = 0_usize;
    for (at, act) in script.iter().enumerate() {
        match act {
            b'(' => depth += 1,
            b')' if depth == 1 => return (&script[1..at], &script[at + 1..]),
            b')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => break,
            _ => {}
        }
    }
    (&[], script)
}

/// The number up to the semicolon, and what follows it.
fn number(script: &Script) -> (c_int, &Script) {
    let end = script.iter().position(|byte| *byte == b';');
    let (digits, rest) = script.split_at(end.unwrap_or(0));
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|d| d.parse().ok());
    (number.unwrap_or(0), rest.get(1..).unwrap_or_default())
}

fn pause() {
    // SAFETY: takes nothing and touches nothing.
    unsafe { libc::pause() };
}

/// Makes a call that cannot fail, unless a filter or a tracer has it fail: then the program ends
/// as if it had panicked.
fn certain_call(number: libc::c_long) {
    // SAFETY: takes nothing, or the number of this process, and touches nothing.
    if unsafe { libc::syscall(number, 0) } < 0 {
        // SAFETY: ends the process.
        unsafe { libc::_exit(101) }
    }
}

fn end_thread() -> ! {
    // SAFETY: the stack of this thread is not used by others.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("it has ended")
}

fn thread(script: Vec<u8>) {
    // One that cannot be made is missed by nobody.
    let _ = std::thread::Builder::new().spawn(move || act(&script));
}

fn fork(script: &Script) {
    // SAFETY: the C library lets a child of a process with threads allocate and make threads.
    if unsafe { libc::fork() } == 0 {
        end_if_forgotten();
        act(script);
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) }
    }
}

/// The arguments of this program with another script.
fn arguments(script: &Script) -> [CString; 2] {
    let own = OWN.get().cloned().unwrap_or_default();
    [own, CString::new(script).unwrap_or_default()]
}

fn exec(script: &Script) {
    let args = arguments(script);
    let argv = [args[0].as_ptr(), args[1].as_ptr(), std::ptr::null()];
    // SAFETY: an array of strings that ends in null. If it fails the script goes on.
    unsafe { libc::execv(argv[0], argv.as_ptr()) };
}

extern "C" fn exec_child(argv: *mut c_void) -> c_int {
    let argv = argv.cast::<*const c_char>();
    // SAFETY: made by `vfork`, whose frame waits for this.
    unsafe {
        libc::execv(*argv, argv);
        libc::_exit(0)
    }
}

fn vfork(script: &Script) {
    let args = arguments(script);
    let mut argv = [args[0].as_ptr(), args[1].as_ptr(), std::ptr::null()];
    let mut stack = vec![0_u128; 4096];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the end of the stack, which is there until the child has left it.
    unsafe {
        let top = stack.as_mut_ptr().add(4096);
        libc::clone(exec_child, top.cast(), flags, argv.as_mut_ptr().cast());
    }
}

/// Makes a call that ends by itself and touches nothing of this program's.
fn signal(number: libc::c_long, first: c_int, second: c_int) {
    // SAFETY: kill and tgkill take numbers.
    unsafe { libc::syscall(number, libc::getpid(), first, second) };
}

fn act(mut script: &Script) {
    while let [letter, rest @ ..] = script {
        script = rest;
        match letter {
            b'c' => [libc::SYS_getppid, libc::SYS_getpgid, libc::SYS_sched_yield]
                .into_iter()
                .for_each(certain_call),
            b'n' => std::thread::sleep(Duration::from_micros(200)),
            b'y' => (0..20_000).for_each(|n| {
                std::hint::black_box(n);
            }),
            b'p' => pause(),
            // SAFETY: takes a status that is not asked for.
            b'w' => drop(unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) }),
            b'q' => end_thread(),
            // SAFETY: ends the process.
            b'x' => unsafe { libc::_exit(3) },
            b'r' | b'k' | b'T' => {
                let (number, rest) = number(script);
                script = rest;
                match letter {
                    // SAFETY: takes nothing.
                    b'r' => signal(libc::SYS_tgkill, unsafe { libc::gettid() }, number),
                    b'k' => signal(libc::SYS_kill, number, 0),
                    _ => (0..number).for_each(|_| thread(b"ppp".to_vec())),
                }
            }
            b't' | b'f' | b'e' | b'v' => {
                let (inner, rest) = in_brackets(script);
                script = rest;
                match letter {
                    b't' => thread(inner.to_vec()),
                    b'f' => fork(inner),
                    b'e' => exec(inner),
                    _ => vfork(inner),
                }
            }
            _ => {}
        }
    }
}

extern "C" fn handler(_: c_int) {}

/// Whatever becomes of the test, this ends.
fn end_if_forgotten() {
    // SAFETY: takes a number; the signal's default ends the process.
    unsafe { libc::alarm(120) };
}

fn main() {
    end_if_forgotten();
    for signal in [libc::SIGUSR1, libc::SIGUSR2, 39] {
        // SAFETY: zero is a value of every field.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        // SAFETY: the action is live, and its handler does nothing.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
    let mut args = std::env::args_os();
    let own = args
        .next()
        .and_then(|arg| CString::new(arg.into_encoded_bytes()).ok());
    let _ = OWN.set(own.unwrap_or_default());
    let script = args.next().unwrap_or_default();
    act(script.as_encoded_bytes());
}

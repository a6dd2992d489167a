//! A program to be traced: it does one thing, for ever or a given number of times, and
//! says on its standard output when it has begun.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever listened may be gone.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn pause() -> ! {
    loop {
        // SAFETY: pause takes nothing.
        unsafe { libc::pause() };
    }
}

fn spin() -> ! {
    loop {
        std::hint::black_box(0);
    }
}

fn call() {
    // SAFETY: getppid takes nothing.
    unsafe { libc::syscall(libc::SYS_getppid) };
}

/// Keeps its user's queue of pending signals full: what others have in it, they may take.
fn floods() {
    let mut set = nix::sys::signal::SigSet::empty().as_ref().to_owned();
    // SAFETY: the set is live; the signal exists.
    unsafe {
        libc::sigaddset(&raw mut set, 40);
        libc::sigaddset(&raw mut set, 41);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
    let value = libc::sigval {
        sival_ptr: std::ptr::null_mut(),
    };
    loop {
        // SAFETY: takes numbers and a value that nobody reads.
        while unsafe { libc::sigqueue(libc::getpid(), 41, value) } == 0 {}
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Says where a number is, and waits for it to become 7.
fn memory() {
    static NUMBER: AtomicU64 = AtomicU64::new(42);
    say(&format!("{}", NUMBER.as_ptr() as usize));
    while NUMBER.load(Ordering::Relaxed) != 7 {
        std::thread::yield_now();
    }
}

/// Threads that sleep.
fn idle_threads(count: u64) {
    for _ in 1..count {
        std::thread::spawn(|| pause());
    }
    say("ready");
    pause();
}

fn number(arg: Option<&String>) -> u64 {
    arg.and_then(|arg| arg.parse().ok()).unwrap_or(u64::MAX)
}

/// Threads that sleep, compute, wait for data and make calls, in turn.
fn threads(count: u64) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    std::mem::forget(writer);
    for number in 1..count {
        let mut reader = reader.try_clone().expect("a descriptor");
        std::thread::spawn(move || match number % 4 {
            0 => spin(),
            1 => loop {
                std::thread::sleep(Duration::from_secs(3600));
            },
            2 => drop(reader.read(&mut [0])),
            _ => loop {
                call();
                std::thread::sleep(Duration::from_millis(1));
            },
        });
    }
    say("ready");
    pause();
}

/// One read of a file, which the kernel may interrupt but the program should not notice.
fn read(path: &str) {
    let path = std::ffi::CString::new(path).expect("no NUL");
    // SAFETY: the path is a C string; the descriptor is used below only.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDWR) };
    say("ready");
    let mut byte = 0_u8;
    // SAFETY: one byte is there to be written.
    let result = unsafe { libc::read(fd, (&raw mut byte).cast(), 1) };
    let errno = std::io::Error::last_os_error();
    say(&match result {
        -1 => format!("read failed: {errno}"),
        n => format!("read {n}"),
    });
}

/// One nanosleep, as `read`.
fn nap(milliseconds: u64) {
    let time = libc::timespec {
        tv_sec: (milliseconds / 1000) as i64,
        tv_nsec: (milliseconds % 1000) as i64 * 1_000_000,
    };
    say("ready");
    // SAFETY: the time is live; the rest is not asked for.
    let result = unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
    say(&format!("slept {result}"));
}

/// One epoll_wait, which never restarts.
fn epoll(milliseconds: u64) {
    // SAFETY: takes a number.
    let epoll = unsafe { libc::epoll_create1(0) };
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    say("ready");
    // SAFETY: there is room for one event.
    let result = unsafe { libc::epoll_wait(epoll, &raw mut event, 1, milliseconds as i32) };
    let errno = std::io::Error::last_os_error();
    say(&match result {
        -1 => format!("epoll failed: {errno}"),
        n => format!("epoll {n}"),
    });
}

/// Sleeps in vfork(2), uninterruptibly, until its child ends, which is when somebody
/// kills it.
fn vfork() {
    say("ready");
    let parent = std::process::id();
    // What vfork(2) is; arm64 has no call of that name.
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the child makes system calls only, in a frame that is not left.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if child == 0 {
        // SAFETY: takes numbers only. Nothing of this outlives the test.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        loop {
            // SAFETY: as above.
            unsafe {
                if libc::getppid() as u32 != parent {
                    libc::_exit(0);
                }
                libc::poll(std::ptr::null_mut(), 0, 1);
            }
        }
    }
    // SAFETY: takes numbers, and a status that is not asked for.
    unsafe { libc::waitpid(child as i32, std::ptr::null_mut(), libc::__WALL) };
    say("vforked");
}

/// Makes a thread, then a process, again and again, until SIGUSR1 comes.
fn births(count: u64) {
    static ENOUGH: AtomicBool = AtomicBool::new(false);
    extern "C" fn enough(_: i32) {
        ENOUGH.store(true, Ordering::Relaxed);
    }
    let handler = enough as extern "C" fn(i32);
    // SAFETY: the handler only stores a flag.
    unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    say("ready");
    for _ in 0..count {
        if ENOUGH.load(Ordering::Relaxed) {
            return;
        }
        let thread = std::thread::spawn(call);
        thread.join().expect("a call does not panic");
        // SAFETY: the child ends at once; the parent awaits it.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(0);
            }
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
    }
}

/// Two processes, each of which makes two more, and so on; all of them pause, and close their
/// output before.
fn bomb(generations: u64) {
    for generation in 0..generations {
        for _ in 0..2 {
            // SAFETY: there is one thread; the child goes on as this process does.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: takes a number. An alarm is not inherited.
                unsafe { libc::alarm(120) };
                return bomb(generations - generation - 1);
            }
        }
    }
    // SAFETY: takes a number; nothing is written any more.
    unsafe { libc::close(1) };
    pause();
}

/// A thread that starts the next one of its chain and ends, after up to a millisecond.
fn link(chain: u64, mut random: u64) {
    random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    std::thread::sleep(Duration::from_micros((random >> 33) % 1000));
    let next = std::thread::Builder::new().name(format!("chain-{chain}"));
    // A chain that cannot go on is missed by whoever counts them.
    let _ = next.spawn(move || link(chain, random));
}

fn chains(count: u64) {
    for chain in 0..count {
        link(chain, chain);
    }
    say("ready");
    pause();
}

/// Makes threads that sleep, then executes itself from another one, again and again.
fn execs(threads: u64) {
    use std::os::unix::process::CommandExt;
    for _ in 0..threads {
        std::thread::spawn(|| pause());
    }
    let exec = || {
        std::thread::sleep(Duration::from_millis(10));
        let own = std::env::args_os();
        std::process::Command::new("/proc/self/exe")
            .args(own.skip(1))
            .exec()
    };
    let error = std::thread::spawn(exec).join().expect("no panic");
    say(&format!("{error}"));
}

/// Says when it got SIGUSR1, and how often.
fn signals() {
    let mut set = nix::sys::signal::SigSet::empty();
    set.add(nix::sys::signal::SIGUSR1);
    set.thread_block().expect("a mask");
    say("ready");
    for count in 1.. {
        set.wait().expect("SIGUSR1");
        say(&format!("signal {count}"));
    }
}

fn main() {
    // Whatever becomes of the test, this ends.
    // SAFETY: takes a number.
    unsafe { libc::alarm(300) };
    let args: Vec<String> = std::env::args().collect();
    let what = args.get(1).map_or("pause", String::as_str);
    let argument = args.get(2);
    match what {
        "pause" => {
            say("ready");
            pause();
        }
        "spin" => {
            say("ready");
            spin();
        }
        "calls" => {
            say("ready");
            for _ in 0..number(argument) {
                call();
            }
        }
        "bomb" => bomb(number(argument)),
        "chains" => chains(number(argument)),
        "execs" => {
            // Once for all its lives.
            if std::env::var_os("AGAIN").is_none() {
                say("ready");
                // SAFETY: there is no other thread yet.
                unsafe { std::env::set_var("AGAIN", "1") };
            }
            execs(number(argument));
        }
        "idle-threads" => idle_threads(number(argument)),
        "threads" => threads(number(argument)),
        "read" => read(argument.map_or("/dev/null", String::as_str)),
        "nap" => nap(number(argument)),
        "epoll" => epoll(number(argument)),
        "vfork" => vfork(),
        "births" => births(number(argument)),
        "signals" => signals(),
        "memory" => memory(),
        "floods" => floods(),
        "exit" => std::process::exit(number(argument) as i32),
        _ => std::process::exit(100),
    }
}

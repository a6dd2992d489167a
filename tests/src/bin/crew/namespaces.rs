//! Processes in pid namespaces of their own.

use std::process::exit;

use crate::{groups::start_pausing, hear, number, pause, say};

fn unshare() {
    // SAFETY: takes a number.
    let result = unsafe { libc::unshare(libc::CLONE_NEWPID) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Makes a process; this is its code if the result is zero.
fn fork() -> i32 {
    // SAFETY: no other thread of this process holds a lock that the child needs.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", std::io::Error::last_os_error());
    pid
}

fn code_of(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the status outlives the call.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    match libc::WIFSIGNALED(status) {
        true => 100 + libc::WTERMSIG(status),
        false => libc::WEXITSTATUS(status),
    }
}

/// `namespace DEPTH`: makes a namespace with an init, which makes a thread, and below it
/// another one, so many deep. The innermost init makes a process that ends with 7, and so
/// do all.
pub(crate) fn nested(args: &[String]) {
    nest(number(args, 0))
}

fn nest(depth: i32) -> ! {
    if depth == 0 {
        let pid = fork();
        if pid == 0 {
            exit(7);
        }
        exit(code_of(pid));
    }
    unshare();
    let init = fork();
    if init == 0 {
        // SAFETY: takes nothing.
        assert_eq!(unsafe { libc::getpid() }, 1);
        let thread = std::thread::spawn(|| ());
        thread.join().expect("a thread");
        nest(depth - 1);
    }
    exit(code_of(init))
}

/// `init-dies COUNT`: an init of a namespace with so many processes of two threads each, which
/// pause. It ends with 5 when it is told, and takes them with it.
pub(crate) fn init_dies(args: &[String]) {
    let count = number(args, 0);
    unshare();
    let init = fork();
    if init != 0 {
        exit(code_of(init));
    }
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    for _ in 0..count {
        if fork() == 0 {
            start_pausing(1);
            std::io::Write::write_all(&mut &writer, b"x").expect("a reader");
            pause();
        }
    }
    let mut ready = vec![0; count as usize];
    std::io::Read::read_exact(&mut reader, &mut ready).expect("all are ready");
    say("ready");
    hear();
    exit(5)
}

//! The bare loops that all else is compared with: one thread that blocks in
//! `waitid` and resumes what has stopped, by plain system calls and nothing else.
//!
//! The only module with `unsafe` code. It does not use `tracehound-sys`: what that
//! layer costs is part of what is measured.

use std::ffi::CString;
use std::hint::black_box;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use crate::workload::{LOADER_PATH, Workload};

/// The id of a traced program.
pub(crate) type Pid = libc::pid_t;

/// How the loop resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// To the next system call: `PTRACE_SYSCALL`.
    Syscall,
    /// For one instruction: `PTRACE_SINGLESTEP`.
    Step,
}

impl Resume {
    fn request(self) -> libc::c_uint {
        match self {
            Resume::Syscall => libc::PTRACE_SYSCALL,
            Resume::Step => libc::PTRACE_SINGLESTEP,
        }
    }

    /// The status of the stops that it leads to.
    fn stop(self) -> i32 {
        match self {
            Resume::Syscall => libc::SIGTRAP | 0x80,
            Resume::Step => libc::SIGTRAP,
        }
    }
}

/// What the loop tells.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen {
    /// A stop of the kind that was asked for.
    Stop(Pid),
    /// A tracee is dead.
    Death,
}

/// Starts the program. It is held in the stop after its exec.
pub(crate) fn spawn_held(workload: Workload) -> io::Result<Pid> {
    let [program, args @ ..] = workload.command_line()?;
    let mut command = Command::new(program);
    command.args(args).env_remove(LOADER_PATH);
    // SAFETY: between fork and exec the closure makes one system call, and an error
    // without allocating.
    unsafe { command.pre_exec(|| ptrace(libc::PTRACE_TRACEME, 0, 0, 0)) };
    let pid = Pid::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
    match wait(libc::P_PID, pid)? {
        Report::Stopped(_, libc::SIGTRAP) => {}
        other => return Err(io::Error::other(format!("no exec: {other:?}"))),
    }
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
    ptrace(libc::PTRACE_SETOPTIONS, pid, 0, options as usize)?;
    Ok(pid)
}

/// The program, ready to be made by [`vfork_traced`].
pub(crate) struct Ready {
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Ready {
    pub(crate) fn new(workload: Workload) -> io::Result<Ready> {
        let text = |bytes: Vec<u8>| CString::new(bytes).map_err(io::Error::other);
        let args = workload.command_line()?.map(|arg| text(arg.into_vec()));
        let env = std::env::vars_os().filter(|(name, _)| name != LOADER_PATH);
        let env = env.map(|(name, value)| text([name.as_bytes(), b"=", value.as_bytes()].concat()));
        Ok(Ready {
            args: args.into_iter().collect::<io::Result<_>>()?,
            env: env.collect::<io::Result<_>>()?,
        })
    }
}

/// Makes a traced process as fast as the kernel does: a child that shares this memory, asks to be
/// traced, and is waited for until the stop of its exec.
pub(crate) fn vfork_traced(ready: &Ready) -> io::Result<Pid> {
    const STACK: usize = 64 * 1024;
    struct Task {
        args: Vec<*const libc::c_char>,
        env: Vec<*const libc::c_char>,
    }
    extern "C" fn child(task: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the maker sleeps until the exec, and its task lives as long; what is called
        // takes no lock and allocates nothing.
        unsafe {
            let task = &*task.cast::<Task>();
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::execve(task.args[0], task.args.as_ptr(), task.env.as_ptr())
        }
    }
    let pointers = |texts: &[CString]| -> Vec<_> {
        let pointers = texts.iter().map(|text| text.as_ptr());
        pointers.chain([ptr::null()]).collect()
    };
    let task = Task {
        args: pointers(&ready.args),
        env: pointers(&ready.env),
    };
    let mut stack = Vec::<u128>::with_capacity(STACK / size_of::<u128>());
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack grows down from the end of its allocation; it and the task outlive the
    // child's stay in this memory.
    let pid = unsafe {
        let top = stack.as_mut_ptr().byte_add(STACK);
        libc::clone(
            child,
            top.cast(),
            flags,
            (&raw const task).cast_mut().cast(),
        )
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    match wait(libc::P_PID, pid)? {
        Report::Stopped(_, libc::SIGTRAP) => Ok(pid),
        other => Err(io::Error::other(format!("no exec: {other:?}"))),
    }
}

/// Lets the held program run until it gets the signal, which is suppressed by the next
/// resume.
pub(crate) fn run_to_signal(pid: Pid, signal: i32) -> io::Result<()> {
    loop {
        ptrace(libc::PTRACE_CONT, pid, 0, 0)?;
        match wait(libc::P_PID, pid)? {
            Report::Stopped(_, status) if status == signal => return Ok(()),
            Report::Stopped(..) => {}
            Report::Dead => return Err(io::Error::other("it has ended")),
        }
    }
}

/// Resumes the held programs and serves their stops until they all have ended.
pub(crate) fn serve(
    pids: &[Pid],
    resume: Resume,
    mut see: impl FnMut(Seen) -> io::Result<()>,
) -> io::Result<()> {
    let request = resume.request();
    for &pid in pids {
        ptrace(request, pid, 0, 0)?;
    }
    let mut alive = pids.len();
    while alive > 0 {
        match wait(libc::P_ALL, 0)? {
            Report::Stopped(pid, status) if status == resume.stop() => {
                see(Seen::Stop(pid))?;
                ptrace(request, pid, 0, 0)?;
            }
            Report::Stopped(pid, signal) => ptrace(request, pid, 0, signal as usize)?,
            Report::Dead => {
                see(Seen::Death)?;
                alive -= 1;
            }
        }
    }
    Ok(())
}

/// As [`serve`], but asks each tracee in turn, so that none waits for those at the head of the
/// kernel's list, and yields the CPU where none had stopped. It never sleeps: for tracees that
/// are all busy.
pub(crate) fn serve_in_turn(
    pids: &[Pid],
    resume: Resume,
    mut see: impl FnMut(Seen) -> io::Result<()>,
) -> io::Result<()> {
    /// How many are asked before the next yield.
    const ASKED: usize = 32;
    let request = resume.request();
    for &pid in pids {
        ptrace(request, pid, 0, 0)?;
    }
    let mut alive = pids.to_vec();
    let mut next = 0;
    while !alive.is_empty() {
        let mut found = false;
        for _ in 0..ASKED.min(alive.len()) {
            if next >= alive.len() {
                next = 0;
            }
            let Some(&pid) = alive.get(next) else {
                break;
            };
            let report = poll(pid)?;
            found |= report.is_some();
            match report {
                None => {}
                Some(Report::Stopped(pid, status)) if status == resume.stop() => {
                    see(Seen::Stop(pid))?;
                    ptrace(request, pid, 0, 0)?;
                }
                Some(Report::Stopped(pid, signal)) => ptrace(request, pid, 0, signal as usize)?,
                Some(Report::Dead) => {
                    see(Seen::Death)?;
                    alive.swap_remove(next);
                    continue;
                }
            }
            next += 1;
        }
        if !found {
            std::thread::yield_now();
        }
    }
    Ok(())
}

/// Resumes the held program and whatever it forks until all have ended.
pub(crate) fn follow_forks(first: Pid) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACECLONE;
    let options = options | libc::PTRACE_O_EXITKILL;
    ptrace(libc::PTRACE_SETOPTIONS, first, 0, options as usize)?;
    ptrace(libc::PTRACE_CONT, first, 0, 0)?;
    loop {
        match wait(libc::P_ALL, 0) {
            Ok(Report::Stopped(pid, status)) => {
                // An event, or the first stop of a child; or a signal.
                let events = status >> 8 != 0 || status == libc::SIGSTOP;
                let signal = if events { 0 } else { status as usize };
                ptrace(libc::PTRACE_CONT, pid, 0, signal)?;
            }
            Ok(Report::Dead) => {}
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Attaches to every thread of a process, stops them all, and lets them go.
pub(crate) fn attach_stop_and_let_go(pid: Pid) -> io::Result<()> {
    let mut tids = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let name = entry?.file_name();
        let tid: Pid = name.to_string_lossy().parse().map_err(io::Error::other)?;
        ptrace(libc::PTRACE_SEIZE, tid, 0, 0)?;
        tids.push(tid);
    }
    for &tid in &tids {
        ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0)?;
    }
    for &tid in &tids {
        wait(libc::P_PID, tid)?;
    }
    for &tid in &tids {
        ptrace(libc::PTRACE_DETACH, tid, 0, 0)?;
    }
    Ok(())
}

/// process_vm_readv(2).
pub(crate) fn read_memory(pid: Pid, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let remote = libc::iovec {
        iov_base: ptr::without_provenance_mut(address as usize),
        iov_len: buffer.len(),
    };
    // SAFETY: `local` is the buffer, which lives and is ours alone; of the other process
    // only the address is looked at.
    let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// `PTRACE_GET_SYSCALL_INFO`, whose answer is not looked at.
pub(crate) fn get_syscall_info(pid: Pid) -> io::Result<()> {
    // SAFETY: plain data, for which all zeroes is a value.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = size_of_val(&info);
    ptrace(
        libc::PTRACE_GET_SYSCALL_INFO,
        pid,
        size,
        (&raw mut info).expose_provenance(),
    )?;
    black_box(&info);
    Ok(())
}

/// `PTRACE_GETREGS`, or its like, whose answer is not looked at.
pub(crate) fn get_registers(pid: Pid) -> io::Result<()> {
    // SAFETY: plain data, for which all zeroes is a value.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    let mut place = libc::iovec {
        iov_base: (&raw mut registers).cast(),
        iov_len: size_of_val(&registers),
    };
    let set = libc::NT_PRSTATUS as usize;
    ptrace(
        libc::PTRACE_GETREGSET,
        pid,
        set,
        (&raw mut place).expose_provenance(),
    )?;
    black_box(&registers);
    Ok(())
}

/// What waitid(2) told.
#[derive(Debug)]
enum Report {
    Stopped(Pid, i32),
    Dead,
}

fn wait(kind: libc::idtype_t, pid: Pid) -> io::Result<Report> {
    let report = wait_with(kind, pid, 0)?;
    report.ok_or_else(|| io::Error::other("waitid has told of nobody"))
}

/// Without waiting.
fn poll(pid: Pid) -> io::Result<Option<Report>> {
    wait_with(libc::P_PID, pid, libc::WNOHANG)
}

fn wait_with(kind: libc::idtype_t, pid: Pid, flags: i32) -> io::Result<Option<Report>> {
    let flags = flags | libc::__WALL | libc::WEXITED | libc::WSTOPPED;
    // SAFETY: plain data, for which all zeroes is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is live and writable, and nothing else is written.
    if unsafe { libc::waitid(kind, pid.cast_unsigned(), &raw mut info, flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: waitid has filled in the fields of a SIGCHLD, which are integers.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some(match info.si_code {
        libc::CLD_TRAPPED | libc::CLD_STOPPED => Report::Stopped(pid, status),
        _ => Report::Dead,
    }))
}

/// ptrace(2). `data` is a number, or the address of something large enough.
fn ptrace(request: libc::c_uint, pid: Pid, addr: usize, data: usize) -> io::Result<()> {
    let addr: *mut libc::c_void = ptr::without_provenance_mut(addr);
    let data: *mut libc::c_void = ptr::with_exposed_provenance_mut(data);
    // SAFETY: the only requests of this module that write to `data` are
    // PTRACE_GET_SYSCALL_INFO and PTRACE_GETREGSET, which are given
    // the size of what is there.
    if unsafe { libc::ptrace(request, pid, addr, data) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

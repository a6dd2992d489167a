//! Constants of processes, threads and signals.

use super::{Names, names};

/// Flags of clone(2), clone3(2), unshare(2) and setns(2).
pub(crate) const CLONE: Names = names![
    CLONE_NEWTIME = 0x80,
    CLONE_VM,
    CLONE_FS,
    CLONE_FILES,
    CLONE_SIGHAND,
    CLONE_PIDFD,
    CLONE_PTRACE,
    CLONE_VFORK,
    CLONE_PARENT,
    CLONE_THREAD,
    CLONE_NEWNS,
    CLONE_SYSVSEM,
    CLONE_SETTLS,
    CLONE_PARENT_SETTID,
    CLONE_CHILD_CLEARTID,
    CLONE_UNTRACED,
    CLONE_CHILD_SETTID,
    CLONE_NEWCGROUP,
    CLONE_NEWUTS,
    CLONE_NEWIPC,
    CLONE_NEWUSER,
    CLONE_NEWPID,
    CLONE_NEWNET,
    CLONE_IO,
    CLONE_CLEAR_SIGHAND = 0x1_0000_0000u64,
    CLONE_INTO_CGROUP = 0x2_0000_0000u64,
];

/// Flags of wait4(2) and waitid(2).
pub(crate) const WAIT: Names = names![
    WNOHANG,
    WSTOPPED,
    WEXITED,
    WCONTINUED,
    WNOWAIT,
    __WCLONE = 0x8000_0000u32,
    __WALL,
    __WNOTHREAD,
];

/// What waitid(2) waits for.
pub(crate) const P: Names = names![P_ALL, P_PID, P_PGID, P_PIDFD = 3];

/// `how` of rt_sigprocmask(2).
pub(crate) const SIGPROCMASK: Names = names![SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK];

/// Flags of rt_sigaction(2).
pub(crate) const SA: Names = names![
    SA_RESTORER = 0x0400_0000,
    SA_ONSTACK,
    SA_RESTART,
    SA_NODEFER,
    SA_RESETHAND,
    SA_SIGINFO,
    SA_NOCLDSTOP,
    SA_NOCLDWAIT,
    SA_UNSUPPORTED = 0x400,
    SA_EXPOSE_TAGBITS = 0x800,
];

/// Handlers that are none.
pub(crate) const HANDLER: Names = names![SIG_DFL, SIG_IGN, SIG_ERR = -1i64];

/// Flags of sigaltstack(2).
pub(crate) const SS: Names = names![SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 0x8000_0000u32];

/// Resources of getrlimit(2).
pub(crate) const RLIMIT: Names = names![
    RLIMIT_CPU,
    RLIMIT_FSIZE,
    RLIMIT_DATA,
    RLIMIT_STACK,
    RLIMIT_CORE,
    RLIMIT_RSS,
    RLIMIT_NPROC,
    RLIMIT_NOFILE,
    RLIMIT_MEMLOCK,
    RLIMIT_AS,
    RLIMIT_LOCKS,
    RLIMIT_SIGPENDING,
    RLIMIT_MSGQUEUE,
    RLIMIT_NICE,
    RLIMIT_RTPRIO,
    RLIMIT_RTTIME,
];

/// Whose usage getrusage(2) tells.
pub(crate) const RUSAGE: Names = names![RUSAGE_SELF, RUSAGE_CHILDREN, RUSAGE_THREAD];

/// Whose priority getpriority(2) tells.
pub(crate) const PRIO: Names = names![PRIO_PROCESS, PRIO_PGRP, PRIO_USER];

/// Scheduling policies.
pub(crate) const SCHED: Names = names![
    SCHED_OTHER,
    SCHED_FIFO,
    SCHED_RR,
    SCHED_BATCH,
    SCHED_IDLE,
    SCHED_DEADLINE,
    SCHED_EXT = 7,
];

/// Commands of futex(2), without its flags.
pub(crate) const FUTEX: Names = names![
    FUTEX_WAIT,
    FUTEX_WAKE,
    FUTEX_FD,
    FUTEX_REQUEUE,
    FUTEX_CMP_REQUEUE,
    FUTEX_WAKE_OP,
    FUTEX_LOCK_PI,
    FUTEX_UNLOCK_PI,
    FUTEX_TRYLOCK_PI,
    FUTEX_WAIT_BITSET,
    FUTEX_WAKE_BITSET,
    FUTEX_WAIT_REQUEUE_PI,
    FUTEX_CMP_REQUEUE_PI,
    FUTEX_LOCK_PI2 = 13,
];

/// Flags of futex2 calls.
pub(crate) const FUTEX2: Names = names![
    FUTEX2_SIZE_U64 = 3,
    FUTEX2_SIZE_U32 = 2,
    FUTEX2_SIZE_U16 = 1,
    FUTEX2_NUMA = 4,
    FUTEX2_PRIVATE = 128,
];

/// Codes of arch_prctl(2).
pub(crate) const ARCH_PRCTL: Names = names![
    ARCH_SET_GS = 0x1001,
    ARCH_SET_FS = 0x1002,
    ARCH_GET_FS = 0x1003,
    ARCH_GET_GS = 0x1004,
    ARCH_GET_CPUID = 0x1011,
    ARCH_SET_CPUID = 0x1012,
    ARCH_GET_XCOMP_SUPP = 0x1021,
    ARCH_GET_XCOMP_PERM = 0x1022,
    ARCH_REQ_XCOMP_PERM = 0x1023,
    ARCH_MAP_VDSO_64 = 0x2003,
    ARCH_GET_UNTAG_MASK = 0x4001,
    ARCH_SHSTK_ENABLE = 0x5001,
    ARCH_SHSTK_DISABLE = 0x5002,
    ARCH_SHSTK_LOCK = 0x5003,
    ARCH_SHSTK_STATUS = 0x5005,
];

/// Options of prctl(2).
pub(crate) const PRCTL: Names = names![
    PR_SET_PDEATHSIG,
    PR_GET_PDEATHSIG,
    PR_GET_DUMPABLE,
    PR_SET_DUMPABLE,
    PR_GET_KEEPCAPS,
    PR_SET_KEEPCAPS,
    PR_GET_TIMING,
    PR_SET_TIMING,
    PR_SET_NAME,
    PR_GET_NAME,
    PR_GET_SECCOMP,
    PR_SET_SECCOMP,
    PR_CAPBSET_READ,
    PR_CAPBSET_DROP,
    PR_GET_TSC,
    PR_SET_TSC,
    PR_GET_SECUREBITS,
    PR_SET_SECUREBITS,
    PR_SET_TIMERSLACK,
    PR_GET_TIMERSLACK,
    PR_MCE_KILL,
    PR_MCE_KILL_GET,
    PR_SET_MM,
    PR_SET_PTRACER = 0x5961_6d61,
    PR_SET_CHILD_SUBREAPER,
    PR_GET_CHILD_SUBREAPER,
    PR_SET_NO_NEW_PRIVS,
    PR_GET_NO_NEW_PRIVS,
    PR_GET_TID_ADDRESS,
    PR_SET_THP_DISABLE,
    PR_GET_THP_DISABLE,
    PR_CAP_AMBIENT,
    PR_GET_SPECULATION_CTRL = 52,
    PR_SET_SPECULATION_CTRL = 53,
    PR_SET_IO_FLUSHER = 57,
    PR_SET_SYSCALL_USER_DISPATCH = 59,
    PR_SCHED_CORE = 62,
    PR_SET_MDWE = 65,
    PR_GET_MDWE = 66,
    PR_SET_VMA = 0x5356_4d41,
    PR_GET_AUXV = 0x4155_5856,
];

/// Whether a process may be dumped.
pub(crate) const DUMPABLE: Names = names![
    SUID_DUMP_DISABLE = 0,
    SUID_DUMP_USER = 1,
    SUID_DUMP_ROOT = 2
];

/// Requests of ptrace(2).
pub(crate) const PTRACE: Names = names![
    PTRACE_TRACEME = 0,
    PTRACE_PEEKTEXT = 1,
    PTRACE_PEEKDATA = 2,
    PTRACE_PEEKUSER = 3,
    PTRACE_POKETEXT = 4,
    PTRACE_POKEDATA = 5,
    PTRACE_POKEUSER = 6,
    PTRACE_CONT = 7,
    PTRACE_KILL = 8,
    PTRACE_SINGLESTEP = 9,
    PTRACE_GETREGS = 12,
    PTRACE_SETREGS = 13,
    PTRACE_GETFPREGS = 14,
    PTRACE_SETFPREGS = 15,
    PTRACE_ATTACH = 16,
    PTRACE_DETACH = 17,
    PTRACE_SYSCALL = 24,
    PTRACE_SYSEMU = 31,
    PTRACE_SETOPTIONS = 0x4200,
    PTRACE_GETEVENTMSG = 0x4201,
    PTRACE_GETSIGINFO = 0x4202,
    PTRACE_SETSIGINFO = 0x4203,
    PTRACE_GETREGSET = 0x4204,
    PTRACE_SETREGSET = 0x4205,
    PTRACE_SEIZE = 0x4206,
    PTRACE_INTERRUPT = 0x4207,
    PTRACE_LISTEN = 0x4208,
    PTRACE_PEEKSIGINFO = 0x4209,
    PTRACE_GETSIGMASK = 0x420a,
    PTRACE_SETSIGMASK = 0x420b,
    PTRACE_SECCOMP_GET_FILTER = 0x420c,
    PTRACE_GET_SYSCALL_INFO = 0x420e,
];

/// Options of ptrace(2).
pub(crate) const PTRACE_OPTIONS: Names = names![
    PTRACE_O_TRACESYSGOOD = 1,
    PTRACE_O_TRACEFORK = 2,
    PTRACE_O_TRACEVFORK = 4,
    PTRACE_O_TRACECLONE = 8,
    PTRACE_O_TRACEEXEC = 0x10,
    PTRACE_O_TRACEVFORKDONE = 0x20,
    PTRACE_O_TRACEEXIT = 0x40,
    PTRACE_O_TRACESECCOMP = 0x80,
    PTRACE_O_EXITKILL = 0x10_0000,
    PTRACE_O_SUSPEND_SECCOMP = 0x20_0000,
];

/// Operations of seccomp(2).
pub(crate) const SECCOMP: Names = names![
    SECCOMP_SET_MODE_STRICT = 0,
    SECCOMP_SET_MODE_FILTER = 1,
    SECCOMP_GET_ACTION_AVAIL = 2,
    SECCOMP_GET_NOTIF_SIZES = 3,
];

/// Flags of `SECCOMP_SET_MODE_FILTER`.
pub(crate) const SECCOMP_FILTER: Names = names![
    SECCOMP_FILTER_FLAG_TSYNC = 1,
    SECCOMP_FILTER_FLAG_LOG = 2,
    SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4,
    SECCOMP_FILTER_FLAG_NEW_LISTENER = 8,
    SECCOMP_FILTER_FLAG_TSYNC_ESRCH = 0x10,
];

/// Flags of pidfd_open(2).
pub(crate) const PIDFD: Names = names![
    PIDFD_NONBLOCK = libc::O_NONBLOCK,
    PIDFD_THREAD = libc::O_EXCL
];

/// Types of kcmp(2).
pub(crate) const KCMP: Names = names![
    KCMP_FILE = 0,
    KCMP_VM = 1,
    KCMP_FILES = 2,
    KCMP_FS = 3,
    KCMP_SIGHAND = 4,
    KCMP_IO = 5,
    KCMP_SYSVSEM = 6,
    KCMP_EPOLL_TFD = 7,
];

/// Flags of rseq(2).
pub(crate) const RSEQ: Names = names![RSEQ_FLAG_UNREGISTER = 1];

/// Codes of a `SIGCHLD`'s siginfo.
pub(crate) const CLD: Names = names![
    CLD_EXITED,
    CLD_KILLED,
    CLD_DUMPED,
    CLD_TRAPPED,
    CLD_STOPPED,
    CLD_CONTINUED,
];

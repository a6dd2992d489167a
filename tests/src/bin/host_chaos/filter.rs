//! A program's seccomp filter: which of its calls stop, and what becomes of those who have it and
//! are not watched.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tracehound::{Arch, Command, Follow, SyscallEntry, SyscallNumber, Sysno, Unwatched};

/// What the filter of a program is, and of all that comes of it.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    calls: Vec<Sysno>,
    /// All but these stop.
    except: bool,
    unwatched: Unwatched,
    pub(crate) follow: Follow,
}

/// Every call that makes a process or a thread.
pub(crate) const BIRTHS: &[Sysno] = &[
    Sysno::clone,
    Sysno::clone3,
    #[cfg(target_arch = "x86_64")]
    Sysno::fork,
    #[cfg(target_arch = "x86_64")]
    Sysno::vfork,
];

/// Every call by which a thread executes a program.
pub(crate) const EXECS: &[Sysno] = &[Sysno::execve, Sysno::execveat];

/// What actors do often.
const OFTEN: &[Sysno] = &[Sysno::getppid, Sysno::getpgid, Sysno::sched_yield];

/// What is restarted, what sends or ends a signal, and what ends a thread.
const OTHERS: &[Sysno] = &[
    Sysno::clock_nanosleep,
    Sysno::restart_syscall,
    #[cfg(target_arch = "x86_64")]
    Sysno::pause,
    Sysno::wait4,
    Sysno::kill,
    Sysno::tgkill,
    Sysno::rt_sigreturn,
    Sysno::futex,
    Sysno::mmap,
    Sysno::exit,
    Sysno::exit_group,
];

fn number(call: Sysno) -> u64 {
    u64::try_from(call.id()).expect("no call has a negative number")
}

impl Filter {
    pub(crate) fn apply(&self, command: &mut Command) {
        let calls = self.calls.iter().copied().map(SyscallNumber::from);
        match self.except {
            true => command.trace_syscalls_except(calls),
            false => command.trace_syscalls(calls),
        };
        command.unwatched(self.unwatched).follow(self.follow);
    }

    /// Whether a call stops.
    pub(crate) fn stops(&self, call: SyscallEntry) -> bool {
        call.arch == Arch::NATIVE && self.stops_at(call.nr)
    }

    /// Whether the native call of this number stops.
    pub(crate) fn stops_at(&self, nr: u64) -> bool {
        let is_listed = self.calls.iter().any(|call| number(*call) == nr);
        is_listed != self.except
    }

    /// Whether each of these calls stops.
    pub(crate) fn stops_at_all(&self, calls: &[Sysno]) -> bool {
        calls.iter().all(|call| self.stops_at(number(*call)))
    }

    /// Whether those who are not watched are killed, and so are never detached.
    pub(crate) fn kills(&self) -> bool {
        self.unwatched == Unwatched::Kill
    }

    /// Whether somebody stays a tracee that nobody watches.
    pub(crate) fn passes(&self) -> bool {
        !self.kills() || self.follow != Follow::Everything
    }
}

fn filter() -> impl Strategy<Value = Filter> {
    let follow = prop_oneof![
        6 => Just(Follow::Everything),
        1 => Just(Follow::Threads),
        1 => Just(Follow::Nothing),
    ];
    let unwatched = select(vec![Unwatched::Kill, Unwatched::Pass]);
    let pool = [OFTEN, BIRTHS, EXECS, OTHERS].concat();
    let most = pool.len();
    let calls = subsequence(pool, 0..=most);
    (calls, 0..5_u8, unwatched, follow).prop_map(|(calls, except, unwatched, follow)| Filter {
        calls,
        except: except == 4,
        unwatched,
        follow,
    })
}

/// A program has one, or has none.
pub(crate) fn some_filter() -> impl Strategy<Value = Option<Filter>> {
    prop_oneof![2 => Just(None), 1 => filter().prop_map(Some)]
}

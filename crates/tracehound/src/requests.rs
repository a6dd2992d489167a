//! Every request of ptrace(2), and the types of those that need one.
//!
//! A request is made of a *held* tracee, by a method of [`Tracee`](crate::Tracee); the plain
//! function below it is in [`tracehound_sys::ptrace`]. The list is that of `linux/ptrace.h`
//! in Linux 6.18, with what x86_64 and arm64 add.
//!
//! On a kernel that is too old a method gives [`Error::Unsupported`](crate::Error), which
//! says since when there is such a request; on one that was built without it
//! [`Error::NotConfigured`](crate::Error); on an architecture that lacks it
//! [`Error::Architecture`](crate::Error). All methods are there on every architecture.
//!
//! | Request | `tracehound_sys` | Method | Linux | Remarks |
//! |---|---|---|---|---|
//! | `PTRACE_TRACEME` | – | – | 1.0 | A tracee would ask for it itself. [`Tracer::spawn`](crate::Tracer::spawn) seizes instead. |
//! | `PTRACE_PEEKTEXT` | [`peek_text`] | – | 1.0 | The same as `PTRACE_PEEKDATA`. |
//! | `PTRACE_PEEKDATA` | [`peek_data`] | [`peek_data`](crate::Tracee::peek_data) | 1.0 | [`read_memory`](crate::Tracee::read_memory) needs no stop. |
//! | `PTRACE_PEEKUSR` | [`peek_user`] | [`peek_user`](crate::Tracee::peek_user) | 1.0 | x86. `PTRACE_PEEKUSER` in glibc. |
//! | `PTRACE_POKETEXT` | [`poke_text`] | – | 1.0 | The same as `PTRACE_POKEDATA`. |
//! | `PTRACE_POKEDATA` | [`poke_data`] | [`poke_data`](crate::Tracee::poke_data) | 1.0 | [`write_memory`](crate::Tracee::write_memory) needs no stop. |
//! | `PTRACE_POKEUSR` | [`poke_user`] | [`poke_user`](crate::Tracee::poke_user), [`set_hardware_breakpoint`](crate::Tracee::set_hardware_breakpoint), [`set_syscall_number`](crate::Tracee::set_syscall_number) | 1.0 | x86. `PTRACE_POKEUSER` in glibc. |
//! | `PTRACE_CONT` | [`resume`] | [`cont`](crate::Tracee::cont) | 1.0 | |
//! | `PTRACE_KILL` | [`ptrace::kill`](tracehound_sys::ptrace::kill) | – | 1.0 | Before Linux 5.19 it did nothing to a running tracee. [`Control::kill`](crate::Control::kill) sends `SIGKILL`, and makes this request where kill(2) is not permitted. |
//! | `PTRACE_SINGLESTEP` | [`resume`] | [`step`](crate::Tracee::step) | 1.0 | |
//! | `PTRACE_GETREGS` | [`getregs`] | [`getregs`](crate::Tracee::getregs) | 1.0 | x86. |
//! | `PTRACE_SETREGS` | [`setregs`] | [`setregs`](crate::Tracee::setregs) | 1.0 | x86. |
//! | `PTRACE_GETFPREGS` | [`getfpregs`] | [`getfpregs`](crate::Tracee::getfpregs) | 1.0 | x86. |
//! | `PTRACE_SETFPREGS` | [`setfpregs`] | [`setfpregs`](crate::Tracee::setfpregs) | 1.0 | x86. |
//! | `PTRACE_ATTACH` | – | – | 1.0 | Stops the target by a `SIGSTOP` that others see, and its tracee can neither be interrupted nor listened to. `PTRACE_SEIZE` instead. |
//! | `PTRACE_DETACH` | [`detach`] | [`detach`](crate::Tracee::detach), [`detach_with`](crate::Tracee::detach_with) | 1.0 | |
//! | `PTRACE_GETFPXREGS` | – | – | 2.4 | For 32-bit tracers only. `PTRACE_GETFPREGS` has it all. |
//! | `PTRACE_SETFPXREGS` | – | – | 2.4 | For 32-bit tracers only. |
//! | `PTRACE_OLDSETOPTIONS` | – | – | 2.4 | The former number of `PTRACE_SETOPTIONS`. |
//! | `PTRACE_SYSCALL` | [`resume`] | [`syscall`](crate::Tracee::syscall) | 1.0 | |
//! | `PTRACE_GET_THREAD_AREA` | [`get_thread_area`] | [`thread_area`](crate::Tracee::thread_area) | 2.6 | x86, for 32-bit programs. |
//! | `PTRACE_SET_THREAD_AREA` | [`set_thread_area`] | [`set_thread_area`](crate::Tracee::set_thread_area) | 2.6 | x86, for 32-bit programs. |
//! | `PTRACE_ARCH_PRCTL` | [`arch_prctl_get`], [`arch_prctl_set`] | [`arch_prctl_get`](crate::Tracee::arch_prctl_get), [`arch_prctl_set`](crate::Tracee::arch_prctl_set) | 2.6 | x86_64. |
//! | `PTRACE_SYSEMU` | [`resume`] | [`sysemu`](crate::Tracee::sysemu) | 2.6.14 | x86; arm64 since 5.3. |
//! | `PTRACE_SYSEMU_SINGLESTEP` | [`resume`] | [`sysemu_step`](crate::Tracee::sysemu_step) | 2.6.14 | x86; arm64 since 5.3. |
//! | `PTRACE_SINGLEBLOCK` | [`resume`] | [`block_step`](crate::Tracee::block_step) | 2.6.25 | x86. |
//! | `PTRACE_PEEKMTETAGS` | [`peek_mte_tags`] | [`peek_mte_tags`](crate::Tracee::peek_mte_tags) | 5.10 | arm64. |
//! | `PTRACE_POKEMTETAGS` | [`poke_mte_tags`] | [`poke_mte_tags`](crate::Tracee::poke_mte_tags) | 5.10 | arm64. |
//! | `PTRACE_SETOPTIONS` | [`set_options`] | [`set_options`](crate::Tracee::set_options) | 2.6 | |
//! | `PTRACE_GETEVENTMSG` | [`get_event_msg`] | – | 2.6 | The [`Event`](crate::Event) has it. |
//! | `PTRACE_GETSIGINFO` | [`getsiginfo`] | [`getsiginfo`](crate::Tracee::getsiginfo) | 2.6 | |
//! | `PTRACE_SETSIGINFO` | [`setsiginfo`] | [`setsiginfo`](crate::Tracee::setsiginfo) | 2.6 | |
//! | `PTRACE_GETREGSET` | [`getregset`] | [`getregset`](crate::Tracee::getregset), [`getxstate`](crate::Tracee::getxstate) | 2.6.34 | |
//! | `PTRACE_SETREGSET` | [`setregset`] | [`setregset`](crate::Tracee::setregset), [`setxstate`](crate::Tracee::setxstate) | 2.6.34 | |
//! | `PTRACE_SEIZE` | [`seize`] | – | 3.4 | [`Tracer::attach`](crate::Tracer::attach), [`Tracer::spawn`](crate::Tracer::spawn). |
//! | `PTRACE_INTERRUPT` | [`interrupt`] | – | 3.4 | [`Control::interrupt`](crate::Control::interrupt). |
//! | `PTRACE_LISTEN` | [`listen`] | [`listen`](crate::Tracee::listen) | 3.4 | |
//! | `PTRACE_PEEKSIGINFO` | [`peek_siginfo`] | [`pending_signals`](crate::Tracee::pending_signals), [`peek_siginfo`](crate::Tracee::peek_siginfo) | 3.10 | |
//! | `PTRACE_GETSIGMASK` | [`getsigmask`] | [`getsigmask`](crate::Tracee::getsigmask) | 3.11 | |
//! | `PTRACE_SETSIGMASK` | [`setsigmask`] | [`setsigmask`](crate::Tracee::setsigmask) | 3.11 | |
//! | `PTRACE_SECCOMP_GET_FILTER` | [`seccomp_get_filter`], [`seccomp_filter_len`] | [`seccomp_filter`](crate::Tracee::seccomp_filter), [`seccomp_filters`](crate::Tracee::seccomp_filters) | 4.4 | `CAP_SYS_ADMIN`. |
//! | `PTRACE_SECCOMP_GET_METADATA` | [`seccomp_get_metadata`] | [`seccomp_metadata`](crate::Tracee::seccomp_metadata) | 4.16 | `CAP_SYS_ADMIN`. |
//! | `PTRACE_GET_SYSCALL_INFO` | [`get_syscall_info`] | [`syscall_info`](crate::Tracee::syscall_info) | 5.3 | |
//! | `PTRACE_GET_RSEQ_CONFIGURATION` | [`get_rseq_configuration`] | [`rseq_configuration`](crate::Tracee::rseq_configuration) | 5.13 | |
//! | `PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG` | [`set_syscall_user_dispatch`] | [`set_syscall_user_dispatch`](crate::Tracee::set_syscall_user_dispatch) | 6.4 | |
//! | `PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG` | [`get_syscall_user_dispatch`] | [`syscall_user_dispatch`](crate::Tracee::syscall_user_dispatch) | 6.4 | |
//! | `PTRACE_SET_SYSCALL_INFO` | [`set_syscall_info`] | [`set_syscall_info`](crate::Tracee::set_syscall_info) | 6.16 | |
//!
//! Where a method goes by another name than the request (`cont`, `step`, `syscall`,
//! `block_step`, `sysemu`, `sysemu_step`) there is one with a signal, too: `cont_with` and so on.
//!
//! [`arch_prctl_get`]: tracehound_sys::ptrace::arch_prctl_get
//! [`arch_prctl_set`]: tracehound_sys::ptrace::arch_prctl_set
//! [`detach`]: tracehound_sys::ptrace::detach
//! [`get_event_msg`]: tracehound_sys::ptrace::get_event_msg
//! [`get_rseq_configuration`]: tracehound_sys::ptrace::get_rseq_configuration
//! [`get_syscall_info`]: tracehound_sys::ptrace::get_syscall_info
//! [`get_syscall_user_dispatch`]: tracehound_sys::ptrace::get_syscall_user_dispatch
//! [`get_thread_area`]: tracehound_sys::ptrace::get_thread_area
//! [`getfpregs`]: tracehound_sys::ptrace::getfpregs
//! [`getregs`]: tracehound_sys::ptrace::getregs
//! [`getregset`]: tracehound_sys::ptrace::getregset
//! [`getsiginfo`]: tracehound_sys::ptrace::getsiginfo
//! [`getsigmask`]: tracehound_sys::ptrace::getsigmask
//! [`interrupt`]: tracehound_sys::ptrace::interrupt
//! [`listen`]: tracehound_sys::ptrace::listen
//! [`peek_data`]: tracehound_sys::ptrace::peek_data
//! [`peek_mte_tags`]: tracehound_sys::ptrace::peek_mte_tags
//! [`peek_siginfo`]: tracehound_sys::ptrace::peek_siginfo
//! [`peek_text`]: tracehound_sys::ptrace::peek_text
//! [`peek_user`]: tracehound_sys::ptrace::peek_user
//! [`poke_data`]: tracehound_sys::ptrace::poke_data
//! [`poke_mte_tags`]: tracehound_sys::ptrace::poke_mte_tags
//! [`poke_text`]: tracehound_sys::ptrace::poke_text
//! [`poke_user`]: tracehound_sys::ptrace::poke_user
//! [`resume`]: tracehound_sys::ptrace::resume
//! [`seccomp_filter_len`]: tracehound_sys::ptrace::seccomp_filter_len
//! [`seccomp_get_filter`]: tracehound_sys::ptrace::seccomp_get_filter
//! [`seccomp_get_metadata`]: tracehound_sys::ptrace::seccomp_get_metadata
//! [`seize`]: tracehound_sys::ptrace::seize
//! [`set_options`]: tracehound_sys::ptrace::set_options
//! [`set_syscall_info`]: tracehound_sys::ptrace::set_syscall_info
//! [`set_syscall_user_dispatch`]: tracehound_sys::ptrace::set_syscall_user_dispatch
//! [`set_thread_area`]: tracehound_sys::ptrace::set_thread_area
//! [`setfpregs`]: tracehound_sys::ptrace::setfpregs
//! [`setregs`]: tracehound_sys::ptrace::setregs
//! [`setregset`]: tracehound_sys::ptrace::setregset
//! [`setsiginfo`]: tracehound_sys::ptrace::setsiginfo
//! [`setsigmask`]: tracehound_sys::ptrace::setsigmask

pub use tracehound_sys::SignalSet;
pub use tracehound_sys::ptrace::{
    ArchGet, ArchSet, BpfInstruction, BreakpointKind, DispatchMode, FpRegs, HardwareBreakpoint,
    Options, RegSet, Request, RseqConfiguration, SeccompMetadata, SignalQueue, SyscallInfo,
    SyscallOp, ThreadArea, UserDispatch, XState,
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table above: the cells of each.
    fn rows() -> Vec<Vec<&'static str>> {
        include_str!("requests.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! | `PTRACE_"))
            .map(|row| row.split('|').map(str::trim).collect())
            .collect()
    }

    #[test]
    fn the_table_lists_every_request() {
        let rows = rows();
        let names: Vec<String> = rows
            .iter()
            .map(|row| format!("PTRACE_{}", row[0].trim_end_matches('`')))
            .collect();
        let known: Vec<&str> = Request::ALL.iter().map(|request| request.name()).collect();
        assert_eq!(names, known);
        for (row, request) in rows.iter().zip(Request::ALL) {
            assert_eq!(row.len(), 6, "{request}");
            let [_, function, method, since, remark, _] = row[..] else {
                panic!("{request}");
            };
            // arm64 got some later: the remark says so.
            let here = since == request.since() || remark.contains(request.since());
            assert!(here, "{request}: {since}");
            // What is left out has a reason.
            assert!(function != "–" || method == "–", "{request}");
            assert!(method != "–" || !remark.is_empty(), "{request}");
        }
    }
}

//! What system calls do: the present one, their dispatch to user code, and restartable
//! sequences.

use tracehound_sys::ptrace::{self, Request, RseqConfiguration, SyscallInfo, UserDispatch};

use super::Tracee;
use crate::error::Result;

impl Tracee {
    /// Where the tracee is in a system call: `PTRACE_GET_SYSCALL_INFO` (Linux 5.3). Events
    /// of syscall-stops carry this already; in other stops it gives the architecture, and
    /// the instruction and stack pointers.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn syscall_info(&self) -> Result<SyscallInfo> {
        self.request(Request::GET_SYSCALL_INFO, ptrace::get_syscall_info)
            .await
    }

    /// Changes the system call: its number and arguments in a syscall-enter-stop or a seccomp
    /// stop, its result in a syscall-exit-stop: `PTRACE_SET_SYSCALL_INFO` (Linux 6.16). The
    /// same code on every architecture, where [`setregs`](Tracee::setregs) needs to know the
    /// registers.
    ///
    /// The number -1 skips the call; its result is then set at its exit. The event of that
    /// exit tells the call as it was entered. The rest of `info` (architecture, instruction
    /// and stack pointer) is not looked at.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::Unsupported`](crate::Error::Unsupported) before Linux 6.16;
    /// [`Error::WrongStop`](crate::Error::WrongStop) if the tracee is not in the kind of stop that `info` describes;
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a number that is none.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the call may have been changed.
    pub async fn set_syscall_info(&mut self, info: &SyscallInfo) -> Result<()> {
        let info = *info;
        self.forget_registers();
        self.request(Request::SET_SYSCALL_INFO, move |tid| {
            ptrace::set_syscall_info(tid, &info)
        })
        .await
    }

    /// Changes the number of the system call, in a syscall-enter-stop or a seccomp stop, on
    /// every kernel: `PTRACE_POKEUSER` on x86, `PTRACE_SETREGSET` of `NT_ARM_SYSTEM_CALL` on
    /// arm64.
    ///
    /// The number -1 skips the call. Its result is then set at its exit; what it is if that
    /// is not done depends on the architecture: `ENOSYS` on x86, the first argument on arm64.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs).
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the number may have been changed.
    pub async fn set_syscall_number(&mut self, number: i32) -> Result<()> {
        let request = if cfg!(target_arch = "x86_64") {
            Request::POKEUSR
        } else {
            Request::SETREGSET
        };
        self.forget_registers();
        self.request(request, move |tid| ptrace::set_syscall_number(tid, number))
            .await
    }

    /// Which system calls the thread wants as signals, see prctl(2):
    /// `PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG` (Linux 6.4).
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::Unsupported`](crate::Error::Unsupported) before Linux 6.4;
    /// [`Error::Architecture`](crate::Error::Architecture) if there is no such thing on this one.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn syscall_user_dispatch(&self) -> Result<UserDispatch> {
        self.request(
            Request::GET_SYSCALL_USER_DISPATCH_CONFIG,
            ptrace::get_syscall_user_dispatch,
        )
        .await
    }

    /// Sets which system calls the thread gets as signals:
    /// `PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG` (Linux 6.4).
    ///
    /// # Errors
    ///
    /// As [`syscall_user_dispatch`](Tracee::syscall_user_dispatch);
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a mode that the kernel does not know, a region that
    /// wraps around, anything but zeros where it is off.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent cannot be recalled: the dispatch may have been set.
    pub async fn set_syscall_user_dispatch(&mut self, dispatch: &UserDispatch) -> Result<()> {
        let dispatch = *dispatch;
        self.request(Request::SET_SYSCALL_USER_DISPATCH_CONFIG, move |tid| {
            ptrace::set_syscall_user_dispatch(tid, &dispatch)
        })
        .await
    }

    /// What the thread registered with rseq(2): `PTRACE_GET_RSEQ_CONFIGURATION`
    /// (Linux 5.13). `None` if nothing, as before its C library has done so.
    ///
    /// # Errors
    ///
    /// As [`getregs`](Tracee::getregs); [`Error::Unsupported`](crate::Error::Unsupported) before Linux 5.13;
    /// [`Error::NotConfigured`](crate::Error::NotConfigured) on a kernel without `CONFIG_RSEQ`.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the tracee does not change.
    pub async fn rseq_configuration(&self) -> Result<Option<RseqConfiguration>> {
        let configuration = self
            .request(
                Request::GET_RSEQ_CONFIGURATION,
                ptrace::get_rseq_configuration,
            )
            .await?;
        Ok(Some(configuration).filter(|c| c.rseq_abi_pointer != 0))
    }
}

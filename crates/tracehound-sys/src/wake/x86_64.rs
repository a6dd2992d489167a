//! The check-and-call section for x86_64.

use std::arch::global_asm;
use std::ops::Range;
use std::sync::atomic::AtomicU32;

global_asm!(
    ".pushsection .text.tracehound_section,\"ax\",@progbits",
    ".balign 16",
    ".globl tracehound_check_and_call",
    ".hidden tracehound_check_and_call",
    ".type tracehound_check_and_call,@function",
    // rdi: the flag, rsi: the system call's number, rdx: its six arguments.
    "tracehound_check_and_call:",
    ".cfi_startproc",
    "mov rcx, rdi",
    "mov rax, rsi",
    "mov rdi, [rdx]",
    "mov rsi, [rdx + 8]",
    "mov r10, [rdx + 24]",
    "mov r8, [rdx + 32]",
    "mov r9, [rdx + 40]",
    "mov rdx, [rdx + 16]",
    ".globl tracehound_section_start",
    ".hidden tracehound_section_start",
    "tracehound_section_start:",
    "cmp dword ptr [rcx], 0",
    "jne tracehound_section_interrupted",
    "syscall",
    ".globl tracehound_section_end",
    ".hidden tracehound_section_end",
    "tracehound_section_end:",
    "ret",
    ".globl tracehound_section_interrupted",
    ".hidden tracehound_section_interrupted",
    "tracehound_section_interrupted:",
    "mov rax, -4", // EINTR
    "ret",
    ".globl tracehound_check_and_call_end",
    ".hidden tracehound_check_and_call_end",
    "tracehound_check_and_call_end:",
    ".cfi_endproc",
    ".size tracehound_check_and_call, . - tracehound_check_and_call",
    ".popsection",
);

unsafe extern "C" {
    fn tracehound_check_and_call(
        flag: *const AtomicU32,
        number: libc::c_long,
        args: *const [usize; 6],
    ) -> isize;
    fn tracehound_section_start();
    fn tracehound_section_end();
    fn tracehound_section_interrupted();
    fn tracehound_check_and_call_end();
}

/// With SA_RESTART a call that the signal interrupted is about to be made again when
/// the handler runs, and the handler moves it out of the section. A thread of the
/// host that gets a stray wake signal does not notice.
pub(super) const HANDLER_FLAGS: libc::c_int = libc::SA_RESTART;

/// From the check to behind the system call.
pub(super) fn section() -> Option<Range<usize>> {
    Some(
        tracehound_section_start as *const () as usize
            ..tracehound_section_end as *const () as usize,
    )
}

/// Makes the system call unless the flag is set, which gives `-EINTR`.
///
/// # Safety
///
/// The arguments must be what the system call takes.
pub(super) unsafe fn check_and_call(
    flag: &AtomicU32,
    number: libc::c_long,
    args: &[usize; 6],
) -> isize {
    // SAFETY: the flag and the arguments are live for the call; the caller
    // vouches for the rest.
    unsafe { tracehound_check_and_call(flag, number, args) }
}

/// Moves a context that is in the section to where it returns `-EINTR`. Gives whether the
/// signal has done its work: also where the check is still to come, or the system call has
/// returned.
pub(super) fn leave_section(context: &mut libc::ucontext_t) -> bool {
    let function = tracehound_check_and_call as *const () as usize
        ..tracehound_check_and_call_end as *const () as usize;
    let pointer = &mut context.uc_mcontext.gregs[libc::REG_RIP as usize];
    let at = *pointer as usize;
    if section().is_some_and(|section| section.contains(&at)) {
        *pointer = tracehound_section_interrupted as *const () as i64;
    }
    function.contains(&at)
}

/// One signal is enough: none is lost.
pub(super) fn send(_waiting: &AtomicU32, send: impl Fn()) {
    send();
}

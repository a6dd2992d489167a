//! Instructions at known addresses.

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::{asm, global_asm};

    use crate::mark;

    // Three instructions of one byte each between the marks of a step test, then a
    // return; and a handler of two.
    global_asm!(
        ".globl puppet_known",
        "puppet_known:",
        "nop",
        "nop",
        "nop",
        "ret",
        ".globl puppet_handler",
        "puppet_handler:",
        "nop",
        "ret",
    );

    unsafe extern "C" {
        fn puppet_known();
        fn puppet_handler(signal: i32);
    }

    /// Marks where known instructions are, runs them, marks again.
    pub(crate) fn known_instructions() {
        mark(puppet_known as *const () as usize, 0, 0);
        // SAFETY: three nops and a return.
        unsafe { puppet_known() };
        mark(0, 0, 0);
    }

    /// Marks where a handler is, and sends itself its signal.
    pub(crate) fn into_a_handler() {
        let handler = puppet_handler as *const () as usize;
        mark(handler, 0, 0);
        // SAFETY: the handler is a nop and a return.
        unsafe {
            libc::signal(libc::SIGUSR1, handler);
            libc::raise(libc::SIGUSR1);
        }
        mark(0, 0, 0);
    }

    /// Calls by `int 0x80` from 64-bit code: getpid and close(-1), whose numbers mean
    /// writev and alarm... in the table of 64-bit calls.
    pub(crate) fn old_calls() {
        for (number, argument) in [(20_i64, 0_i64), (6, 0x7fff_ffff)] {
            // SAFETY: getpid, and the close of a descriptor that is not open.
            unsafe {
                asm!(
                    "push rbx",
                    "mov rbx, {arg}",
                    "int 0x80",
                    "pop rbx",
                    arg = in(reg) argument,
                    inout("rax") number => _,
                    out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                );
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{into_a_handler, known_instructions, old_calls};

#[cfg(not(target_arch = "x86_64"))]
mod other {
    pub(crate) fn known_instructions() {}
    pub(crate) fn into_a_handler() {}
    pub(crate) fn old_calls() {}
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use other::{into_a_handler, known_instructions, old_calls};

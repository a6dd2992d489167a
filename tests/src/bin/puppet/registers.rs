//! Registers and variables with known contents, and what has become of them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{mark, say};

/// A variable to be watched, and one beside it.
static WATCHED: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Marks where two variables and a function are; then changes the second, reads the first,
/// changes it twice, and calls the function, each between two marks.
pub(crate) fn watched() {
    let [watched, other] = &WATCHED;
    let function = called as fn();
    let [a, b] = [watched.as_ptr(), other.as_ptr()].map(|at| at as usize);
    mark(a, b, function as *const () as usize);
    other.store(5, Ordering::SeqCst);
    mark(1, 0, 0);
    std::hint::black_box(watched.load(Ordering::SeqCst));
    mark(2, 0, 0);
    watched.store(7, Ordering::SeqCst);
    mark(3, 0, 0);
    watched.store(8, Ordering::SeqCst);
    mark(4, 0, 0);
    std::hint::black_box(function)();
    mark(5, 0, 0);
    say(&format!("{}", watched.load(Ordering::SeqCst)));
}

#[inline(never)]
fn called() {
    std::hint::black_box(());
}

/// Changes a variable in a thread and in a child, which nobody watches there.
pub(crate) fn watched_elsewhere() {
    let watched = &WATCHED[0];
    mark(watched.as_ptr() as usize, 0, 0);
    let thread = std::thread::spawn(|| watched.store(1, Ordering::SeqCst));
    thread.join().expect("a thread");
    crate::births::fork_and_wait(|| watched.store(2, Ordering::SeqCst));
    say(&format!("{}", watched.load(Ordering::SeqCst)));
}

/// Puts 1 to 32 into vector register 5, makes a mark, and says what is there then: 32 bytes,
/// or 16 if the processor has no more.
#[cfg(target_arch = "x86_64")]
pub(crate) fn vectors() {
    let wide = std::arch::is_x86_feature_detected!("avx");
    let mut bytes: [u8; 32] = std::array::from_fn(|at| at as u8 + 1);
    let at = bytes.as_mut_ptr();
    // SAFETY: reads and writes 32, or 16, of the 32 bytes at `at`. The call in between is
    // getppid, which takes nothing and touches nothing.
    unsafe {
        if wide {
            std::arch::asm!(
                "vmovdqu ymm5, [{at}]",
                "syscall",
                "vmovdqu [{at}], ymm5",
                at = in(reg) at,
                inout("rax") libc::SYS_getppid => _,
                in("rdi") 0xfe, out("rcx") _, out("r11") _, out("xmm5") _,
            );
        } else {
            std::arch::asm!(
                "movdqu xmm5, [{at}]",
                "syscall",
                "movdqu [{at}], xmm5",
                at = in(reg) at,
                inout("rax") libc::SYS_getppid => _,
                in("rdi") 0xfe, out("rcx") _, out("r11") _, out("xmm5") _,
            );
        }
    }
    let bytes = &bytes[..if wide { 32 } else { 16 }];
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    say(&text);
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn vectors() {}

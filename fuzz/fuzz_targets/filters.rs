//! The programs that lists of system calls become.

use std::collections::BTreeSet;

use tracehound_sys::ptrace::{Arch, BpfInstruction};
use tracehound_sys::seccomp::{SyscallFilter, SyscallNumber};

use crate::Input;

const TRACE: u32 = 0x7ff0_0000;
const ALLOW: u32 = 0x7fff_0000;

/// What the kernel would do.
fn run(program: &[BpfInstruction], arch: Arch, nr: u32) -> u32 {
    let (mut at, mut loaded) = (0, 0);
    for _ in 0..200 {
        let BpfInstruction { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |holds| usize::from(if holds { jt } else { jf });
        match (code, k) {
            (0x20, 0) => loaded = nr,
            (0x20, 4) => loaded = arch.as_raw(),
            (0x05, _) => at += k as usize,
            (0x15, _) => at += jump(loaded == k),
            (0x35, _) => at += jump(loaded >= k),
            (0x06, _) => return k,
            other => panic!("{other:?}"),
        }
    }
    panic!("too many steps");
}

/// Any list.
pub fn compiled(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut calls = BTreeSet::new();
    while !input.is_empty() {
        // ARM has no table that another one's names stand for on x86_64.
        let arch = [Arch::ARM, Arch::from_raw(7)][usize::from(input.byte() % 2)];
        let nr = match input.byte() {
            near @ 0..200 => u32::from(near),
            200..210 => u32::MAX - u32::from(input.byte()),
            _ => input.int().cast_unsigned(),
        };
        calls.insert((arch, nr));
    }
    let numbers = || calls.iter().map(|&(arch, nr)| SyscallNumber::new(arch, nr));
    let programs = [
        SyscallFilter::only(numbers()),
        SyscallFilter::all_but(numbers()),
    ];
    for (filter, answers) in programs.iter().zip([[TRACE, ALLOW], [ALLOW, TRACE]]) {
        let program = filter.compile().expect("no list is as long as that");
        let [listed, other] = answers;
        let expect = |arch, nr: u32| match calls.contains(&(arch, nr)) {
            true => listed,
            false => other,
        };
        for &(arch, nr) in &calls {
            for nr in [nr.wrapping_sub(1), nr, nr.wrapping_add(1)] {
                assert_eq!(run(&program, arch, nr), expect(arch, nr));
            }
        }
        assert_eq!(run(&program, Arch::X86_64, 0), other);
    }
}

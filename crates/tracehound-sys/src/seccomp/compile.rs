//! From numbers of system calls to instructions.
//!
//! First the architecture is compared; each has a tree of its own. A tree is a binary
//! search: the numbers are cut into runs that are answered alike, and each comparison, with
//! the first number of a run, halves the runs that are left.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::{Listed, SyscallFilter};
use crate::Result;
use crate::ptrace::{Arch, BpfInstruction};

pub(super) const RET_TRACE: u32 = 0x7ff0_0000;
const RET_ALLOW: u32 = 0x7fff_0000;

/// Loads a word of `struct seccomp_data`.
const LOAD: u16 = 0x20;
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_NOT_BELOW: u16 = 0x35;
const RETURN: u16 = 0x06;

/// No program may be longer: `BPF_MAXINSNS`.
const MOST: usize = 4096;

const fn instruction(code: u16, k: u32, jt: u8, jf: u8) -> BpfInstruction {
    BpfInstruction { code, jt, jf, k }
}

const fn answer(stops: bool) -> BpfInstruction {
    let with = if stops { RET_TRACE } else { RET_ALLOW };
    instruction(RETURN, with, 0, 0)
}

pub(super) fn compile(filter: &SyscallFilter) -> Result<Vec<BpfInstruction>> {
    let unlisted_stop = filter.listed == Listed::Pass;
    let mut numbers: BTreeMap<Arch, Vec<u32>> = BTreeMap::new();
    for call in &filter.calls {
        numbers.entry(call.arch).or_default().push(call.nr);
    }
    // Sooner or later most calls are native ones.
    let native = numbers.remove_entry(&Arch::NATIVE);
    let mut program = vec![instruction(LOAD, ARCH, 0, 0)];
    for (arch, numbers) in native.into_iter().chain(numbers) {
        let tree = tree(&cuts(&numbers), unlisted_stop);
        program.push(instruction(JUMP_IF_EQUAL, arch.as_raw(), 1, 0));
        program.push(instruction(JUMP, length(&tree)? + 1, 0, 0));
        program.push(instruction(LOAD, NUMBER, 0, 0));
        program.extend(tree);
    }
    program.push(answer(unlisted_stop));
    length(&program)?;
    Ok(program)
}

fn length(program: &[BpfInstruction]) -> Result<u32> {
    match u32::try_from(program.len()) {
        Ok(len) if program.len() <= MOST => Ok(len),
        _ => Err(Errno::E2BIG),
    }
}

/// Where, in sorted numbers, those that are listed begin and end, by turns: the answer is
/// another from each of these numbers on.
fn cuts(numbers: &[u32]) -> Vec<u32> {
    let mut cuts = Vec::new();
    for &number in numbers {
        if cuts.last() == Some(&number) {
            // Goes on where the run before ended.
            cuts.pop();
        } else {
            cuts.push(number);
        }
        // The largest number has none behind it.
        cuts.extend(number.checked_add(1));
    }
    cuts
}

/// A search of the loaded number among the cuts. `stops` is the answer below the first.
fn tree(cuts: &[u32], stops: bool) -> Vec<BpfInstruction> {
    let middle = cuts.len() / 2;
    let Some(&cut) = cuts.get(middle) else {
        return vec![answer(stops)];
    };
    let below = tree(cuts.get(..middle).unwrap_or_default(), stops);
    let from_here = stops ^ middle.is_multiple_of(2);
    let above = tree(cuts.get(middle + 1..).unwrap_or_default(), from_here);
    let mut tree = Vec::with_capacity(below.len() + above.len() + 2);
    match u8::try_from(below.len()) {
        Ok(len) => tree.push(instruction(JUMP_IF_NOT_BELOW, cut, len, 0)),
        Err(_) => {
            // Only an unconditional jump goes so far.
            tree.push(instruction(JUMP_IF_NOT_BELOW, cut, 0, 1));
            // No filter that is as long as this wraps around is ever installed.
            let len = u32::try_from(below.len()).unwrap_or(u32::MAX);
            tree.push(instruction(JUMP, len, 0, 0));
        }
    }
    tree.extend(below);
    tree.extend(above);
    tree
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use syscalls::Sysno;

    use super::super::{SyscallNumber, X32_BIT};
    use super::*;

    /// What the kernel would do, and in how many instructions. `None` for a program that it
    /// would not take.
    fn run(program: &[BpfInstruction], arch: Arch, nr: u32) -> Option<(u32, usize)> {
        let (mut at, mut steps, mut loaded) = (0, 0, 0);
        loop {
            let BpfInstruction { code, jt, jf, k } = *program.get(at)?;
            at += 1;
            steps += 1;
            let jump = |holds| usize::from(if holds { jt } else { jf });
            match code {
                LOAD if k == NUMBER => loaded = nr,
                LOAD if k == ARCH => loaded = arch.as_raw(),
                JUMP => at += k as usize,
                JUMP_IF_EQUAL => at += jump(loaded == k),
                JUMP_IF_NOT_BELOW => at += jump(loaded >= k),
                RETURN => return Some((k, steps)),
                _ => return None,
            }
        }
    }

    fn stops(filter: &SyscallFilter, arch: Arch, nr: u32) -> bool {
        answers_stop(&filter.compile().expect("not too long"), arch, nr)
    }

    fn answers_stop(program: &[BpfInstruction], arch: Arch, nr: u32) -> bool {
        match run(program, arch, nr).expect("an answer") {
            (RET_TRACE, _) => true,
            (RET_ALLOW, _) => false,
            other => panic!("{other:?}"),
        }
    }

    fn number(call: Sysno) -> u32 {
        SyscallNumber::from(call).nr()
    }

    #[test]
    fn a_name_stands_for_the_call_in_all_tables_of_the_machine() {
        let filter = SyscallFilter::only([Sysno::openat.into()]);
        assert!(stops(&filter, Arch::NATIVE, number(Sysno::openat)));
        assert!(!stops(&filter, Arch::NATIVE, number(Sysno::openat) + 1));
        assert!(!stops(&filter, Arch::NATIVE, u32::MAX));
        if Arch::NATIVE == Arch::X86_64 {
            assert!(stops(&filter, Arch::I386, 295));
            assert!(!stops(&filter, Arch::I386, 257));
            assert!(!stops(&filter, Arch::X86_64, 295));
            assert!(stops(&filter, Arch::X86_64, X32_BIT | 257));
        } else {
            assert!(stops(&filter, Arch::ARM, 322));
        }
        assert!(!stops(&filter, Arch::from_raw(7), number(Sysno::openat)));
    }

    #[test]
    fn a_call_of_another_table_is_that_alone() {
        let filter = SyscallFilter::only([syscalls::x86::Sysno::open.into()]);
        assert!(stops(&filter, Arch::I386, 5));
        assert!(!stops(&filter, Arch::X86_64, 5) && !stops(&filter, Arch::X86_64, 2));
        let nameless = SyscallFilter::only([SyscallNumber::new(Arch::NATIVE, 0x4000_0208)]);
        assert_eq!(nameless.calls.len(), 1);
        let named = |arch, name| SyscallNumber::named(arch, name).map(SyscallNumber::nr);
        assert_eq!(named(Arch::I386, "break"), Some(17));
        assert_eq!(named(Arch::I386, "nosuch"), None);
    }

    #[test]
    fn nothing_listed() {
        let none: [SyscallNumber; 0] = [];
        let filter = SyscallFilter::only(none);
        assert!(!stops(&filter, Arch::NATIVE, 0));
        let filter = SyscallFilter::all_but(none);
        assert!(stops(&filter, Arch::NATIVE, 0) && stops(&filter, Arch::I386, 0));
    }

    #[test]
    fn all_calls_fit_and_few_instructions_decide() {
        let every = || (0..2048).filter_map(|nr| Some(Sysno::new(nr)?.into()));
        for filter in [
            SyscallFilter::only(every()),
            SyscallFilter::all_but(every()),
        ] {
            assert!(filter.compile().is_ok());
        }
        // Every other number: the worst that there is.
        let odd = (0..512).map(|nr| SyscallNumber::new(Arch::NATIVE, 2 * nr + 1));
        let program = SyscallFilter::only(odd).compile().expect("it fits");
        for nr in 0..1100 {
            let (_, steps) = run(&program, Arch::NATIVE, nr).expect("an answer");
            assert!(steps <= 3 + 2 * 11, "{nr}: {steps}");
        }
    }

    #[test]
    fn what_is_too_long_is_an_error() {
        let odd = (0..5000).map(|nr| SyscallNumber::new(Arch::from_raw(7), 2 * nr));
        assert_eq!(SyscallFilter::only(odd).compile(), Err(Errno::E2BIG));
    }

    fn arch() -> impl Strategy<Value = Arch> {
        prop::sample::select(vec![Arch::X86_64, Arch::I386, Arch::ARM, Arch::from_raw(7)])
    }

    fn nr() -> impl Strategy<Value = u32> {
        prop_oneof![0..40_u32, u32::MAX - 3..=u32::MAX, any::<u32>()]
    }

    proptest! {
        #[test]
        fn what_is_listed_and_nothing_else_stops(
            listed in prop::collection::btree_set((arch(), nr()), 0..200),
            others in prop::collection::vec((arch(), nr()), 0..50),
        ) {
            let calls = || listed.iter().map(|&(arch, nr)| SyscallNumber::new(arch, nr));
            let only = SyscallFilter::only(calls());
            let stop = only.compile().expect("not too long");
            let pass = SyscallFilter::all_but(calls()).compile().expect("not too long");
            for (arch, nr) in listed.iter().copied().chain(others) {
                let is_listed = only.calls.contains(&SyscallNumber::new(arch, nr));
                prop_assert_eq!(answers_stop(&stop, arch, nr), is_listed);
                prop_assert_eq!(answers_stop(&pass, arch, nr), !is_listed);
            }
        }
    }
}

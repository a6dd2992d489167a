//! Which CPUs a thread may run on: sched_setaffinity(2).
//!
//! A thread inherits the set of the thread that makes it. So one that confines itself for its
//! own purposes remembers what it had before, and what it makes can be given that instead: see
//! [`confine_to`] and [`cpus_before`].
//!
//! The C library's `cpu_set_t` was not enough: it ends at 1024 CPUs, and the kernel refuses to
//! tell the set of a thread in one that is shorter than its own.

use std::cell::RefCell;
use std::fmt;
use std::fs;

use nix::errno::Errno;

use crate::{Result, Tid};

/// More CPUs than any kernel has: 8192 on x86_64 and aarch64.
pub const CPUS_MAX: usize = 1 << 16;

type Word = libc::c_ulong;
const BITS: usize = Word::BITS as usize;

/// A set of CPUs.
#[derive(Clone, PartialEq, Eq)]
pub struct CpuSet {
    /// Without zeroes at the end.
    words: Vec<Word>,
}

impl CpuSet {
    /// This CPU alone.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a number that no kernel has, from [`CPUS_MAX`] on.
    pub fn one(cpu: usize) -> Result<Self> {
        if cpu >= CPUS_MAX {
            return Err(Errno::EINVAL);
        }
        let mut words = vec![0; cpu / BITS];
        words.push(1 << (cpu % BITS));
        Ok(CpuSet { words })
    }

    /// Its CPUs, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let bit = |(index, word): (usize, &Word)| {
            let word = *word;
            let is_in = move |bit: &usize| word & (1 << bit) != 0;
            (0..BITS).filter(is_in).map(move |bit| index * BITS + bit)
        };
        self.words.iter().enumerate().flat_map(bit)
    }

    /// Whether this CPU is in it.
    pub fn contains(&self, cpu: usize) -> bool {
        let word = self.words.get(cpu / BITS);
        word.is_some_and(|word| word & (1 << (cpu % BITS)) != 0)
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The CPUs that a thread may run on, of those that are online: sched_getaffinity(2).
///
/// # Errors
///
/// `ESRCH` if there is no such thread.
pub fn cpus_of(thread: Tid) -> Result<CpuSet> {
    if !thread.is_valid() {
        return Err(Errno::ESRCH);
    }
    let mut words: Vec<Word> = vec![0; 1024 / BITS];
    loop {
        // SAFETY: the kernel writes at most as many bytes as it is told that there are, and
        // any value is one of a word.
        let result = unsafe {
            libc::sched_getaffinity(
                thread.as_raw(),
                size_of_val(&words[..]),
                words.as_mut_ptr().cast(),
            )
        };
        match Errno::result(result) {
            Ok(_) => break,
            // The kernel's own are longer.
            Err(Errno::EINVAL) if words.len() * BITS < CPUS_MAX => words.resize(words.len() * 2, 0),
            Err(errno) => return Err(errno),
        }
    }
    let last = words.iter().rposition(|word| *word != 0);
    words.truncate(last.map_or(0, |last| last + 1));
    Ok(CpuSet { words })
}

/// Lets a thread run on these CPUs only, as far as its cpuset has them: sched_setaffinity(2).
///
/// # Errors
///
/// `ESRCH` if there is no such thread; `EINVAL` if none of these CPUs is online and in the
/// thread's cpuset; `EPERM` for another user's thread.
pub fn set_cpus_of(thread: Tid, cpus: &CpuSet) -> Result<()> {
    if !thread.is_valid() {
        return Err(Errno::ESRCH);
    }
    // SAFETY: the kernel reads as many bytes as it is told that there are.
    let result = unsafe {
        libc::sched_setaffinity(
            thread.as_raw(),
            size_of_val(&cpus.words[..]),
            cpus.words.as_ptr().cast(),
        )
    };
    Errno::result(result).map(drop)
}

thread_local! {
    /// What the thread had before [`confine_to`].
    static BEFORE: RefCell<Option<CpuSet>> = const { RefCell::new(None) };
}

/// Confines the calling thread to one CPU. Once in its life.
///
/// # Errors
///
/// As [`set_cpus_of`].
pub fn confine_to(cpu: usize) -> Result<()> {
    let own = Tid::current();
    let before = cpus_of(own)?;
    set_cpus_of(own, &CpuSet::one(cpu)?)?;
    BEFORE.set(Some(before));
    Ok(())
}

/// The CPUs that the calling thread had before it was [confined](confine_to), if it was: for
/// what it makes.
pub fn cpus_before() -> Option<CpuSet> {
    BEFORE.with_borrow(Clone::clone)
}

/// What the system says of a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuState {
    /// There is none with this number.
    Missing,
    /// It is switched off, or not there yet.
    Offline,
    /// It runs, or the system does not tell.
    Online,
}

/// What the system says of a CPU: `/sys/devices/system/cpu`.
pub fn cpu_state(cpu: usize) -> CpuState {
    let is_in = |file: &str| {
        let text = fs::read_to_string(format!("/sys/devices/system/cpu/{file}")).ok()?;
        lists(&text, cpu)
    };
    if cpu >= CPUS_MAX || is_in("possible") == Some(false) {
        CpuState::Missing
    } else if is_in("online") == Some(false) {
        CpuState::Offline
    } else {
        CpuState::Online
    }
}

/// Whether a list like `0-3,8` has this number; nothing if it is no such list.
fn lists(text: &str, number: usize) -> Option<bool> {
    let mut found = false;
    for range in text.trim_ascii().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        found |= (first..=last).contains(&number);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(lists("0\n", 0), Some(true));
        assert_eq!(lists("0-3,8-9", 8), Some(true));
        assert_eq!(lists("0-3,8-9", 4), Some(false));
        assert_eq!(lists("3-0", 1), Some(false));
        assert_eq!(lists("", 0), None);
        assert_eq!(lists("all", 0), None);
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        for cpu in [0, 63, 64, 1023, 1024, CPUS_MAX - 1] {
            let set = CpuSet::one(cpu).expect("there may be such");
            assert_eq!(set.iter().collect::<Vec<_>>(), [cpu]);
            assert!(set.contains(cpu) && !set.contains(cpu + 1) && !set.contains(usize::MAX));
        }
        assert_eq!(CpuSet::one(CPUS_MAX), Err(Errno::EINVAL));
    }

    #[test]
    fn a_confined_thread_knows_what_it_had() {
        // A thread of its own: nothing is left behind.
        let confined = std::thread::spawn(|| {
            let before = cpus_of(Tid::current()).expect("its CPUs");
            assert_eq!(cpus_before(), None);
            assert_eq!(confine_to(CPUS_MAX - 1), Err(Errno::EINVAL));
            assert_eq!(cpus_before(), None);
            let last = before.iter().last().expect("at least one");
            confine_to(last).expect("it may run there");
            assert_eq!(cpus_of(Tid::current()), CpuSet::one(last));
            assert_eq!(cpus_before(), Some(before));
        });
        confined.join().expect("all as it should be");
    }

    #[test]
    fn nobodys_cpus() {
        for raw in [0, -1, i32::MIN, i32::MAX] {
            let nobody = Tid::from_raw(raw);
            assert_eq!(cpus_of(nobody), Err(Errno::ESRCH));
            let first = CpuSet::one(0).expect("there may be such");
            assert_eq!(set_cpus_of(nobody, &first), Err(Errno::ESRCH));
        }
    }

    #[test]
    fn the_first_cpu_is_there_and_the_last_is_not() {
        let own = cpus_of(Tid::current()).expect("its CPUs");
        let first = own.iter().next().expect("at least one");
        assert_eq!(cpu_state(first), CpuState::Online);
        assert_eq!(cpu_state(usize::MAX), CpuState::Missing);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: String, number: usize) {
            lists(&text, number);
        }
    }
}

//! The machine: its description, and the one CPU that is used of it.

use std::fmt;
use std::fs;
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Pins this thread, and all threads and processes that it makes from now on, to the
/// last CPU that it may use: the first ones serve more interrupts.
///
/// # Errors
///
/// Those of sched_setaffinity(2).
pub(crate) fn pin() -> nix::Result<usize> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let cpu = (0..CpuSet::count())
        .rev()
        .find(|&cpu| allowed.is_set(cpu).unwrap_or(false))
        .ok_or(nix::errno::Errno::ENODEV)?;
    let mut one = CpuSet::new();
    one.set(cpu)?;
    sched_setaffinity(this, &one)?;
    Ok(cpu)
}

/// Pins this process to a CPU that its tracer does not use: the first one it can get.
///
/// # Errors
///
/// `ENODEV` if there is but one.
pub(crate) fn leave_this_cpu() -> nix::Result<()> {
    let this = Pid::from_raw(0);
    let here = sched_getaffinity(this)?;
    for cpu in 0..CpuSet::count() {
        let mut other = CpuSet::new();
        other.set(cpu)?;
        if !here.is_set(cpu)? && sched_setaffinity(this, &other).is_ok() {
            return Ok(());
        }
    }
    Err(nix::errno::Errno::ENODEV)
}

/// Whether there is another CPU than the one that this process uses.
pub(crate) fn has_other_cpu() -> bool {
    std::fs::read_to_string("/sys/devices/system/cpu/online")
        .is_ok_and(|online| online.contains([',', '-']))
}

/// What the figures depend on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Its name and release.
    pub(crate) kernel: String,
    pub(crate) architecture: String,
    pub(crate) processor: String,
    pub(crate) cpus: usize,
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Self {
        let (kernel, architecture) = match nix::sys::utsname::uname() {
            Ok(name) => {
                let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
                let kernel = format!("{} {}", text(name.sysname()), text(name.release()));
                (kernel, text(name.machine()))
            }
            Err(_) => ("unknown kernel".to_owned(), String::new()),
        };
        Machine {
            kernel,
            architecture,
            processor: processor(),
            cpus: has_cpus(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            kernel,
            architecture,
            processor,
            cpus,
        } = self;
        write!(f, "{kernel} {architecture}, {processor}, {cpus} CPUs")
    }
}

/// How many CPUs this process may use; to be asked before [`pin`].
fn has_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn processor() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or_else(
            || "unknown processor".to_owned(),
            |(_, name)| name.to_owned(),
        )
}

/// The entries of a directory of `/proc/self`: threads in `task`, descriptors in `fd`.
pub(crate) fn count_own(directory: &str) -> f64 {
    fs::read_dir(format!("/proc/self/{directory}"))
        .map_or(f64::NAN, |entries| entries.count() as f64)
}

/// The memory of this process's own that is resident, in bytes: without that of files, as its
/// code, which is there once, whoever runs it first.
pub(crate) fn resident() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split(' ').skip(1).map(|pages| pages.parse::<f64>());
    let mut next = || pages.next().and_then(Result::ok).unwrap_or(f64::NAN);
    let (all, of_files) = (next(), next());
    (all - of_files) * 4096.0
}

/// Memory that makes this process large: every page of it was written.
pub(crate) struct Ballast {
    _pages: Vec<u8>,
}

impl Ballast {
    pub(crate) fn new(size: usize) -> Self {
        let mut pages = vec![0; size];
        for page in pages.iter_mut().step_by(4096) {
            *page = 1;
        }
        std::hint::black_box(&pages);
        Ballast { _pages: pages }
    }
}

/// How much of the CPU the benchmark has had, with all the programs that it has traced:
/// what is missing was idle or went to other programs, and blurs the figures.
pub(crate) struct Usage {
    began: Instant,
}

impl Usage {
    /// Begins to look, in a process that has done little as yet.
    pub(crate) fn new() -> Self {
        Usage {
            began: Instant::now(),
        }
    }

    fn share(&self) -> nix::Result<f64> {
        let mut own = 0;
        for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
            let usage = getrusage(who)?;
            own += usage.user_time().num_microseconds();
            own += usage.system_time().num_microseconds();
        }
        Ok(own as f64 / 1e6 / self.began.elapsed().as_secs_f64())
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.share() {
            Ok(share) => write!(
                f,
                "The CPU was ours for {:.0} % of {:.0} s.",
                share * 100.0,
                self.began.elapsed().as_secs_f64()
            ),
            Err(error) => write!(f, "No CPU times: {error}"),
        }
    }
}

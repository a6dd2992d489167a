//! What a process has used of the machine: getrusage(2)'s numbers, as waitid(2) gives them
//! with a death.

use std::time::Duration;

/// What a process and the children that it waited for have used. At the end of a thread
/// other than the last: what its process had used until then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ResourceUsage {
    /// Time on a CPU, in the program.
    pub user_time: Duration,
    /// Time on a CPU, in the kernel.
    pub system_time: Duration,
    /// The most memory that was resident at a time, in bytes: of the process, or of the
    /// child with the most. Complete only at the end of the process's last thread. What it
    /// had before an exec counts, too: a program that was spawned has had its parent's memory.
    pub max_rss: u64,
    /// Page faults that needed no input.
    pub minor_faults: u64,
    /// Page faults that needed input.
    pub major_faults: u64,
    /// Reads from block devices.
    pub block_inputs: u64,
    /// Writes to block devices.
    pub block_outputs: u64,
    /// How often a thread gave the CPU up, to wait.
    pub voluntary_switches: u64,
    /// How often a thread had to give it up.
    pub involuntary_switches: u64,
}

impl ResourceUsage {
    pub(crate) fn from_raw(raw: &libc::rusage) -> Self {
        ResourceUsage {
            user_time: duration(raw.ru_utime),
            system_time: duration(raw.ru_stime),
            max_rss: count(raw.ru_maxrss).saturating_mul(1024),
            minor_faults: count(raw.ru_minflt),
            major_faults: count(raw.ru_majflt),
            block_inputs: count(raw.ru_inblock),
            block_outputs: count(raw.ru_oublock),
            voluntary_switches: count(raw.ru_nvcsw),
            involuntary_switches: count(raw.ru_nivcsw),
        }
    }
}

fn count(raw: libc::c_long) -> u64 {
    u64::try_from(raw).unwrap_or(0)
}

fn duration(raw: libc::timeval) -> Duration {
    let seconds = u64::try_from(raw.tv_sec).unwrap_or(0);
    let micros = u64::try_from(raw.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros))
}

/// Whether the resource usage of the dead is asked for in a wait.
///
/// waitid(2) adds it up for every thread of the process, and at each report that it is asked
/// for at: 0.15 µs for a process of one thread, 2.4 µs for one of 100, 107 µs for one of
/// 1,000 (Linux 6.18). So a report is looked at first, and taken in a second call, with the
/// usage only if it is a death: 0.4 µs for each report, however many threads there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// It is.
    Wanted,
    /// It is not.
    Unwanted,
}

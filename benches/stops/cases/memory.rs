//! Reading the memory of a held tracee from an ordinary task.

use std::io;
use std::time::Instant;

use futures::StreamExt;
use tracehound::ResumeMode;

use crate::cases::{Case, host};
use crate::floor;
use crate::plan::Plan;
use crate::sample::Sample;
use crate::workload::Workload;

const BARE_1: &str = "process_vm_readv, 1 byte";
const BARE_4K: &str = "process_vm_readv, 4 KiB";
const BARE_1M: &str = "process_vm_readv, 1 MiB";

macro_rules! case {
    ($name:expr, $baseline:expr, $goal:expr, $read:expr, $size:expr) => {
        Case {
            name: $name,
            baseline: $baseline,
            goal: $goal,
            run: |plan| reads(plan, $size, $read),
        }
    };
}

pub(super) const CASES: &[Case] = &[
    case!(BARE_1, None, None, Read::Bare, 1),
    case!(
        "read_memory, 1 byte",
        Some(BARE_1),
        Some(1.1),
        Read::Method,
        1
    ),
    case!(BARE_4K, None, None, Read::Bare, 4096),
    case!(
        "read_memory, 4 KiB",
        Some(BARE_4K),
        Some(1.1),
        Read::Method,
        4096
    ),
    case!(BARE_1M, None, None, Read::Bare, 1 << 20),
    case!(
        "read_memory, 1 MiB",
        Some(BARE_1M),
        Some(1.1),
        Read::Method,
        1 << 20
    ),
];

#[derive(Clone, Copy)]
enum Read {
    Bare,
    Method,
}

fn reads(plan: &Plan, size: usize, read: Read) -> io::Result<Sample> {
    host::with_tracer(&host::current_thread()?, async |tracer| {
        let (mut tracee, mut child) =
            host::spawn(tracer, Workload::Calls(0), ResumeMode::Cont).await?;
        tracee.next().await;
        let address = large_mapping(child.id().as_raw())?;
        let mut buffer = vec![0; size];
        let times = (plan.calls / if size > 4096 { 100 } else { 1 }).max(10);
        let start = Instant::now();
        for _ in 0..times {
            let length = match read {
                Read::Bare => floor::read_memory(child.id().as_raw(), address, &mut buffer)?,
                Read::Method => tracee.read_memory(address, &mut buffer)?,
            };
            if length != size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let time = start.elapsed();
        child.kill().await?;
        Ok(Sample::new(times, time))
    })
}

/// A readable mapping of a mebibyte or more.
fn large_mapping(pid: i32) -> io::Result<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mapping = maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        (rest.starts_with('r') && end - start >= 1 << 20).then_some(start)
    });
    mapping.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "no large mapping"))
}

//! For the fuzz target, in builds for that alone: what decodes and is not public.

use crate::proc::{self, Credentials, Status};
use crate::ptrace::{self, SyscallInfo};

/// What `/proc/PID/status` says.
pub fn status(text: &[u8]) -> Option<Status> {
    proc::parse_status(text).map(|(status, _)| status)
}

/// The state and the flags in `/proc/PID/stat`.
pub fn stat(text: &[u8]) -> (Option<char>, Option<u32>) {
    (proc::parse_state(text), proc::parse_flags(text))
}

/// The ids and capabilities in `/proc/PID/status`.
pub fn credentials(text: &[u8]) -> Option<Credentials> {
    proc::parse_credentials(text)
}

/// No name makes a line or a field of what the kernel writes; panics if one does.
pub fn written(name: &[u8], ids: [i32; 3], flags: u32) {
    proc::written::check(name, ids, flags);
}

/// What an answer to `PTRACE_GET_SYSCALL_INFO` says, and what that says again as it would be
/// given back.
pub fn syscall_info(op: u8, arch: u32, words: [u64; 8]) -> [SyscallInfo; 2] {
    ptrace::there_and_back(op, arch, words)
}

//! What is read of a thread with any name, as the kernel writes it: the name is escaped in
//! `status`, not all of it, and not at all in `stat`. For the tests and the fuzz target alone: a
//! panic here is what they find.

use super::{Told, parse_credentials, parse_flags, parse_state, parse_status};
use crate::Tid;

/// What `/proc/PID/stat` says.
fn stat(name: &[u8], parent: i32, flags: u32) -> Vec<u8> {
    let rest = format!(") t {parent} 1 1 0 -1 {flags} 0 0\n");
    [b"7 (", name, rest.as_bytes()].concat()
}

/// What `/proc/PID/status` says.
fn status(name: &[u8], [tgid, parent, tracer]: [i32; 3]) -> Vec<u8> {
    let mut text = b"Name:\t".to_vec();
    for byte in name {
        // As `proc_task_name` does.
        match byte {
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\\' => text.extend_from_slice(b"\\\\"),
            other => text.push(*other),
        }
    }
    let rest = format!(
        "\nUmask:\t0022\nState:\tt (tracing stop)\nTgid:\t{tgid}\nPid:\t7\nPPid:\t{parent}\n\
         TracerPid:\t{tracer}\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nThreads:\t3\n\
         SigBlk:\t0000000000000001\nCapPrm:\t0000000000000001\nCapEff:\t0000000000000000\n\
         Seccomp:\t2\n"
    );
    text.extend_from_slice(rest.as_bytes());
    text
}

/// No name makes a line or a field. The ids are those of the process, its parent and its tracer.
pub(crate) fn check(name: &[u8], ids: [i32; 3], flags: u32) {
    let text = stat(name, ids[1], flags);
    assert_eq!(parse_state(&text), Some('t'));
    assert_eq!(parse_flags(&text), Some(flags));

    let text = status(name, ids);
    let (status, told) = parse_status(&text).expect("complete");
    assert_eq!(status.state, 't');
    let read = [status.tgid, status.parent, status.tracer];
    assert_eq!(read, ids.map(Tid::from_raw));
    assert_eq!((status.threads, status.seccomp), (3, 2));
    assert_eq!(status.blocked.bits(), 1);
    assert_eq!(told, Told::Nothing);
    let credentials = parse_credentials(&text).expect("complete");
    assert_eq!((credentials.uids.real, credentials.gids.saved), (1, 7));
}

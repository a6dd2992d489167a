//! What `/proc` says.

use tracehound_sys::{Tid, fuzz};

use crate::Input;

/// Any text.
pub fn lines(text: &[u8]) {
    if let Some(status) = fuzz::status(text) {
        // All of it comes from lines of their own.
        let has = |name: &[u8]| {
            text.split(|b| *b == b'\n')
                .any(|line| line.starts_with(name))
        };
        assert!(has(b"State:") && has(b"Tgid:") && has(b"PPid:") && has(b"TracerPid:"));
        assert!(!format!("{status:?}").is_empty());
    }
    if let Some(credentials) = fuzz::credentials(text) {
        assert!(!credentials.uids.to_string().is_empty());
        assert!(!format!("{credentials:?}").is_empty());
    }
    let (state, _) = fuzz::stat(text);
    assert!(state.is_none() || text.contains(&b')'));
}

/// What the kernel would write of a thread with any name.
pub fn written(bytes: &[u8]) {
    let mut input = Input(bytes);
    let ids: [i32; 3] = std::array::from_fn(|_| input.int());
    let flags = input.int().cast_unsigned();
    let name = &input.0[..input.0.len().min(15)];
    let name: Vec<u8> = name.iter().copied().filter(|b| *b != 0).collect();
    let [tgid, parent, tracer] = ids;

    let mut stat = b"7 (".to_vec();
    stat.extend_from_slice(&name);
    stat.extend_from_slice(format!(") t {parent} 1 1 0 -1 {flags} 0 0\n").as_bytes());
    assert_eq!(fuzz::stat(&stat), (Some('t'), Some(flags)));

    let mut status = b"Name:\t".to_vec();
    for byte in name {
        // As `proc_task_name` does.
        match byte {
            b'\n' => status.extend_from_slice(b"\\n"),
            b'\\' => status.extend_from_slice(b"\\\\"),
            other => status.push(other),
        }
    }
    let text = format!(
        "\nUmask:\t0022\nState:\tt (tracing stop)\nTgid:\t{tgid}\nPid:\t7\nPPid:\t{parent}\n\
         TracerPid:\t{tracer}\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nThreads:\t3\n\
         CapPrm:\t0000000000000001\nCapEff:\t0000000000000000\nSeccomp:\t2\n"
    );
    status.extend_from_slice(text.as_bytes());
    let read = fuzz::status(&status).expect("complete");
    assert_eq!(read.state, 't');
    assert_eq!(
        [read.tgid, read.parent, read.tracer],
        ids.map(Tid::from_raw)
    );
    assert_eq!((read.threads, read.seccomp), (3, 2));
    let read = fuzz::credentials(&status).expect("complete");
    assert_eq!((read.uids.real, read.gids.saved), (1, 7));
}

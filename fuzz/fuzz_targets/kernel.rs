//! What the kernel answers.

use std::os::unix::process::ExitStatusExt;

use tracehound_sys::ptrace::{SyscallOp, XState};
use tracehound_sys::wait::{self, StopKind, StopStatus, WaitStatus};
use tracehound_sys::{SigInfo, fuzz};

use crate::Input;

/// The number of each event.
fn event(kind: StopKind) -> Option<i32> {
    Some(match kind {
        StopKind::Fork => 1,
        StopKind::Vfork => 2,
        StopKind::Clone => 3,
        StopKind::Exec => 4,
        StopKind::VforkDone => 5,
        StopKind::Exit => 6,
        StopKind::Seccomp => 7,
        StopKind::Group(_) | StopKind::Trap => 128,
        StopKind::Unknown { event, .. } => event,
        _ => return None,
    })
}

/// A report of waitid(2).
pub fn stop(bytes: &[u8]) {
    let mut input = Input(bytes);
    let code = i32::from(input.byte() % 8);
    let status = match code {
        // CLD_KILLED, CLD_DUMPED: a signal. Of another number std would make no status.
        2 | 3 => 1 + input.int().rem_euclid(64),
        _ => input.int(),
    };
    match wait::decode(code, status) {
        WaitStatus::Dead(status) => {
            assert!(status.code().is_some() != status.signal().is_some());
            assert!(status.into_raw() & !0xffff == 0);
        }
        WaitStatus::Stopped(stop) => {
            assert_eq!(stop.as_raw(), status);
            let kind = stop.kind();
            assert!(
                event(kind).is_none_or(|event| event == status >> 8),
                "{kind:?}"
            );
            match kind {
                StopKind::Syscall => assert_eq!(status, 5 | 0x80),
                StopKind::Signal(signal) => assert_eq!(signal.as_raw(), status),
                StopKind::Group(signal) => assert!(signal.is_stop()),
                StopKind::Unknown { event, signal } => {
                    assert_eq!(event << 8 | signal.as_raw(), status);
                }
                _ => {}
            }
        }
        other => assert!(!format!("{other:?}").is_empty()),
    }
}

/// The siginfo of a stop.
pub fn siginfo(bytes: &[u8]) {
    let mut input = Input(bytes);
    let raw = input.array();
    let info = SigInfo::from_bytes(raw);
    assert_eq!(info.as_bytes(), &raw);
    assert_eq!(info.sender().is_some(), info.uid().is_some());
    // A fault has no sender.
    assert!(info.address().is_none() || info.sender().is_none());
    assert!(info.child_status().is_none() || info.address().is_none());
    assert!(!format!("{info:?}").contains('\n'));
    let told = info.stop_status(info.signal());
    let expected = [info.code(), info.signal().as_raw()].map(StopStatus::from_raw);
    assert!(expected.contains(&told));
}

/// `NT_X86_XSTATE`.
pub fn xstate(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (number, value) = (usize::from(input.byte() % 40), input.array());
    let before = XState::from_bytes(input.0.to_vec());
    let others = |state: &XState| -> Vec<_> {
        let numbers = (0..32).filter(|other| *other != number);
        numbers.map(|number| state.ymm(number)).collect()
    };
    let mut state = before.clone();
    let exists = before.ymm(number).is_some();
    assert_eq!(state.set_ymm(number, value), exists);
    assert_eq!(state.as_bytes().len(), before.as_bytes().len());
    match exists {
        true => {
            assert_eq!(state.ymm(number), Some(value));
            assert_eq!(
                others(&state),
                others(&before),
                "registers beside the one that is set"
            );
        }
        false => assert_eq!(state, before),
    }
    assert!(!format!("{state:?}").is_empty());
}

/// `PTRACE_GET_SYSCALL_INFO`.
pub fn syscall_info(bytes: &[u8]) {
    let mut input = Input(bytes);
    let op = input.byte() % 6;
    // Mostly one that has a table.
    let arch = match input.byte() {
        0 => 0xc000_003e,
        1 => 0x4000_0003,
        2 => 0xc000_00b7,
        3 => 0x4000_0028,
        _ => input.int().cast_unsigned(),
    };
    let words = std::array::from_fn(|_| input.long());
    let [info, again] = fuzz::syscall_info(op, arch, words);
    assert_eq!(info, again);
    assert_eq!(info.arch.as_raw(), arch);
    match info.op {
        SyscallOp::Entry(entry) | SyscallOp::Seccomp { entry, .. } => {
            assert_eq!([entry.nr], words[..1]);
            assert_eq!(entry.args, words[1..7]);
            let text = entry.to_string();
            assert!(text.starts_with(entry.name().unwrap_or("syscall_0x")));
            assert!(entry.name().is_none_or(|name| !name.contains('#')));
        }
        SyscallOp::Exit { value, .. } => assert_eq!(value.cast_unsigned(), words[0]),
        _ => assert!(!matches!(op, 1..=3)),
    }
}

//! What `/proc` says.

use tracehound_sys::fuzz;

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
    fuzz::written(&name, ids, flags);
}

//! What a child becomes, prepared so that the child need not allocate.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::SignalSet;
use crate::ptrace::BpfInstruction;
use crate::thread::mask_for_children;

/// A closure that runs in the child before its exec.
///
/// # Safety
///
/// Making one is safe, running it is not: see [`PreExec::new`].
pub struct PreExec(pub(super) Box<dyn FnMut() -> io::Result<()> + Send>);

impl PreExec {
    /// A closure to run in the forked child.
    ///
    /// # Safety
    ///
    /// As with [`CommandExt::pre_exec`](std::os::unix::process::CommandExt::pre_exec): the
    /// closure runs in a copy of a process whose other threads have vanished. It must not
    /// rely on locks that they held, and not on more than fork(2) promises.
    pub unsafe fn new(closure: impl FnMut() -> io::Result<()> + Send + 'static) -> Self {
        PreExec(Box::new(closure))
    }
}

impl fmt::Debug for PreExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreExec")
    }
}

/// An array of strings for execve(2), ended by null.
#[derive(Debug)]
struct StringArray {
    /// All of them, each ended by a NUL.
    _bytes: Vec<u8>,
    pointers: Vec<*const libc::c_char>,
}

impl StringArray {
    /// Of strings each of which `push` appends to all before it.
    fn new<T>(
        strings: impl IntoIterator<Item = T>,
        mut push: impl FnMut(&mut Vec<u8>, T),
    ) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let mut starts = Vec::new();
        for string in strings {
            let start = bytes.len();
            push(&mut bytes, string);
            if bytes[start..].contains(&0) {
                return Err(has_nul());
            }
            bytes.push(0);
            starts.push(start);
        }
        // They do not move any more.
        let address = |start: usize| bytes[start..].as_ptr().cast();
        let pointers = starts.into_iter().map(address);
        let pointers = pointers.chain([std::ptr::null()]).collect();
        Ok(StringArray {
            _bytes: bytes,
            pointers,
        })
    }
}

// SAFETY: the pointers lead to the bytes beside them, which do not move and are never
// changed.
unsafe impl Send for StringArray {}
// SAFETY: as above.
unsafe impl Sync for StringArray {}

/// What a child becomes: program, arguments, environment, descriptors, identity.
#[derive(Debug)]
pub struct Program {
    /// The files to try, in this order.
    pub(super) files: Vec<CString>,
    argv: StringArray,
    envp: StringArray,
    /// The working directory.
    pub(super) directory: Option<CString>,
    /// What becomes descriptor 0, 1 and 2; none is inherited.
    pub(super) stdio: [Option<Arc<OwnedFd>>; 3],
    /// The user to become.
    pub(super) uid: Option<u32>,
    /// The group to become.
    pub(super) gid: Option<u32>,
    /// The process group to join; zero makes a new one.
    pub(super) process_group: Option<i32>,
    /// The seccomp filter that it gets.
    pub(super) filter: Option<Vec<BpfInstruction>>,
    /// The signals that it starts with blocked.
    pub(super) mask: SignalSet,
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| has_nul())
}

fn has_nul() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a string contains a NUL byte")
}

impl Program {
    /// A program with its arguments (the first is the name that it sees) and its whole
    /// environment. It starts with the signal mask of the calling thread.
    ///
    /// A name without a slash is looked for in the `PATH` of that environment.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a string with a NUL byte.
    pub fn new<'a, S: AsRef<OsStr>>(
        file: &OsStr,
        args: impl IntoIterator<Item = &'a OsStr>,
        env: impl IntoIterator<Item = (S, S)>,
    ) -> io::Result<Self> {
        let mut path = None;
        let envp = StringArray::new(env, |bytes, (name, value)| {
            let (name, value) = (name.as_ref(), value.as_ref());
            if name == "PATH" {
                path = Some(value.to_os_string());
            }
            for part in [name.as_bytes(), b"=", value.as_bytes()] {
                bytes.extend_from_slice(part);
            }
        })?;
        let append = |bytes: &mut Vec<u8>, arg: &OsStr| bytes.extend_from_slice(arg.as_bytes());
        Ok(Program {
            files: candidates(file, path.as_deref())?,
            argv: StringArray::new(args, append)?,
            envp,
            directory: None,
            stdio: [None, None, None],
            uid: None,
            gid: None,
            process_group: None,
            filter: None,
            mask: mask_for_children(),
        })
    }

    /// Sets the working directory.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a path with a NUL byte.
    pub fn directory(&mut self, path: &OsStr) -> io::Result<()> {
        self.directory = Some(c_string(path)?);
        Ok(())
    }

    /// Sets what becomes descriptor `number` (0 to 2) of the child; none is inherited.
    ///
    /// # Errors
    ///
    /// `EMFILE`: a descriptor below 3 is duplicated, so that setting another one cannot
    /// close it.
    pub fn stdio(&mut self, number: usize, fd: Option<Arc<OwnedFd>>) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let fd = match fd {
            Some(fd) if fd.as_raw_fd() < 3 => Some(Arc::new(fd.try_clone()?)),
            other => other,
        };
        if let Some(slot) = self.stdio.get_mut(number) {
            *slot = fd;
        }
        Ok(())
    }

    /// Sets the user to become. Without groups of its own, as std does.
    pub fn uid(&mut self, uid: Option<u32>) {
        self.uid = uid;
    }

    /// Sets the group to become.
    pub fn gid(&mut self, gid: Option<u32>) {
        self.gid = gid;
    }

    /// Sets the process group to join; zero makes a new one.
    pub fn process_group(&mut self, group: Option<i32>) {
        self.process_group = group;
    }

    /// Sets a seccomp filter. The child gets it once it is traced, before anything else: so
    /// while it still has the rights of its maker. What it calls from then on may stop.
    pub fn filter(&mut self, filter: Option<Vec<BpfInstruction>>) {
        self.filter = filter;
    }

    /// Whether the child becomes another user or group, or may.
    pub(super) fn changes_user(&self) -> bool {
        self.uid.is_some() || self.gid.is_some()
    }

    pub(super) fn argv(&self) -> *const *const libc::c_char {
        self.argv.pointers.as_ptr()
    }

    pub(super) fn envp(&self) -> *const *const libc::c_char {
        self.envp.pointers.as_ptr()
    }

    /// Where execve's second argument points.
    pub(super) fn argv_address(&self) -> u64 {
        self.argv() as u64
    }
}

/// Where execvp(3) would look, in its order.
fn candidates(file: &OsStr, path: Option<&OsStr>) -> io::Result<Vec<CString>> {
    if file.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    if file.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(file)?]);
    }
    let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
    path.as_bytes()
        .split(|&b| b == b':')
        .map(|directory| {
            let mut full = OsStr::from_bytes(directory).to_os_string();
            if !directory.is_empty() {
                full.push("/");
            }
            full.push(file);
            c_string(&full)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(file: &str, path: Option<&str>) -> Vec<String> {
        candidates(OsStr::new(file), path.map(OsStr::new))
            .expect("no NUL bytes here")
            .into_iter()
            .map(|c| c.into_string().expect("plain text"))
            .collect()
    }

    #[test]
    fn programs_are_looked_for_as_execvp_does() {
        assert_eq!(looks("ls", None), ["/bin/ls", "/usr/bin/ls"]);
        assert_eq!(looks("ls", Some("/a:/b")), ["/a/ls", "/b/ls"]);
        assert_eq!(looks("ls", Some("/a:")), ["/a/ls", "ls"]);
        assert_eq!(looks("./ls", Some("/a")), ["./ls"]);
    }

    #[test]
    fn nul_bytes_are_refused() {
        let bad = OsStr::new("a\0b");
        let ok = OsStr::new("a");
        for (file, arg, name) in [(bad, ok, ok), (ok, bad, ok), (ok, ok, bad)] {
            let error = Program::new(file, [arg], [(name, ok)]).expect_err("has a NUL byte");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}

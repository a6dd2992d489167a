//! Who a thread is: what the kernel compares when one process wants to trace another.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::{fields, path, read, vanished};
use crate::Tid;

/// Three user or group ids of a thread, as seen from the user namespace of the caller; one
/// that is not mapped there is 65534.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ids {
    /// Who started it.
    pub real: u32,
    /// Whose rights it uses.
    pub effective: u32,
    /// Whose rights it may take up again.
    pub saved: u32,
}

impl Ids {
    /// Whether all three are this one.
    pub fn all(self, id: u32) -> bool {
        [self.real, self.effective, self.saved] == [id; 3]
    }
}

/// All three, or one if they are the same.
impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ids {
            real,
            effective,
            saved,
        } = self;
        if self.all(*real) {
            return real.fmt(f);
        }
        write!(f, "{real} (effective {effective}, saved {saved})")
    }
}

/// A set of capabilities, as `/proc/TID/status` shows them: see capabilities(7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities(u64);

impl Capabilities {
    /// The set with these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Capabilities(bits)
    }

    /// The bits: the lowest is `CAP_CHOWN`.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether no capability is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `CAP_SYS_ADMIN` is in it.
    pub fn has_sys_admin(self) -> bool {
        self.0 & (1 << 21) != 0
    }

    /// Whether the capability that permits tracing others is in it.
    pub const fn has_sys_ptrace(self) -> bool {
        const CAP_SYS_PTRACE: u32 = 19;
        self.0 & (1 << CAP_SYS_PTRACE) != 0
    }

    /// Those that are not in `other`.
    pub const fn without(self, other: Capabilities) -> Self {
        Capabilities(self.0 & !other.0)
    }
}

/// The names of the capabilities by number, without `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The names, as `CAP_KILL, CAP_NET_RAW`; numbers for those that are too new.
impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = (0..64).filter(|number| self.0 & (1 << number) != 0);
        for (count, number) in numbers.enumerate() {
            let separator = if count == 0 { "" } else { ", " };
            match NAMES.get(number) {
                Some(name) => write!(f, "{separator}CAP_{name}")?,
                None => write!(f, "{separator}capability {number}")?,
            }
        }
        Ok(())
    }
}

/// The parts of `/proc/TID/status` that decide who may trace whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The user.
    pub uids: Ids,
    /// The group.
    pub gids: Ids,
    /// The capabilities it may use.
    pub permitted: Capabilities,
    /// The capabilities it uses.
    pub effective: Capabilities,
}

/// Reads the credentials of a thread: `/proc/TID/status`.
///
/// # Errors
///
/// `NotFound` if there is no such thread; `InvalidData` if the text is not what
/// Linux writes.
pub fn credentials(tid: Tid) -> io::Result<Credentials> {
    let text = read(&path(tid, "status")?)?;
    parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

pub(crate) fn parse(text: &[u8]) -> Option<Credentials> {
    let mut uids = None;
    let mut gids = None;
    let mut permitted = None;
    let mut effective = None;
    for (name, value) in fields(text) {
        match name {
            b"Uid" => uids = ids(value),
            b"Gid" => gids = ids(value),
            b"CapPrm" => permitted = capabilities(value),
            b"CapEff" => effective = capabilities(value),
            _ => {}
        }
    }
    Some(Credentials {
        uids: uids?,
        gids: gids?,
        permitted: permitted?,
        effective: effective?,
    })
}

fn ids(value: &[u8]) -> Option<Ids> {
    let text = std::str::from_utf8(value).ok()?;
    let mut numbers = text
        .split_ascii_whitespace()
        .map_while(|id| id.parse().ok());
    Some(Ids {
        real: numbers.next()?,
        effective: numbers.next()?,
        saved: numbers.next()?,
    })
}

fn capabilities(value: &[u8]) -> Option<Capabilities> {
    let text = std::str::from_utf8(value).ok()?;
    u64::from_str_radix(text, 16).ok().map(Capabilities)
}

/// Whether other processes of its user may look into a process: `PR_SET_DUMPABLE`.
/// Nothing where that cannot be told: a process of root looks the same both ways.
///
/// The kernel gives the files of an undumpable process in `/proc` to root.
///
/// # Errors
///
/// `NotFound` if there is no such thread.
pub fn is_dumpable(tid: Tid, credentials: &Credentials) -> io::Result<Option<bool>> {
    // Not of the directory itself, which is always the user's.
    let file = fs::metadata(path(tid, "status")?).map_err(vanished)?;
    let own = [credentials.uids.effective, credentials.gids.effective];
    Ok(match [file.uid(), file.gid()] {
        owner if owner != own => Some(false),
        [0, 0] => None,
        _ => Some(true),
    })
}

/// What can be known about a thread's user namespace: see user_namespaces(7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserNamespace {
    /// That of the caller.
    Same,
    /// Another, which the caller may look at: its capabilities count there.
    Open,
    /// Another, which the caller may not look at.
    Closed,
    /// Not to be told: the caller may not look at it, and its ids do not differ.
    Unknown,
}

/// Compares the user namespace of a thread with that of the caller.
///
/// # Errors
///
/// `NotFound` if there is no such thread.
pub fn user_namespace(tid: Tid) -> io::Result<UserNamespace> {
    let own = Tid::current();
    match fs::read_link(path(tid, "ns/user")?).map_err(vanished) {
        Ok(link) if link == fs::read_link(path(own, "ns/user")?)? => Ok(UserNamespace::Same),
        Ok(_) => Ok(UserNamespace::Open),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        // The maps of other namespaces can be read by everybody.
        Err(_) if id_maps(tid)? != id_maps(own)? => Ok(UserNamespace::Closed),
        Err(_) => Ok(UserNamespace::Unknown),
    }
}

/// How the users and groups of a namespace are named in that of the reader, or, for the
/// reader's own, in the one above it.
fn id_maps(tid: Tid) -> io::Result<[Vec<u8>; 2]> {
    let read = |file| fs::read(path(tid, file)?).map_err(vanished);
    Ok([read("uid_map")?, read("gid_map")?])
}

/// Whether the caller is in the first user namespace, where a capability holds for all.
pub fn in_first_user_namespace() -> bool {
    // PROC_USER_INIT_INO of the kernel.
    fs::read_link("/proc/self/ns/user").is_ok_and(|link| link.as_os_str() == "user:[4026531837]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn own_credentials_are_read() {
        let own = credentials(Tid::current()).expect("this thread exists");
        assert_eq!(own.uids.real, nix::unistd::getuid().as_raw());
        assert_eq!(own.uids.effective, nix::unistd::geteuid().as_raw());
        assert_eq!(own.gids.real, nix::unistd::getgid().as_raw());
        assert!(own.effective.without(own.permitted).is_empty());
        assert_ne!(
            is_dumpable(Tid::current(), &own).expect("it exists"),
            Some(false)
        );
        let namespace = user_namespace(Tid::current()).expect("it exists");
        assert_eq!(namespace, UserNamespace::Same);
    }

    #[test]
    fn nobody_is_not_found() {
        for raw in [0, -1, i32::MIN, i32::MAX] {
            let nobody = Tid::from_raw(raw);
            let error = credentials(nobody).expect_err("no such thread");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            let error = user_namespace(nobody).expect_err("no such thread");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn ids_that_differ_are_all_shown() {
        let text = b"Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t5\nCapPrm:\t0000000000080001\nCapEff:\t8000000000000000\n";
        let read = parse(text).expect("complete");
        assert_eq!(read.uids.to_string(), "1 (effective 2, saved 3)");
        assert_eq!(read.gids.to_string(), "5");
        assert!(read.permitted.has_sys_ptrace());
        assert_eq!(read.permitted.to_string(), "CAP_CHOWN, CAP_SYS_PTRACE");
        assert_eq!(read.effective.to_string(), "capability 63");
        assert_eq!(Capabilities::default().to_string(), "");
    }

    #[test]
    fn a_thread_cannot_forge_its_lines() {
        assert_eq!(parse(b"Name:\tUid:\t0\t0\t0\t0\n"), None);
        assert_eq!(parse(b"Uid:\t1\t2\n"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: Vec<u8>) {
            let _ = parse(&text);
        }

        #[test]
        fn any_set_has_names(bits: u64) {
            let set = Capabilities::from_bits(bits);
            let names = set.to_string();
            let count = names.split(", ").filter(|name| !name.is_empty()).count();
            prop_assert_eq!(count as u32, bits.count_ones());
        }
    }
}

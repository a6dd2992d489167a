//! What the running system is like: its version, and what decides about tracing.

use std::fs;

use nix::errno::Errno;

/// The release of the running kernel as major and minor number.
pub fn kernel_version() -> (u32, u32) {
    let release = nix::sys::utsname::uname()
        .map(|names| names.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    parse_release(&release)
}

/// Whether the running kernel, going by its version, is older than this release (`"6.16"`).
/// It may have what came later all the same: distributions add to the kernels that they ship.
pub fn kernel_is_older_than(release: &str) -> bool {
    kernel_version() < parse_release(release)
}

fn parse_release(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// `kernel.yama.ptrace_scope`: 0 to 3, and nothing in a kernel without Yama.
pub fn yama_scope() -> Option<u8> {
    let text = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?;
    text.trim_ascii().parse().ok()
}

/// The security modules that may have a say in whether a process is traced, Yama and the
/// capabilities apart.
const MODULES: [(u64, &str); 5] = [
    (101, "selinux"),
    (102, "smack"),
    (104, "apparmor"),
    (109, "bpf"),
    (110, "landlock"),
];

/// Those of the active security modules that may refuse tracing: `selinux`, `smack`,
/// `apparmor`, `bpf`, `landlock`. From lsm_list_modules(2) (Linux 6.8), before that from
/// `/sys/kernel/security/lsm`; empty where neither can be had.
pub fn security_modules() -> Vec<&'static str> {
    let active = listed_modules().unwrap_or_else(|_| {
        let text = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        parse_modules(&text)
    });
    let known = MODULES.iter().filter(|(id, _)| active.contains(id));
    known.map(|&(_, name)| name).collect()
}

/// The ids that these names stand for.
fn parse_modules(text: &str) -> Vec<u64> {
    let names = text.trim_ascii().split(',');
    let id = |name| MODULES.iter().find(|module| module.1 == name);
    names.filter_map(id).map(|module| module.0).collect()
}

/// lsm_list_modules(2), which libc lacks: the ids of the active modules.
fn listed_modules() -> crate::Result<Vec<u64>> {
    /// The same on every architecture but alpha.
    const LSM_LIST_MODULES: libc::c_long = 461;

    // Linux 6.18 has 14 modules; a kernel with more than fit says E2BIG.
    let mut ids = [0_u64; 64];
    let mut size = size_of_val(&ids) as u32;
    // SAFETY: the kernel writes at most `size` bytes to `ids`, and how many to `size`.
    let count = Errno::result(unsafe {
        libc::syscall(LSM_LIST_MODULES, ids.as_mut_ptr(), &raw mut size, 0_u32)
    })?;
    Ok(ids
        .into_iter()
        .take(usize::try_from(count).unwrap_or(0))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn releases_of_every_vendor() {
        assert_eq!(parse_release("6.18.44-fc-v669"), (6, 18));
        assert_eq!(parse_release("5.4.0-1103-aws"), (5, 4));
        assert_eq!(parse_release("5.10+"), (5, 10));
        assert_eq!(parse_release(""), (0, 0));
        assert_eq!(parse_release("99999999999.1"), (0, 1));
    }

    #[test]
    fn modules_of_every_vendor() {
        let ubuntu = "lockdown,capability,landlock,yama,apparmor,bpf\n";
        assert_eq!(parse_modules(ubuntu), [110, 104, 109]);
        assert_eq!(parse_modules("capability,selinux"), [101]);
        assert_eq!(parse_modules(""), []);
    }

    #[test]
    fn the_capability_module_is_always_there() {
        match listed_modules() {
            // Its id is 100.
            Ok(ids) => assert!(ids.contains(&100), "{ids:?}"),
            // Before Linux 6.8, or behind a seccomp filter.
            Err(errno) => assert!(matches!(errno, Errno::ENOSYS | Errno::EPERM)),
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            parse_release(&text);
            parse_modules(&text);
        }
    }
}

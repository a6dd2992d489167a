//! Births of unusual kinds.

use crate::number;

/// `siblings COUNT`: makes processes that are children of its own parent: CLONE_PARENT.
pub(crate) fn siblings(args: &[String]) {
    for _ in 0..number(args, 0) {
        let flags = libc::CLONE_PARENT | libc::SIGCHLD;
        // SAFETY: a copy of this process, which has one thread, as by fork.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
        if pid == 0 {
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(7) };
        }
        assert!(pid > 0, "{}", std::io::Error::last_os_error());
    }
}

//! Constants of calls on files and descriptors.

use super::{Names, names};

/// Which way a file is opened: the two lowest bits of the flags.
pub(crate) const ACCESS_MODE: Names = names![O_RDONLY, O_WRONLY, O_RDWR, O_ACCMODE];

/// `O_LARGEFILE` as the kernel has it; C libraries of 64-bit systems say 0.
const LARGEFILE: u64 = if cfg!(target_arch = "aarch64") {
    0o400_000
} else {
    0o100_000
};

/// Flags of open(2).
pub(crate) const OPEN: Names = names![
    O_CREAT,
    O_EXCL,
    O_NOCTTY,
    O_TRUNC,
    O_APPEND,
    O_NONBLOCK,
    O_SYNC,
    O_DSYNC,
    O_DIRECT,
    O_LARGEFILE = LARGEFILE,
    O_NOFOLLOW,
    O_NOATIME,
    O_CLOEXEC,
    O_PATH,
    O_TMPFILE,
    O_DIRECTORY,
    FASYNC = libc::O_ASYNC,
];

/// `resolve` of openat2(2).
pub(crate) const RESOLVE: Names = names![
    RESOLVE_NO_XDEV,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_CACHED = 0x20,
];

/// Flags of a descriptor.
pub(crate) const FD: Names = names![FD_CLOEXEC];

/// What access(2) asks for.
pub(crate) const ACCESS: Names = names![F_OK, R_OK, W_OK, X_OK];

/// Flags of calls whose names end in `at`.
pub(crate) const AT: Names = names![
    AT_SYMLINK_NOFOLLOW,
    AT_SYMLINK_FOLLOW,
    AT_NO_AUTOMOUNT,
    AT_EMPTY_PATH,
];

/// Flags of faccessat2(2).
pub(crate) const FACCESSAT: Names = names![AT_SYMLINK_NOFOLLOW, AT_EACCESS, AT_EMPTY_PATH];

/// Flags of unlinkat(2).
pub(crate) const UNLINKAT: Names = names![AT_REMOVEDIR];

/// How statx(2) synchronises: two bits of its flags.
pub(crate) const STATX_SYNC: Names = names![
    AT_STATX_SYNC_AS_STAT,
    AT_STATX_FORCE_SYNC,
    AT_STATX_DONT_SYNC,
    AT_STATX_SYNC_TYPE
];

/// Attributes that statx(2) gives.
pub(crate) const STATX_ATTR: Names = names![
    STATX_ATTR_COMPRESSED = 0x4,
    STATX_ATTR_IMMUTABLE = 0x10,
    STATX_ATTR_APPEND = 0x20,
    STATX_ATTR_NODUMP = 0x40,
    STATX_ATTR_ENCRYPTED = 0x800,
    STATX_ATTR_AUTOMOUNT = 0x1000,
    STATX_ATTR_MOUNT_ROOT = 0x2000,
    STATX_ATTR_VERITY = 0x10_0000,
    STATX_ATTR_DAX = 0x20_0000,
];

/// What statx(2) asks for.
pub(crate) const STATX: Names = names![
    STATX_ALL,
    STATX_BASIC_STATS,
    STATX_TYPE,
    STATX_MODE,
    STATX_NLINK,
    STATX_UID,
    STATX_GID,
    STATX_ATIME,
    STATX_MTIME,
    STATX_CTIME,
    STATX_INO,
    STATX_SIZE,
    STATX_BLOCKS,
    STATX_BTIME,
    STATX_MNT_ID = 0x1000,
    STATX_DIOALIGN = 0x2000,
    STATX_MNT_ID_UNIQUE = 0x4000,
];

/// Flags of renameat2(2).
pub(crate) const RENAME: Names = names![RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT];

/// `whence` of lseek(2).
pub(crate) const SEEK: Names = names![SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE];

/// Commands of fcntl(2).
pub(crate) const FCNTL: Names = names![
    F_DUPFD,
    F_GETFD,
    F_SETFD,
    F_GETFL,
    F_SETFL,
    F_GETLK,
    F_SETLK,
    F_SETLKW,
    F_SETOWN,
    F_GETOWN,
    F_SETSIG = 10,
    F_GETSIG = 11,
    F_SETOWN_EX = 15,
    F_GETOWN_EX = 16,
    F_OFD_GETLK,
    F_OFD_SETLK,
    F_OFD_SETLKW,
    F_SETLEASE,
    F_GETLEASE,
    F_NOTIFY,
    F_DUPFD_CLOEXEC,
    F_SETPIPE_SZ,
    F_GETPIPE_SZ,
    F_ADD_SEALS,
    F_GET_SEALS,
    F_GET_RW_HINT = 1035,
    F_SET_RW_HINT = 1036,
    F_GET_FILE_RW_HINT = 1037,
    F_SET_FILE_RW_HINT = 1038,
    F_DUPFD_QUERY = 1027,
];

/// Seals of a memfd.
pub(crate) const SEALS: Names = names![
    F_SEAL_SEAL,
    F_SEAL_SHRINK,
    F_SEAL_GROW,
    F_SEAL_WRITE,
    F_SEAL_FUTURE_WRITE = 0x10,
    F_SEAL_EXEC = 0x20,
];

/// `l_type` of a lock, and the argument of `F_SETLEASE`.
pub(crate) const LOCK: Names = names![F_RDLCK, F_WRLCK, F_UNLCK];

/// Operations of flock(2).
pub(crate) const FLOCK: Names = names![LOCK_SH, LOCK_EX, LOCK_UN, LOCK_NB];

/// Flags of pipe2(2).
pub(crate) const PIPE: Names = names![
    O_NONBLOCK,
    O_CLOEXEC,
    O_DIRECT,
    O_NOTIFICATION_PIPE = libc::O_EXCL
];

/// Flags of dup3(2), timerfd_create(2) and others that know one.
pub(crate) const CLOEXEC: Names = names![O_CLOEXEC];

/// The type of a file in `st_mode`.
pub(crate) const FILE_TYPE: Names = names![
    S_IFSOCK, S_IFLNK, S_IFREG, S_IFBLK, S_IFDIR, S_IFCHR, S_IFIFO
];

/// Events of poll(2).
pub(crate) const POLL: Names = names![
    POLLIN,
    POLLPRI,
    POLLOUT,
    POLLRDNORM,
    POLLRDBAND,
    POLLWRNORM,
    POLLWRBAND,
    POLLMSG = 0x400,
    POLLERR,
    POLLHUP,
    POLLNVAL,
    POLLREMOVE = 0x1000,
    POLLRDHUP,
];

/// Operations of epoll_ctl(2).
pub(crate) const EPOLL_CTL: Names = names![EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD];

/// Flags of epoll_create1(2).
pub(crate) const EPOLL_CREATE: Names = names![EPOLL_CLOEXEC];

/// Events of epoll.
pub(crate) const EPOLL: Names = names![
    EPOLLIN,
    EPOLLPRI,
    EPOLLOUT,
    EPOLLRDNORM,
    EPOLLRDBAND,
    EPOLLWRNORM,
    EPOLLWRBAND,
    EPOLLMSG,
    EPOLLERR,
    EPOLLHUP,
    EPOLLRDHUP,
    EPOLLEXCLUSIVE = 1u32 << 28,
    EPOLLWAKEUP = 1u32 << 29,
    EPOLLONESHOT = 1u32 << 30,
    EPOLLET = 1u32 << 31,
];

/// Flags of eventfd2(2).
pub(crate) const EVENTFD: Names = names![EFD_SEMAPHORE, EFD_CLOEXEC, EFD_NONBLOCK];

/// Flags of signalfd4(2).
pub(crate) const SIGNALFD: Names = names![SFD_CLOEXEC, SFD_NONBLOCK];

/// Flags of timerfd_create(2).
pub(crate) const TIMERFD: Names = names![TFD_CLOEXEC, TFD_NONBLOCK];

/// Flags of inotify_init1(2).
pub(crate) const INOTIFY_INIT: Names = names![IN_CLOEXEC, IN_NONBLOCK];

/// What inotify_add_watch(2) asks for.
pub(crate) const INOTIFY: Names = names![
    IN_ACCESS,
    IN_MODIFY,
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CLOSE_NOWRITE,
    IN_OPEN,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_MOVE_SELF,
    IN_UNMOUNT,
    IN_Q_OVERFLOW,
    IN_IGNORED,
    IN_ONLYDIR,
    IN_DONT_FOLLOW,
    IN_EXCL_UNLINK = 0x0400_0000,
    IN_MASK_CREATE = 0x1000_0000,
    IN_MASK_ADD,
    IN_ISDIR,
    IN_ONESHOT,
];

/// Flags of memfd_create(2).
pub(crate) const MEMFD: Names = names![
    MFD_CLOEXEC,
    MFD_ALLOW_SEALING,
    MFD_HUGETLB,
    MFD_NOEXEC_SEAL = 8,
    MFD_EXEC = 0x10,
];

/// Advice of posix_fadvise(2).
pub(crate) const FADVISE: Names = names![
    POSIX_FADV_NORMAL,
    POSIX_FADV_RANDOM,
    POSIX_FADV_SEQUENTIAL,
    POSIX_FADV_WILLNEED,
    POSIX_FADV_DONTNEED,
    POSIX_FADV_NOREUSE,
];

/// Modes of fallocate(2).
pub(crate) const FALLOCATE: Names = names![
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_NO_HIDE_STALE = 4,
    FALLOC_FL_COLLAPSE_RANGE,
    FALLOC_FL_ZERO_RANGE,
    FALLOC_FL_INSERT_RANGE,
    FALLOC_FL_UNSHARE_RANGE,
];

/// Flags of splice(2), tee(2), vmsplice(2).
pub(crate) const SPLICE: Names = names![
    SPLICE_F_MOVE,
    SPLICE_F_NONBLOCK,
    SPLICE_F_MORE,
    SPLICE_F_GIFT
];

/// Flags of sync_file_range(2).
pub(crate) const SYNC_RANGE: Names = names![
    SYNC_FILE_RANGE_WAIT_BEFORE,
    SYNC_FILE_RANGE_WRITE,
    SYNC_FILE_RANGE_WAIT_AFTER,
];

/// Flags of preadv2(2) and pwritev2(2).
pub(crate) const RWF: Names = names![
    RWF_HIPRI,
    RWF_DSYNC,
    RWF_SYNC,
    RWF_NOWAIT,
    RWF_APPEND,
    RWF_NOAPPEND = 0x20
];

/// Flags of setxattr(2).
pub(crate) const XATTR: Names = names![XATTR_CREATE, XATTR_REPLACE];

/// Flags of close_range(2).
pub(crate) const CLOSE_RANGE: Names = names![CLOSE_RANGE_UNSHARE = 2, CLOSE_RANGE_CLOEXEC = 4];

/// Flags of mount(2).
pub(crate) const MOUNT: Names = names![
    MS_RDONLY,
    MS_NOSUID,
    MS_NODEV,
    MS_NOEXEC,
    MS_SYNCHRONOUS,
    MS_REMOUNT,
    MS_MANDLOCK,
    MS_DIRSYNC,
    MS_NOSYMFOLLOW = 0x100,
    MS_NOATIME,
    MS_NODIRATIME,
    MS_BIND,
    MS_MOVE,
    MS_REC,
    MS_SILENT,
    MS_POSIXACL,
    MS_UNBINDABLE,
    MS_PRIVATE,
    MS_SLAVE,
    MS_SHARED,
    MS_RELATIME,
    MS_KERNMOUNT,
    MS_I_VERSION,
    MS_STRICTATIME,
    MS_LAZYTIME,
];

/// Flags of umount2(2).
pub(crate) const UMOUNT: Names = names![MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW];

/// Requests of ioctl(2) that any program may make.
pub(crate) const IOCTL: Names = names![
    TCGETS,
    TCSETS,
    TCSETSW,
    TCSETSF,
    TCGETA,
    TCSETA,
    TCSETAW,
    TCSETAF,
    TCSBRK,
    TCXONC,
    TCFLSH,
    TIOCEXCL,
    TIOCNXCL,
    TIOCSCTTY,
    TIOCGPGRP,
    TIOCSPGRP,
    TIOCOUTQ,
    TIOCSTI,
    TIOCGWINSZ,
    TIOCSWINSZ,
    TIOCMGET,
    TIOCMBIS,
    TIOCMBIC,
    TIOCMSET,
    TIOCLINUX,
    TIOCCONS,
    FIONREAD,
    TIOCNOTTY = 0x5422,
    TIOCSETD = 0x5423,
    TIOCGETD = 0x5424,
    TIOCGSID = 0x5429,
    TIOCGPTN,
    TIOCSPTLCK,
    TIOCGPTPEER,
    TIOCGPTLCK = 0x8004_5439u32,
    FIONBIO,
    FIOASYNC = 0x5452,
    FIOCLEX,
    FIONCLEX,
    FIOQSIZE = 0x5460,
    FICLONE,
    FICLONERANGE,
    FS_IOC_GETFLAGS,
    FS_IOC_SETFLAGS,
    FS_IOC_FIEMAP = 0xc020_660bu32,
    BLKGETSIZE64 = 0x8008_1272u32,
    BLKSSZGET = 0x1268,
    SIOCGIFCONF = 0x8912,
    SIOCGIFFLAGS = 0x8913,
    SIOCGIFADDR = 0x8915,
    SIOCGIFMTU = 0x8921,
    SIOCGIFHWADDR = 0x8927,
    SIOCGIFINDEX = 0x8933,
    SIOCETHTOOL = 0x8946,
    RNDGETENTCNT = 0x8004_5200u32,
    UFFDIO_API = 0xc018_aa3fu32,
    UFFDIO_REGISTER = 0xc020_aa00u32,
    PERF_EVENT_IOC_ENABLE = 0x2400,
    PERF_EVENT_IOC_DISABLE = 0x2401,
    KVM_GET_API_VERSION = 0xae00,
];

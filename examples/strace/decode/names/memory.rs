//! Constants of calls on memory.

use super::{Names, names};

/// Protection of pages.
pub(crate) const PROT: Names = names![
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
    PROT_EXEC,
    PROT_SEM = 8,
    PROT_GROWSDOWN = 0x0100_0000,
    PROT_GROWSUP = 0x0200_0000,
];

/// How a mapping is shared: the four lowest bits of the flags.
pub(crate) const MAP_TYPE: Names = names![
    MAP_FILE = 0,
    MAP_SHARED,
    MAP_PRIVATE,
    MAP_SHARED_VALIDATE,
    MAP_DROPPABLE = 8
];

/// Flags of mmap(2).
pub(crate) const MAP: Names = names![
    MAP_FIXED,
    MAP_ANONYMOUS,
    MAP_32BIT = 0x40,
    MAP_NORESERVE,
    MAP_POPULATE,
    MAP_NONBLOCK,
    MAP_GROWSDOWN,
    MAP_DENYWRITE,
    MAP_EXECUTABLE,
    MAP_LOCKED,
    MAP_STACK,
    MAP_HUGETLB,
    MAP_SYNC,
    MAP_FIXED_NOREPLACE,
];

/// Flags of mremap(2).
pub(crate) const MREMAP: Names = names![MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP = 4];

/// Flags of msync(2).
pub(crate) const MSYNC: Names = names![MS_SYNC, MS_ASYNC, MS_INVALIDATE];

/// Flags of mlockall(2).
pub(crate) const MLOCKALL: Names = names![MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT];

/// Flags of mlock2(2).
pub(crate) const MLOCK: Names = names![MLOCK_ONFAULT = 1];

/// Advice of madvise(2).
pub(crate) const MADVISE: Names = names![
    MADV_NORMAL,
    MADV_RANDOM,
    MADV_SEQUENTIAL,
    MADV_WILLNEED,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_REMOVE,
    MADV_DONTFORK,
    MADV_DOFORK,
    MADV_MERGEABLE,
    MADV_UNMERGEABLE,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    MADV_DONTDUMP,
    MADV_DODUMP,
    MADV_WIPEONFORK = 18,
    MADV_KEEPONFORK = 19,
    MADV_COLD = 20,
    MADV_PAGEOUT = 21,
    MADV_POPULATE_READ = 22,
    MADV_POPULATE_WRITE = 23,
    MADV_DONTNEED_LOCKED = 24,
    MADV_COLLAPSE = 25,
    MADV_HWPOISON,
    MADV_GUARD_INSTALL = 102,
    MADV_GUARD_REMOVE = 103,
];

/// Commands of membarrier(2).
pub(crate) const MEMBARRIER: Names = names![
    MEMBARRIER_CMD_QUERY = 0,
    MEMBARRIER_CMD_GLOBAL = 1,
    MEMBARRIER_CMD_GLOBAL_EXPEDITED = 2,
    MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED = 4,
    MEMBARRIER_CMD_PRIVATE_EXPEDITED = 8,
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED = 16,
    MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE = 32,
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 64,
    MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ = 128,
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ = 256,
];

/// Flags of shmget(2), above the mode.
pub(crate) const SHMGET: Names = names![IPC_CREAT, IPC_EXCL, SHM_HUGETLB, SHM_NORESERVE,];

/// Flags of shmat(2).
pub(crate) const SHMAT: Names = names![SHM_RDONLY, SHM_RND, SHM_REMAP, SHM_EXEC];

/// Commands of shmctl(2), semctl(2) and msgctl(2) that all have.
pub(crate) const IPC: Names = names![IPC_RMID, IPC_SET, IPC_STAT, IPC_INFO];

/// Keys of System V objects.
pub(crate) const IPC_KEY: Names = names![IPC_PRIVATE];

/// Flags of userfaultfd(2).
pub(crate) const USERFAULTFD: Names = names![O_CLOEXEC, O_NONBLOCK, UFFD_USER_MODE_ONLY = 1];

/// Access rights of pkey_alloc(2).
pub(crate) const PKEY: Names = names![PKEY_DISABLE_ACCESS = 1, PKEY_DISABLE_WRITE = 2];

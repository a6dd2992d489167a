//! Calls on memory, and System V's shared objects.

use super::super::arg::Arg::*;
use super::super::names::memory as set;
use super::super::structs::files::{int_at, vector};
use super::super::structs::memory::*;
use super::super::structs::time::{timespec, timespec64};
use super::{Table, calls};

pub(super) const CALLS: Table = calls! {
    brk: Ptr;
    mmap: Ptr, Size, Flags(set::PROT), Value(map_flags), Int, Hex;
    mmap2: Ptr, Size, Flags(set::PROT), Value(map_flags), Int, Hex;
    munmap: Ptr, Size;
    mprotect: Ptr, Size, Flags(set::PROT);
    pkey_mprotect: Ptr, Size, Flags(set::PROT), Int;
    pkey_alloc: Hex, Flags(set::PKEY);
    pkey_free: Int;
    remap_file_pages: Ptr, Size, Flags(set::PROT), Size, Value(map_flags);
    msync: Ptr, Size, Flags(set::MSYNC);
    mincore: Ptr, Size, Ptr;
    madvise: Ptr, Size, OneOf(set::MADVISE);
    process_madvise: Int, In(vector), Size, OneOf(set::MADVISE), Hex;
    process_mrelease: Int, Hex;
    mlock: Ptr, Size;
    mlock2: Ptr, Size, Flags(set::MLOCK);
    munlock: Ptr, Size;
    mlockall: Flags(set::MLOCKALL);
    munlockall: ;
    mseal: Ptr, Size, Hex;
    membarrier: OneOf(set::MEMBARRIER), Hex, Int;
    userfaultfd: Flags(set::USERFAULTFD);
    map_shadow_stack: Ptr, Size, Hex;
    mbind: Ptr, Size, Uint, Ptr, Size, Hex;
    set_mempolicy: Uint, Ptr, Size;
    get_mempolicy: Out(int_at), Ptr, Size, Ptr, Hex;
    set_mempolicy_home_node: Ptr, Size, Size, Hex;
    migrate_pages: Int, Size, Ptr, Ptr;
    move_pages: Int, Size, Ptr, Ptr, Ptr, Hex;
    process_vm_readv: Int, Ptr, Size, Ptr, Size, Hex;
    process_vm_writev: Int, In(vector), Size, Ptr, Size, Hex;

    shmget: Value(ipc_key), Size, Value(shm_flags);
    shmat: Int, Ptr, Flags(set::SHMAT);
    shmctl: Int, Value(ipc_command), Ptr;
    shmdt: Ptr;
    semget: Value(ipc_key), Int, Value(shm_flags);
    semop: Int, Ptr, Size;
    semtimedop: Int, Ptr, Size, In(timespec);
    semtimedop_time64: Int, Ptr, Size, In(timespec64);
    semctl: Int, Int, Value(ipc_command), Hex;
    msgget: Value(ipc_key), Value(shm_flags);
    msgsnd: Int, Ptr, Size, Hex;
    msgrcv: Int, Ptr, Size, Long, Hex;
    msgctl: Int, Value(ipc_command), Ptr;
    ipc: Uint, Hex, Hex, Hex, Ptr, Hex;
};

//! Constants of the system as a whole.

use super::{Names, names};

/// Flags of getrandom(2).
pub(crate) const GETRANDOM: Names = names![GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE = 4];

/// Commands of bpf(2).
pub(crate) const BPF: Names = names![
    BPF_MAP_CREATE = 0,
    BPF_MAP_LOOKUP_ELEM = 1,
    BPF_MAP_UPDATE_ELEM = 2,
    BPF_MAP_DELETE_ELEM = 3,
    BPF_MAP_GET_NEXT_KEY = 4,
    BPF_PROG_LOAD = 5,
    BPF_OBJ_PIN = 6,
    BPF_OBJ_GET = 7,
    BPF_PROG_ATTACH = 8,
    BPF_PROG_DETACH = 9,
    BPF_PROG_TEST_RUN = 10,
    BPF_PROG_GET_NEXT_ID = 11,
    BPF_MAP_GET_NEXT_ID = 12,
    BPF_PROG_GET_FD_BY_ID = 13,
    BPF_MAP_GET_FD_BY_ID = 14,
    BPF_OBJ_GET_INFO_BY_FD = 15,
    BPF_PROG_QUERY = 16,
    BPF_RAW_TRACEPOINT_OPEN = 17,
    BPF_BTF_LOAD = 18,
    BPF_LINK_CREATE = 28,
];

/// Operations of keyctl(2).
pub(crate) const KEYCTL: Names = names![
    KEYCTL_GET_KEYRING_ID,
    KEYCTL_JOIN_SESSION_KEYRING,
    KEYCTL_UPDATE,
    KEYCTL_REVOKE,
    KEYCTL_CHOWN,
    KEYCTL_SETPERM,
    KEYCTL_DESCRIBE,
    KEYCTL_CLEAR,
    KEYCTL_LINK,
    KEYCTL_UNLINK,
    KEYCTL_SEARCH,
    KEYCTL_READ,
];

/// Flags of io_uring_enter(2).
pub(crate) const URING_ENTER: Names = names![
    IORING_ENTER_GETEVENTS = 1,
    IORING_ENTER_SQ_WAKEUP = 2,
    IORING_ENTER_SQ_WAIT = 4,
    IORING_ENTER_EXT_ARG = 8,
    IORING_ENTER_REGISTERED_RING = 16,
];

/// `which` of ioprio_get(2).
pub(crate) const IOPRIO: Names = names![
    IOPRIO_WHO_PROCESS = 1,
    IOPRIO_WHO_PGRP = 2,
    IOPRIO_WHO_USER = 3
];

/// Flags of swapon(2).
pub(crate) const SWAP: Names = names![SWAP_FLAG_PREFER = 0x8000, SWAP_FLAG_DISCARD = 0x10000];

/// Commands of reboot(2).
pub(crate) const REBOOT: Names = names![
    LINUX_REBOOT_CMD_RESTART = 0x0123_4567,
    LINUX_REBOOT_CMD_HALT = 0xcdef_0123u32,
    LINUX_REBOOT_CMD_CAD_ON = 0x89ab_cdefu32,
    LINUX_REBOOT_CMD_CAD_OFF = 0,
    LINUX_REBOOT_CMD_POWER_OFF = 0x4321_fedc,
    LINUX_REBOOT_CMD_RESTART2 = 0xa1b2_c3d4u32,
    LINUX_REBOOT_CMD_SW_SUSPEND = 0xd000_fce2u32,
    LINUX_REBOOT_CMD_KEXEC = 0x4558_4543,
];

/// Flags of delete_module(2).
pub(crate) const DELETE_MODULE: Names = names![O_NONBLOCK, O_TRUNC];

/// Flags of finit_module(2).
pub(crate) const FINIT_MODULE: Names = names![
    MODULE_INIT_IGNORE_MODVERSIONS = 1,
    MODULE_INIT_IGNORE_VERMAGIC = 2,
    MODULE_INIT_COMPRESSED_FILE = 4,
];

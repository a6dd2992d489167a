//! Calls on the system as a whole, and calls that no kernel makes any more.

use super::super::arg::Arg::*;
use super::super::names::system as set;
use super::super::structs::files::{int_at, random};
use super::super::structs::process::utsname;
use super::super::structs::time::{timespec, timespec64};
use super::{Table, calls};

pub(super) const CALLS: Table = calls! {
    uname: Out(utsname);
    olduname: Ptr;
    oldolduname: Ptr;
    sysinfo: Ptr;
    syslog: Int, Ptr, Int;
    getrandom: Out(random), Size, Flags(set::GETRANDOM);
    sethostname: Data(1), Size;
    setdomainname: Data(1), Size;
    reboot: Hex, Hex, OneOf(set::REBOOT), Hex;
    vhangup: ;
    acct: Path;
    swapon: Path, Flags(set::SWAP);
    swapoff: Path;
    iopl: Int;
    ioperm: Hex, Hex, Int;
    init_module: Ptr, Size, Str;
    finit_module: Int, Str, Flags(set::FINIT_MODULE);
    delete_module: Str, Flags(set::DELETE_MODULE);
    kexec_load: Ptr, Size, Ptr, Hex;
    kexec_file_load: Int, Int, Size, Ptr, Hex;
    bpf: OneOf(set::BPF), Ptr, Uint;
    perf_event_open: Ptr, Int, Int, Int, Hex;
    add_key: Str, Str, Data(3), Size, Int;
    request_key: Str, Str, Str, Int;
    keyctl: OneOf(set::KEYCTL), Hex, Hex, Hex, Hex;
    landlock_create_ruleset: Ptr, Size, Hex;
    landlock_add_rule: Int, Uint, Ptr, Hex;
    landlock_restrict_self: Int, Hex;
    lsm_get_self_attr: Uint, Ptr, Ptr, Hex;
    lsm_set_self_attr: Uint, Ptr, Size, Hex;
    lsm_list_modules: Ptr, Ptr, Hex;

    mq_unlink: Str;
    mq_timedsend: Int, Data(2), Size, Uint, In(timespec);
    mq_timedreceive: Int, DataOut, Size, Out(int_at), In(timespec);
    mq_timedsend_time64: Int, Data(2), Size, Uint, In(timespec64);
    mq_timedreceive_time64: Int, DataOut, Size, Out(int_at), In(timespec64);
    mq_notify: Int, Ptr;
    mq_getsetattr: Int, Ptr, Ptr;

    // Made by the kernel's own probes.
    uprobe: ;
    uretprobe: ;

    // Numbers that are taken, for calls that have gone or never were.
    _sysctl: Ptr;
    afs_syscall: Hex, Hex, Hex, Hex, Hex;
    bdflush: Int, Hex;
    create_module: Str, Size;
    get_kernel_syms: Ptr;
    getpmsg: Hex, Hex, Hex, Hex, Hex;
    gtty: Hex, Hex;
    idle: ;
    lock: ;
    mpx: ;
    nfsservctl: Int, Ptr, Ptr;
    pciconfig_iobase: Hex, Hex, Hex;
    pciconfig_read: Hex, Hex, Hex, Hex, Hex;
    pciconfig_write: Hex, Hex, Hex, Hex, Hex;
    prof: ;
    profil: Hex, Hex, Hex, Hex;
    putpmsg: Hex, Hex, Hex, Hex, Hex;
    query_module: Str, Int, Ptr, Size, Ptr;
    security: Hex, Hex, Hex;
    stty: Hex, Hex;
    tuxcall: Hex, Hex, Hex;
    uselib: Path;
    vm86: Hex, Hex;
    vm86old: Hex;
    vserver: Hex, Hex, Hex, Hex, Hex;
};

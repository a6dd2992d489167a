//! Calls as text, from a memory made up.

use tracehound::{Arch, SyscallEntry};

use super::memory::Fake;
use super::*;

/// Where the tests put things.
const AT: u64 = 0x1000;
/// An address where nothing is.
const WILD: u64 = 0xdead_beef_0000;

fn entry(arch: Arch, name: &str, args: &[u64]) -> SyscallEntry {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    let named = |nr: &u64| {
        SyscallEntry {
            arch,
            nr: *nr,
            args: all,
        }
        .name()
            == Some(name)
    };
    let nr = (0..1024).find(named).expect("a call of this name");
    SyscallEntry {
        arch,
        nr,
        args: all,
    }
}

fn call(name: &str, args: &[u64], returned: Return, memory: &Fake) -> String {
    Call::enter(&entry(Arch::X86_64, name, args), memory).finish(returned, memory)
}

fn ok(name: &str, args: &[u64], value: i64, memory: &Fake) -> String {
    call(name, args, Return::Value(value), memory)
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

const MINUS_1: u64 = u64::MAX;
const CWD: u64 = libc::AT_FDCWD as u64;

#[test]
fn files_are_opened() {
    let memory = Fake::default().with(AT, *b"/etc/passwd\0");
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as u64;
    assert_eq!(
        ok("openat", &[CWD, AT, flags, 0], 3, &memory),
        r#"openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3"#
    );
    let create = (libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC) as u64;
    assert_eq!(
        call(
            "open",
            &[AT, create, 0o644],
            Return::Error(libc::ENOENT),
            &memory
        ),
        r#"open("/etc/passwd", O_WRONLY|O_CREAT|O_TRUNC, 0644) = -1 ENOENT (No such file or directory)"#
    );
}

#[test]
fn what_a_call_gives_is_read_at_its_exit() {
    let entry = entry(Arch::X86_64, "read", &[0, AT, 100]);
    let call = Call::enter(&entry, &Fake::default());
    let after = Fake::default().with(AT, *b"hello\nworld");
    assert_eq!(
        call.finish(Return::Value(6), &after),
        r#"read(0, "hello\n", 100) = 6"#
    );
}

#[test]
fn what_a_call_is_given_is_read_at_its_entry() {
    let before = Fake::default()
        .with(AT, *b"/bin/ls\0")
        .with(2 * AT, words(&[AT, 5 * AT, 0]))
        .with(3 * AT, words(&[1, 2, 3, 0]))
        .with(5 * AT, *b"-l\0");
    let entry = entry(Arch::X86_64, "execve", &[AT, 2 * AT, 3 * AT]);
    let call = Call::enter(&entry, &before);
    assert_eq!(
        call.finish(Return::Value(0), &Fake::default()),
        r#"execve("/bin/ls", ["/bin/ls", "-l"], 0x3000 /* 3 vars */) = 0"#
    );
}

#[test]
fn failed_calls_gave_nothing() {
    let memory = Fake::default().with(AT, vec![0; 200]);
    assert_eq!(
        call("read", &[0, AT, 100], Return::Error(libc::EBADF), &memory),
        "read(0, 0x1000, 100) = -1 EBADF (Bad file descriptor)"
    );
    assert_eq!(
        call("read", &[0, AT, 100], Return::Error(512), &memory),
        "read(0, 0x1000, 100) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"
    );
}

#[test]
fn calls_that_never_return() {
    let memory = Fake::default();
    assert_eq!(
        call("exit_group", &[0], Return::Never, &memory),
        "exit_group(0) = ?"
    );
    assert_eq!(
        call("read", &[0, AT, 1], Return::Never, &memory),
        "read(0, 0x1000, 1) = ?"
    );
}

#[test]
fn unknown_calls_show_all_registers() {
    let entry = SyscallEntry {
        arch: Arch::X86_64,
        nr: 9999,
        args: [1, 2, 0, 4, 5, 6],
    };
    let memory = Fake::default();
    assert_eq!(
        Call::enter(&entry, &memory).finish(Return::Error(libc::ENOSYS), &memory),
        "syscall_0x270f(0x1, 0x2, 0, 0x4, 0x5, 0x6) = -1 ENOSYS (Function not implemented)"
    );
}

#[test]
fn data_is_cut_and_names_are_not() {
    let memory = Fake::default().with(AT, [vec![b'n'; 200], vec![0]].concat());
    let text = ok("write", &[1, AT, 200], 200, &memory);
    assert_eq!(
        text,
        format!("write(1, \"{}\"..., 200) = 200", "n".repeat(32))
    );
    let text = ok("unlink", &[AT], 0, &memory);
    assert_eq!(text, format!("unlink(\"{}\") = 0", "n".repeat(200)));
}

#[test]
fn memory_calls() {
    let memory = Fake::default();
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
    assert_eq!(
        ok(
            "mmap",
            &[0, 8192, 3, flags, MINUS_1, 0],
            0x7f00_0000_1000,
            &memory
        ),
        "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000001000"
    );
    assert_eq!(ok("brk", &[0], 0x5000, &memory), "brk(NULL) = 0x5000");
    assert_eq!(
        ok("mprotect", &[AT, 4096, 0], 0, &memory),
        "mprotect(0x1000, 4096, PROT_NONE) = 0"
    );
}

#[test]
fn pipes_waits_and_clones() {
    let memory = Fake::default()
        .with(AT, [3u32, 4].map(u32::to_ne_bytes).concat())
        .with(2 * AT, (3u32 << 8).to_ne_bytes());
    assert_eq!(
        ok("pipe2", &[AT, libc::O_CLOEXEC as u64], 0, &memory),
        "pipe2([3, 4], O_CLOEXEC) = 0"
    );
    assert_eq!(
        ok("wait4", &[MINUS_1, 2 * AT, 0, 0], 77, &memory),
        "wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 77"
    );
    let flags = libc::CLONE_CHILD_CLEARTID | libc::CLONE_CHILD_SETTID | libc::SIGCHLD;
    assert_eq!(
        ok("clone", &[flags as u64, 0, 0, AT, 0], 77, &memory),
        "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, \
         child_tidptr=0x1000) = 77"
    );
}

#[test]
fn addresses_of_sockets() {
    let inet = [&[2, 0, 0, 53, 127, 0, 0, 1][..], &[0; 8]].concat();
    let unix = [&[1, 0][..], b"/run/x\0", &[0; 103]].concat();
    let memory = Fake::default().with(AT, inet).with(2 * AT, unix);
    assert_eq!(
        ok("connect", &[3, AT, 16], 0, &memory),
        r#"connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#
    );
    assert_eq!(
        ok("bind", &[3, 2 * AT, 110], 0, &memory),
        r#"bind(3, {sa_family=AF_UNIX, sun_path="/run/x"}, 110) = 0"#
    );
    assert_eq!(
        ok("connect", &[3, AT, 3], 0, &memory),
        r#"connect(3, {sa_family=AF_INET, sa_data="\0"}, 3) = 0"#
    );
}

#[test]
fn arguments_depend_on_others() {
    let memory = Fake::default();
    let fcntl =
        |command: i32, arg: u64, value| ok("fcntl", &[3, command as u64, arg], value, &memory);
    assert_eq!(fcntl(libc::F_GETFD, 9, 0), "fcntl(3, F_GETFD) = 0");
    assert_eq!(
        fcntl(libc::F_GETFD, 9, 1),
        "fcntl(3, F_GETFD) = 0x1 (flags FD_CLOEXEC)"
    );
    assert_eq!(
        fcntl(libc::F_GETFL, 9, 2),
        "fcntl(3, F_GETFL) = 0x2 (flags O_RDWR)"
    );
    assert_eq!(
        fcntl(libc::F_SETFD, 1, 0),
        "fcntl(3, F_SETFD, FD_CLOEXEC) = 0"
    );
    let wake = libc::FUTEX_WAKE_BITSET | libc::FUTEX_PRIVATE_FLAG;
    assert_eq!(
        ok(
            "futex",
            &[AT, wake as u64, 1, 8, 9, 0xffff_ffff],
            0,
            &memory
        ),
        "futex(0x1000, FUTEX_WAKE_BITSET_PRIVATE, 1, FUTEX_BITSET_MATCH_ANY) = 0"
    );
}

#[test]
fn programs_of_32_bits() {
    let argv = [5 * AT as u32, 0].map(u32::to_ne_bytes).concat();
    let memory = Fake::default()
        .with(AT, *b"/bin/ls\0")
        .with(2 * AT, argv)
        .with(5 * AT, *b"ls\0");
    let i386 = |name: &str, args: &[u64], value| {
        Call::enter(&entry(Arch::I386, name, args), &memory).finish(Return::Value(value), &memory)
    };
    assert_eq!(
        i386("execve", &[AT, 2 * AT, 0], 0),
        r#"execve("/bin/ls", ["ls"], NULL) = 0"#
    );
    assert_eq!(
        i386("pwrite64", &[3, 5 * AT, 2, 1, 1], 2),
        r#"pwrite64(3, "ls", 2, 4294967297) = 2"#
    );
    assert_eq!(
        i386("lseek", &[3, 0xffff_fff6, 1], 5),
        "lseek(3, -10, SEEK_CUR) = 5"
    );
}

/// Values that mean no good, in each argument of each call.
const HOSTILE: [u64; 9] = [
    0,
    1,
    AT,
    AT + 4090,
    WILD,
    0x7fff_ffff,
    i64::MAX as u64,
    u64::MAX - 7,
    u64::MAX,
];

#[test]
fn hostile_arguments_do_no_harm() {
    // Every byte a pointer back into the page: arrays of it never end.
    let page = Fake::default().with(AT, words(&[AT; 512]));
    for arch in [Arch::X86_64, Arch::I386, Arch::ARM, Arch::AARCH64] {
        for nr in 0..512 {
            for (shift, _) in HOSTILE.iter().enumerate() {
                let mut args = HOSTILE;
                args.rotate_left(shift);
                let mut first = [0; 6];
                first.copy_from_slice(&args[..6]);
                let entry = SyscallEntry {
                    arch,
                    nr,
                    args: first,
                };
                for returned in [
                    Return::Value(0),
                    Return::Value(i64::MAX),
                    Return::Value(i64::MIN),
                    Return::Error(i32::MIN),
                    Return::Never,
                ] {
                    let line = Call::enter(&entry, &page).finish(returned, &page);
                    assert!(line.len() < 64 * 1024, "{}", line.len());
                }
            }
        }
    }
}

#[test]
fn endless_arrays_are_cut() {
    struct Endless;
    impl Memory for Endless {
        fn read(&self, _: u64, buf: &mut [u8]) -> usize {
            buf.fill(0x41);
            buf.len()
        }
    }
    let entry = entry(Arch::X86_64, "execve", &[AT, AT, AT]);
    let line = Call::enter(&entry, &Endless).finish(Return::Error(libc::E2BIG), &Endless);
    assert!(line.len() < 4096 + 33 * 64 + 200, "{}", line.len());
    assert!(
        line.contains(", ...], 0x1000 /* 65536 vars, unterminated */)"),
        "{line}"
    );
}

#[test]
fn strings_end_where_memory_does() {
    let memory = Fake::default()
        .with(AT, words(&[WILD, 2 * AT]))
        .with(2 * AT, *b"abc");
    assert_eq!(
        ok("execve", &[WILD, AT, WILD], 0, &memory),
        "execve(0xdeadbeef0000, [0xdeadbeef0000, 0x2000, ... /* 0x1010 */], 0xdeadbeef0000) = 0"
    );
}

//! The requests of ptrace(2): their numbers, names, and the first kernels that have them.
//!
//! One list for the functions of this module, for errors that say since which kernel, and
//! for the tests that compare it with the documentation and with `linux/ptrace.h`. Numbers
//! below 64 mean different things on different architectures (33 steps to the next branch
//! on x86 and reads memory tags on arm64): a request that this one lacks has no number here,
//! and is never made.

use std::fmt;

/// A request of ptrace(2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    code: Option<u32>,
    name: &'static str,
    since: &'static str,
}

/// Whether this was compiled for an architecture, and what a request is there.
type OnArch = (bool, u32, &'static str);

macro_rules! requests {
    ($($name:ident = $on:tt,)*) => {
        impl Request {
            $(
                #[doc = concat!("`PTRACE_", stringify!($name), "`.")]
                pub const $name: Request =
                    Request::new(concat!("PTRACE_", stringify!($name)), &requests!(@on $on));
            )*

            /// All requests, also those that nothing here makes or this architecture lacks.
            pub const ALL: &[Request] = &[$(Request::$name,)*];
        }
    };
    (@on ($code:literal since $since:literal)) => {
        [(true, $code, $since)]
    };
    (@on {$($arch:literal: $code:literal since $since:literal),*}) => {
        [$((cfg!(target_arch = $arch), $code, $since)),*]
    };
}

requests! {
    TRACEME = (0 since "1.0"),
    PEEKTEXT = (1 since "1.0"),
    PEEKDATA = (2 since "1.0"),
    PEEKUSR = {"x86_64": 3 since "1.0"},
    POKETEXT = (4 since "1.0"),
    POKEDATA = (5 since "1.0"),
    POKEUSR = {"x86_64": 6 since "1.0"},
    CONT = (7 since "1.0"),
    KILL = (8 since "1.0"),
    SINGLESTEP = (9 since "1.0"),
    GETREGS = {"x86_64": 12 since "1.0"},
    SETREGS = {"x86_64": 13 since "1.0"},
    GETFPREGS = {"x86_64": 14 since "1.0"},
    SETFPREGS = {"x86_64": 15 since "1.0"},
    ATTACH = (16 since "1.0"),
    DETACH = (17 since "1.0"),
    GETFPXREGS = {"x86_64": 18 since "2.4"},
    SETFPXREGS = {"x86_64": 19 since "2.4"},
    OLDSETOPTIONS = {"x86_64": 21 since "2.4"},
    SYSCALL = (24 since "1.0"),
    GET_THREAD_AREA = {"x86_64": 25 since "2.6"},
    SET_THREAD_AREA = {"x86_64": 26 since "2.6"},
    ARCH_PRCTL = {"x86_64": 30 since "2.6"},
    SYSEMU = {"x86_64": 31 since "2.6.14", "aarch64": 31 since "5.3"},
    SYSEMU_SINGLESTEP = {"x86_64": 32 since "2.6.14", "aarch64": 32 since "5.3"},
    SINGLEBLOCK = {"x86_64": 33 since "2.6.25"},
    PEEKMTETAGS = {"aarch64": 33 since "5.10"},
    POKEMTETAGS = {"aarch64": 34 since "5.10"},
    SETOPTIONS = (0x4200 since "2.6"),
    GETEVENTMSG = (0x4201 since "2.6"),
    GETSIGINFO = (0x4202 since "2.6"),
    SETSIGINFO = (0x4203 since "2.6"),
    GETREGSET = (0x4204 since "2.6.34"),
    SETREGSET = (0x4205 since "2.6.34"),
    SEIZE = (0x4206 since "3.4"),
    INTERRUPT = (0x4207 since "3.4"),
    LISTEN = (0x4208 since "3.4"),
    PEEKSIGINFO = (0x4209 since "3.10"),
    GETSIGMASK = (0x420a since "3.11"),
    SETSIGMASK = (0x420b since "3.11"),
    SECCOMP_GET_FILTER = (0x420c since "4.4"),
    SECCOMP_GET_METADATA = (0x420d since "4.16"),
    GET_SYSCALL_INFO = (0x420e since "5.3"),
    GET_RSEQ_CONFIGURATION = (0x420f since "5.13"),
    SET_SYSCALL_USER_DISPATCH_CONFIG = (0x4210 since "6.4"),
    GET_SYSCALL_USER_DISPATCH_CONFIG = (0x4211 since "6.4"),
    SET_SYSCALL_INFO = (0x4212 since "6.16"),
}

impl Request {
    const fn new(name: &'static str, on: &[OnArch]) -> Self {
        let mut request = Request {
            code: None,
            name,
            since: on[0].2,
        };
        let mut at = 0;
        while at < on.len() {
            let (here, code, since) = on[at];
            if here {
                request.code = Some(code);
                request.since = since;
            }
            at += 1;
        }
        request
    }

    /// The number; `None` if the architecture that this was compiled for lacks it.
    pub const fn code(self) -> Option<u32> {
        self.code
    }

    /// The name, for instance `"PTRACE_CONT"`.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The first version of Linux that has it on this architecture, or on any if this one
    /// lacks it.
    pub const fn since(self) -> &'static str {
        self.since
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The requests that the installed kernel headers define: `#define PTRACE_NAME number`.
    fn defined_in(header: &str) -> Vec<(String, u32)> {
        let text = std::fs::read_to_string(header).unwrap_or_default();
        text.lines()
            .filter_map(|line| {
                let line = line.strip_prefix('#')?.trim_start();
                let mut words = line.strip_prefix("define")?.split_whitespace();
                let name = words.next().filter(|name| name.starts_with("PTRACE_"))?;
                let number = words.next()?;
                let number = match number.strip_prefix("0x") {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                Some((name.to_string(), number))
            })
            .filter(|(name, _)| {
                ["_EVENT_", "_EVENTMSG_", "_O_", "SYSCALL_INFO_"]
                    .iter()
                    .all(|part| !name.contains(part))
            })
            .collect()
    }

    #[test]
    fn no_request_of_the_kernel_headers_is_missing() {
        let arch = std::env::consts::ARCH;
        let headers = [
            "/usr/include/linux/ptrace.h".to_string(),
            format!("/usr/include/{arch}-linux-gnu/asm/ptrace.h"),
            format!("/usr/include/{arch}-linux-gnu/asm/ptrace-abi.h"),
            "/usr/include/asm/ptrace.h".to_string(),
            "/usr/include/asm/ptrace-abi.h".to_string(),
        ];
        let mut seen = 0;
        for (name, code) in headers.iter().flat_map(|header| defined_in(header)) {
            let known = Request::ALL
                .iter()
                .any(|r| r.name == name && r.code == Some(code));
            assert!(known, "{name} = {code:#x} is missing");
            seen += 1;
        }
        if seen == 0 {
            eprintln!("skipped: no kernel headers are installed");
        }
    }

    #[test]
    fn each_has_its_own_number() {
        for (at, one) in Request::ALL.iter().enumerate() {
            for other in &Request::ALL[at + 1..] {
                assert_ne!(one.name, other.name);
                assert!(
                    one.code.is_none() || one.code != other.code,
                    "{one} {other}"
                );
            }
            assert!(!one.since.is_empty(), "{one}");
        }
    }
}

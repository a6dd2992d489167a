//! Signals as numbers with names.
//!
//! A newtype over the number rather than an enum: real-time signals (32 to 64)
//! have no names, and a number that nobody has met yet must still be a value.

use std::fmt;

/// A signal's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Signal(i32);

/// The largest signal number of Linux (`_NSIG`).
pub const SIGNAL_MAX: i32 = 64;

macro_rules! signals {
    ($($name:ident)*) => {
        impl Signal {
            $(
                #[doc = concat!("The standard signal `", stringify!($name), "`.")]
                pub const $name: Signal = Signal(libc::$name);
            )*

            const fn standard_name(self) -> Option<&'static str> {
                match self.0 {
                    $(libc::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

signals! {
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1
    SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP
    SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH
    SIGIO SIGPWR SIGSYS
}

impl Signal {
    /// The signal with this number.
    pub const fn from_raw(raw: i32) -> Self {
        Signal(raw)
    }

    /// The number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// Whether the kernel knows such a signal: 1 to 64.
    pub const fn is_valid(self) -> bool {
        self.0 >= 1 && self.0 <= SIGNAL_MAX
    }

    /// Whether this is one of the signals 32 to 64, which queue and carry a
    /// value. The C libraries take the first two or three for themselves.
    pub const fn is_realtime(self) -> bool {
        self.0 >= 32 && self.0 <= SIGNAL_MAX
    }

    /// Whether the signal stops a process by default: `SIGSTOP`, `SIGTSTP`,
    /// `SIGTTIN`, `SIGTTOU`. Only these are the signal of a group-stop.
    pub const fn is_stop(self) -> bool {
        matches!(
            self.0,
            libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU
        )
    }

    /// The name of a standard signal, for instance `"SIGTERM"`.
    pub const fn name(self) -> Option<&'static str> {
        self.standard_name()
    }

    /// The standard signal of this name, with or without the `SIG` prefix.
    pub fn from_name(name: &str) -> Option<Signal> {
        (1..32)
            .map(Signal)
            .find(|s| s.name().is_some_and(|n| n == name || &n[3..] == name))
    }
}

impl fmt::Display for Signal {
    /// `SIGTERM` for a standard signal, `SIGRTMIN` for 32 and `SIGRT_2` for the real-time
    /// signal 34: counted from the kernel's first, as strace does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None if self.0 == 32 => f.pad("SIGRTMIN"),
            None if self.is_realtime() => f.pad(&format!("SIGRT_{}", self.0 - 32)),
            None => f.pad(&format!("SIG_{}", self.0)),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_text() {
        assert_eq!(Signal::SIGTERM.to_string(), "SIGTERM");
        assert_eq!(Signal::from_raw(32).to_string(), "SIGRTMIN");
        assert_eq!(Signal::from_raw(34).to_string(), "SIGRT_2");
        assert_eq!(Signal::from_raw(64).to_string(), "SIGRT_32");
        assert_eq!(Signal::from_raw(-3).to_string(), "SIG_-3");
        assert_eq!(Signal::from_raw(i32::MAX).to_string(), "SIG_2147483647");
    }

    #[test]
    fn names_lead_back_to_numbers() {
        for raw in 1..32 {
            let signal = Signal::from_raw(raw);
            let name = signal.name().expect("all 31 standard signals have names");
            assert_eq!(Signal::from_name(name), Some(signal));
            assert_eq!(Signal::from_name(&name[3..]), Some(signal));
        }
        assert_eq!(Signal::from_name("SIGNONE"), None);
        assert_eq!(Signal::from_name(""), None);
    }
}

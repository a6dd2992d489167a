//! Which call has which arguments, by the call's name: the names mean the same on all
//! architectures, the numbers do not.

mod files;
mod memory;
mod net;
mod offsets;
mod process;
mod system;
mod variants;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::arg::Arg;
use super::frame::Frame;

/// How a call's arguments are found.
#[derive(Clone, Copy)]
enum Shape {
    /// They are always these.
    Args(&'static [Arg]),
    /// They depend on the values of some of them.
    By(fn(&Frame<'_>) -> &'static [Arg]),
}

/// A part of the table.
type Table = &'static [(&'static str, Shape)];

/// A part of the table, one call a line: `name: kinds of arguments;`.
macro_rules! calls {
    ($($name:ident: $($arg:expr),*;)*) => {
        &[$((stringify!($name), $crate::decode::table::Shape::Args(&[$($arg),*]))),*]
    };
}
use calls;

const PARTS: [Table; 7] = [
    files::CALLS,
    memory::CALLS,
    net::CALLS,
    offsets::CALLS,
    process::CALLS,
    system::CALLS,
    variants::CALLS,
];

static TABLE: LazyLock<HashMap<&'static str, Shape>> =
    LazyLock::new(|| PARTS.into_iter().flatten().copied().collect());

/// Of a call that is not in the table, all registers.
const UNKNOWN: &[Arg] = &[Arg::Hex; 6];

/// The name of a call, if there is one of this name on any architecture.
pub(crate) fn known_name(name: &str) -> Option<&'static str> {
    TABLE.get_key_value(name).map(|(name, _)| *name)
}

/// The kinds of a call's arguments.
pub(crate) fn args(name: Option<&str>, frame: &Frame<'_>) -> &'static [Arg] {
    match name.and_then(|name| TABLE.get(name)) {
        Some(Shape::Args(args)) => args,
        Some(Shape::By(choose)) => choose(frame),
        None => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracehound::syscalls;

    #[test]
    fn every_call_of_the_supported_architectures_is_known() {
        let names = (0..1024)
            .flat_map(|nr| {
                [
                    syscalls::x86_64::Sysno::new(nr).map(|sysno| sysno.name()),
                    syscalls::aarch64::Sysno::new(nr).map(|sysno| sysno.name()),
                    syscalls::x86::Sysno::new(nr).map(|sysno| sysno.name()),
                    syscalls::arm::Sysno::new(nr).map(|sysno| sysno.name()),
                ]
            })
            .flatten()
            .map(|name| name.trim_start_matches("r#"));
        let missing: Vec<_> = names.filter(|name| !TABLE.contains_key(name)).collect();
        assert!(missing.is_empty(), "not in the table: {missing:?}");
    }

    #[test]
    fn no_call_is_there_twice() {
        let count: usize = PARTS.iter().map(|part| part.len()).sum();
        assert_eq!(count, TABLE.len());
    }

    #[test]
    fn no_call_has_more_arguments_than_there_are_registers() {
        for shape in TABLE.values() {
            if let Shape::Args(args) = shape {
                assert!(args.len() <= 6);
            }
        }
    }
}

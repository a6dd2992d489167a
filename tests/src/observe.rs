//! What tests do with tracees and children over and over.

use futures::StreamExt;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStdout;
use tracehound::{Child, Command, Event, Tracee};

use crate::{place, soon};

/// A command for the puppet with these arguments, its output piped.
#[macro_export]
macro_rules! puppet {
    ($($arg:expr),* $(,)?) => {{
        let mut command = $crate::tracehound::Command::new(env!("CARGO_BIN_EXE_puppet"));
        $(command.arg($arg.to_string());)*
        command.stdout($crate::tracehound::Stdio::piped());
        $crate::place(&mut command);
        command
    }};
}

/// Asks for the next event and takes it apart; any other than the expected one fails the
/// test.
#[macro_export]
macro_rules! next {
    ($tracee:expr, $pattern:pat $(if $guard:expr)? => $value:expr) => {{
        let what = concat!("the event ", stringify!($pattern));
        match $crate::soon(what, futures::StreamExt::next(&mut $tracee)).await {
            Some($pattern) $(if $guard)? => $value,
            other => panic!("expected {}, got {other:?}", stringify!($pattern)),
        }
    }};
    ($tracee:expr, $pattern:pat $(if $guard:expr)?) => {
        $crate::next!($tracee, $pattern $(if $guard)? => ())
    };
}

/// As [`next!`], without resuming: for a tracee that runs, or is about to die.
#[macro_export]
macro_rules! wait {
    ($tracee:expr, $pattern:pat $(if $guard:expr)? => $value:expr) => {{
        let what = concat!("the event ", stringify!($pattern));
        match $crate::soon(what, $tracee.wait()).await {
            Some($pattern) $(if $guard)? => $value,
            other => panic!("expected {}, got {other:?}", stringify!($pattern)),
        }
    }};
    ($tracee:expr, $pattern:pat $(if $guard:expr)?) => {
        $crate::wait!($tracee, $pattern $(if $guard)? => ())
    };
}

/// Starts a program and takes its first event.
///
/// # Panics
///
/// If it cannot be started, or its first event is another one.
pub async fn start(tracer: &tracehound::Tracer, command: &mut Command) -> (Tracee, Child) {
    let spawned = soon("spawn", tracer.spawn(place(command))).await;
    let (mut tracee, child) = spawned.expect("spawn");
    next!(tracee, Event::Started(_));
    (tracee, child)
}

/// The next event of a tracee, which resumes it.
///
/// # Panics
///
/// If its stream has ended.
pub async fn next_event(tracee: &mut Tracee) -> Event {
    soon("the next event", tracee.next())
        .await
        .expect("an event")
}

/// The lines that a child writes.
///
/// # Panics
///
/// If its output was not piped, or was taken before.
pub fn lines(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().expect("piped")).lines()
}

/// The next line of these.
///
/// # Panics
///
/// If there is none.
pub async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let line = soon("a line", lines.next_line()).await;
    line.expect("text").expect("a line more")
}

/// Follows a tracee to its end and gives all events on the way. Checks what every stream
/// promises: one terminal event, the last; then nothing, however often one asks.
///
/// # Panics
///
/// If the promise is broken.
pub async fn to_the_end(tracee: &mut Tracee) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = soon("the next event", tracee.next()).await {
        let terminal = events.last().is_some_and(Event::is_terminal);
        assert!(!terminal, "{event:?} came after the end: {events:?}");
        events.push(event);
    }
    let last = events.last();
    assert!(last.is_some_and(Event::is_terminal), "no end: {events:?}");
    for _ in 0..3 {
        assert!(soon("nothing", tracee.next()).await.is_none());
        assert!(soon("nothing", tracee.wait()).await.is_none());
    }
    events
}

/// Follows a tracee to its end and gives its terminal event; see [`to_the_end`].
///
/// # Panics
///
/// As [`to_the_end`].
pub async fn end(tracee: &mut Tracee) -> Event {
    let last = to_the_end(tracee).await.pop();
    last.expect("it has an end")
}

/// Goes on, by syscall-stops, to the puppet's next mark, and gives what it says.
///
/// # Panics
///
/// If anything else than system calls comes before.
pub async fn next_mark(tracee: &mut Tracee) -> [u64; 3] {
    loop {
        tracee.syscall().await.expect("syscall");
        match soon("a mark", tracee.wait()).await {
            Some(Event::SyscallEnter(enter)) if enter.call.name() == Some("getppid") => {
                let [a, b, c, ..] = enter.call.args;
                return [a, b, c];
            }
            Some(Event::SyscallEnter(_) | Event::SyscallExit(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The result of a request that not every kernel and machine has; says so where it is
/// missing.
///
/// # Panics
///
/// If it failed for another reason.
pub fn if_there_is<T>(result: tracehound::Result<T>) -> Option<T> {
    use tracehound::Error;
    match result {
        Ok(value) => Some(value),
        Err(
            error @ (Error::Unsupported { .. }
            | Error::NotConfigured { .. }
            | Error::Architecture { .. }
            | Error::NoRegisterSet { .. }),
        ) => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

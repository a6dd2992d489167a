//! What happens in one case: data that proptest makes and shrinks.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tracehound::{ResumeMode, Signal};

use crate::filter::{Filter, some_filter};

/// What a program does by itself; see `actor.rs`.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Calls,
    Nap,
    Compute,
    Rest,
    Thread(Script),
    Sleepers(u8),
    Fork(Script),
    Vfork(Script),
    Exec(Script),
    Raise(Signal),
    Kill(Signal),
    Reap,
    EndThread,
    End,
}

/// A program's life.
#[derive(Clone)]
pub(crate) struct Script(pub(crate) Vec<Act>);

/// How long something is waited for, before its future is dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// One poll.
    Poll,
    /// So many turns of whoever else there is.
    Turns(u8),
    /// Milliseconds.
    Time(u8),
}

/// How a program is started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) script: Script,
    pub(crate) mode: ResumeMode,
    pub(crate) exit_stops: bool,
    pub(crate) before_exec: bool,
    pub(crate) kill_on_drop: bool,
    pub(crate) filter: Option<Filter>,
}

/// How something running is attached to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seize {
    pub(crate) mode: ResumeMode,
    pub(crate) exit_stops: bool,
    /// Its threads are stopped as they are seized. Not for one thread.
    pub(crate) stopped: bool,
    pub(crate) patience: Patience,
}

/// Which of those there are, counted around.
pub(crate) type Who = u16;

/// What is done with a tracee.
#[derive(Clone, Debug)]
pub(crate) enum Touch {
    /// Asks for an event, which resumes. A child that comes is taken, or not.
    Next(Patience, bool),
    /// The same, so many times.
    Events(u8),
    Wait(Patience),
    Resume(ResumeMode, Option<Signal>),
    Listen,
    Mode(ResumeMode),
    Registers(Patience),
    Siginfo,
    Memory,
    Interrupt(Patience),
    Kill,
    Detach(Option<Signal>, Patience),
    Drop,
    /// Some events on the tracer thread, in a task that is awaited later, or aborted, or not.
    Pin(u8),
    /// Some events on the tracer thread, in one trip.
    Trip(u8, Patience),
}

/// What is done with a process that was attached.
#[derive(Clone, Debug)]
pub(crate) enum Handle {
    Next(Patience),
    Events(u8),
    StopAll(Patience),
    ResumeAll,
    /// With one of its threads; what would consume that does nothing.
    Thread(Who, Touch),
    Detach(Patience),
    Split,
    Drop,
}

/// One thing that is done.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Spawn(Start, Option<Patience>),
    /// A program that is not traced from its start.
    Start(Script),
    Tree(Start),
    Fell(Who),
    Attach(Who, Seize),
    AttachThread(Who, Seize),
    Tracee(Who, Touch),
    Process(Who, Handle),
    /// One event of each tracee there is.
    Everybody(Patience),
    Signal(Who, Signal),
    Child(Who, bool),
    Unpin(Who, bool),
    Breath(Patience),
    Shutdown(Patience),
}

/// How a case ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything is killed and followed to its end.
    Kill,
    /// The tracer is shut down while everything is there.
    Shutdown,
    /// Everything is dropped, the tracer last.
    Drop,
    /// Everything is dropped, the tracer first.
    DropTracerFirst,
}

/// A case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The operations are made on the tracer thread.
    pub(crate) pinned: bool,
    /// Tracer threads; none for as many as the placement says.
    pub(crate) threads: usize,
    pub(crate) end: End,
    pub(crate) ops: Vec<Op>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pinned, threads, end) = (self.pinned, self.threads, self.end);
        writeln!(f, "pinned {pinned}, threads {threads}, end {end:?}")?;
        self.ops.iter().try_for_each(|op| writeln!(f, "    {op:?}"))
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for act in &self.0 {
            match act {
                Act::Calls => f.write_str("c")?,
                Act::Nap => f.write_str("n")?,
                Act::Compute => f.write_str("y")?,
                Act::Rest => f.write_str("p")?,
                Act::Thread(script) => write!(f, "t({script})")?,
                Act::Sleepers(count) => write!(f, "T{count};")?,
                Act::Fork(script) => write!(f, "f({script})")?,
                Act::Vfork(script) => write!(f, "v({script})")?,
                Act::Exec(script) => write!(f, "e({script})")?,
                Act::Raise(signal) => write!(f, "r{};", signal.as_raw())?,
                Act::Kill(signal) => write!(f, "k{};", signal.as_raw())?,
                Act::Reap => f.write_str("w")?,
                Act::EndThread => f.write_str("q")?,
                Act::End => f.write_str("x")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

const REALTIME: Signal = Signal::from_raw(39);

fn signal() -> impl Strategy<Value = Signal> + Clone {
    select(vec![
        Signal::SIGUSR1,
        Signal::SIGUSR1,
        Signal::SIGSTOP,
        Signal::SIGTSTP,
        Signal::SIGCONT,
        Signal::SIGCONT,
        Signal::SIGCHLD,
        Signal::SIGTERM,
        REALTIME,
    ])
}

fn script() -> impl Strategy<Value = Script> {
    let leaf = prop_oneof![
        4 => Just(Act::Calls),
        3 => Just(Act::Nap),
        1 => Just(Act::Compute),
        3 => Just(Act::Rest),
        1 => (1..8_u8).prop_map(Act::Sleepers),
        2 => signal().prop_map(Act::Raise),
        1 => signal().prop_map(Act::Kill),
        1 => Just(Act::Reap),
        1 => Just(Act::EndThread),
        1 => Just(Act::End),
    ];
    let act = leaf.prop_recursive(3, 16, 4, |inner| {
        let script = || vec(inner.clone(), 0..4).prop_map(Script);
        prop_oneof![
            3 => script().prop_map(Act::Thread),
            2 => script().prop_map(Act::Fork),
            1 => script().prop_map(Act::Vfork),
            2 => script().prop_map(Act::Exec),
        ]
    });
    vec(act, 0..7).prop_map(Script)
}

fn mode() -> impl Strategy<Value = ResumeMode> + Clone {
    prop_oneof![
        4 => Just(ResumeMode::Cont),
        5 => Just(ResumeMode::Syscall),
        2 => Just(ResumeMode::Step),
        1 => Just(ResumeMode::Block),
    ]
}

fn any_mode() -> impl Strategy<Value = ResumeMode> + Clone {
    prop_oneof![
        20 => mode(),
        1 => Just(ResumeMode::Sysemu),
        1 => Just(ResumeMode::SysemuStep),
    ]
}

fn patience() -> impl Strategy<Value = Patience> + Clone {
    prop_oneof![
        2 => Just(Patience::Poll),
        3 => (1..40_u8).prop_map(Patience::Turns),
        5 => (1..8_u8).prop_map(Patience::Time),
    ]
}

fn start() -> impl Strategy<Value = Start> {
    let flags = (any::<bool>(), 0..6_u8, 0..4_u8);
    (script(), mode(), flags, some_filter()).prop_map(|(script, mode, flags, filter)| Start {
        script,
        mode,
        exit_stops: flags.0,
        before_exec: flags.1 == 5,
        kill_on_drop: flags.2 == 3,
        filter,
    })
}

fn seize() -> impl Strategy<Value = Seize> {
    let patience = prop_oneof![1 => patience(), 4 => Just(Patience::Time(250))];
    let stopped = prop_oneof![2 => Just(false), 1 => Just(true)];
    let all = (mode(), any::<bool>(), stopped, patience);
    all.prop_map(|(mode, exit_stops, stopped, patience)| Seize {
        mode,
        exit_stops,
        stopped,
        patience,
    })
}

fn touch() -> BoxedStrategy<Touch> {
    let given = prop_oneof![3 => Just(None), 1 => signal().prop_map(Some)];
    prop_oneof![
        14 => (patience(), any::<bool>()).prop_map(|(p, take)| Touch::Next(p, take)),
        8 => (1..12_u8).prop_map(Touch::Events),
        6 => patience().prop_map(Touch::Wait),
        10 => (any_mode(), given.clone()).prop_map(|(mode, signal)| Touch::Resume(mode, signal)),
        1 => Just(Touch::Listen),
        3 => any_mode().prop_map(Touch::Mode),
        4 => patience().prop_map(Touch::Registers),
        1 => Just(Touch::Siginfo),
        2 => Just(Touch::Memory),
        6 => patience().prop_map(Touch::Interrupt),
        2 => Just(Touch::Kill),
        1 => (given, patience()).prop_map(|(signal, p)| Touch::Detach(signal, p)),
        1 => Just(Touch::Drop),
        2 => (0..12_u8).prop_map(Touch::Pin),
        2 => (0..6_u8, patience()).prop_map(|(n, p)| Touch::Trip(n, p)),
    ]
    .boxed()
}

fn handle() -> BoxedStrategy<Handle> {
    prop_oneof![
        6 => patience().prop_map(Handle::Next),
        4 => (1..12_u8).prop_map(Handle::Events),
        3 => patience().prop_map(Handle::StopAll),
        3 => Just(Handle::ResumeAll),
        6 => (0..100_u16, touch()).prop_map(|(who, touch)| Handle::Thread(who, touch)),
        1 => patience().prop_map(Handle::Detach),
        1 => Just(Handle::Split),
        1 => Just(Handle::Drop),
    ]
    .boxed()
}

fn op() -> BoxedStrategy<Op> {
    let who = || 0..100_u16;
    let cancel = prop_oneof![4 => Just(None), 1 => patience().prop_map(Some)];
    prop_oneof![
        10 => (start(), cancel).prop_map(|(start, cancel)| Op::Spawn(start, cancel)),
        4 => script().prop_map(Op::Start),
        1 => start().prop_map(Op::Tree),
        1 => who().prop_map(Op::Fell),
        5 => (who(), seize()).prop_map(|(who, seize)| Op::Attach(who, seize)),
        3 => (who(), seize()).prop_map(|(who, seize)| Op::AttachThread(who, seize)),
        60 => (who(), touch()).prop_map(|(who, touch)| Op::Tracee(who, touch)),
        14 => (who(), handle()).prop_map(|(who, handle)| Op::Process(who, handle)),
        8 => patience().prop_map(Op::Everybody),
        8 => (who(), signal()).prop_map(|(who, signal)| Op::Signal(who, signal)),
        2 => (who(), any::<bool>()).prop_map(|(who, kill)| Op::Child(who, kill)),
        3 => (who(), any::<bool>()).prop_map(|(who, abort)| Op::Unpin(who, abort)),
        2 => patience().prop_map(Op::Breath),
    ]
    .boxed()
}

/// What a case is apart from its operations, and how many there are of those.
pub(crate) fn frame() -> impl Strategy<Value = (Case, usize)> {
    let end = select(vec![
        End::Kill,
        End::Kill,
        End::Shutdown,
        End::Drop,
        End::DropTracerFirst,
    ]);
    let count = prop_oneof![3 => 1..60_usize, 1 => 60..250_usize];
    (any::<bool>(), 0..3_usize, end, count).prop_map(|(pinned, threads, end, count)| {
        let ops = Vec::new();
        let case = Case {
            pinned,
            threads,
            end,
            ops,
        };
        (case, count)
    })
}

/// Any operation.
pub(crate) fn any_op() -> BoxedStrategy<Op> {
    prop_oneof![100 => op(), 1 => patience().prop_map(Op::Shutdown)].boxed()
}

/// Every signal that a script sends.
pub(crate) fn signals(script: &Script) -> Vec<Signal> {
    let of = |act: &Act| match act {
        Act::Raise(signal) | Act::Kill(signal) => vec![*signal],
        Act::Thread(inner) | Act::Fork(inner) | Act::Vfork(inner) | Act::Exec(inner) => {
            signals(inner)
        }
        _ => Vec::new(),
    };
    script.0.iter().flat_map(of).collect()
}

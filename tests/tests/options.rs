//! Options are changed while a tracee is held, but for those that the tracer relies on.

use tracehound::requests::Options;
use tracehound::{Command, Error, Event, Follow, Tracee, Tracer};
use tracehound_tests::{
    end, in_each_place, line, lines, next, next_mark, puppet, start, to_the_end, wait,
};

in_each_place! {
    as_it_was_started, exit_stops, inherited, no_vfork_done, seccomp_stops, fixed,
}

async fn change(tracee: &mut Tracee, f: impl FnOnce(&mut Options)) {
    let mut options = tracee.options();
    f(&mut options);
    tracee.set_options(options).await.expect("options");
    assert_eq!(tracee.options(), options);
}

async fn as_it_was_started(tracer: Tracer) {
    let always = Options::TRACESYSGOOD | Options::TRACEEXEC;
    let threads = always | Options::TRACECLONE;
    let all = threads | Options::TRACEFORK | Options::TRACEVFORK | Options::TRACEVFORKDONE;
    for (follow, expected) in [
        (Follow::Nothing, always),
        (Follow::Threads, threads),
        (Follow::Everything, all),
    ] {
        let mut command = Command::new("true");
        command.follow(follow);
        let (mut tracee, _child) = start(&tracer, &mut command).await;
        assert_eq!(tracee.options(), expected);
        end(&mut tracee).await;
        let (mut tracee, _child) = start(&tracer, command.exit_stops(true)).await;
        assert_eq!(tracee.options(), expected | Options::TRACEEXIT);
        end(&mut tracee).await;
    }
}

// Scenario 19: exit stops from now on, and no longer.
async fn exit_stops(tracer: Tracer) {
    for on in [true, false] {
        let mut command = puppet!("mark", 1);
        let (mut tracee, _child) = start(&tracer, command.exit_stops(!on)).await;
        next_mark(&mut tracee).await;
        change(&mut tracee, |options| options.set(Options::TRACEEXIT, on)).await;
        let events = to_the_end(&mut tracee).await;
        let seen = events
            .iter()
            .any(|event| matches!(event, Event::Exiting(_)));
        assert_eq!(seen, on, "{events:?}");
    }
}

// What it makes afterwards has them, too.
async fn inherited(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("fork")).await;
    change(&mut tracee, |options| options.insert(Options::TRACEEXIT)).await;
    let birth = next!(tracee, Event::Fork(birth) => birth);
    let mut child = tracee.take_child(&birth).expect("it is followed");
    next!(child, Event::Started(_));
    assert_eq!(child.options(), tracee.options());
    tracee.cont().await.expect("cont");
    next!(child, Event::Exiting(_));
    next!(child, Event::Exited(_));
    end(&mut tracee).await;
}

// Scenario 10
async fn no_vfork_done(tracer: Tracer) {
    for done in [true, false] {
        let (mut tracee, _child) = start(&tracer, &mut puppet!("vfork")).await;
        change(&mut tracee, |options| {
            options.set(Options::TRACEVFORKDONE, done)
        })
        .await;
        let events = to_the_end(&mut tracee).await;
        let seen = events
            .iter()
            .any(|event| matches!(event, Event::VforkDone(_)));
        assert_eq!(seen, done, "{events:?}");
    }
}

// With the option a filter's question stops the tracee; without it the call fails.
async fn seccomp_stops(tracer: Tracer) {
    let (mut tracee, mut child) = start(&tracer, &mut puppet!("ask-tracer")).await;
    let mut out = lines(&mut child);
    while next_mark(&mut tracee).await[0] != 0 {}
    next_mark(&mut tracee).await;
    assert_eq!(line(&mut out).await, libc::ENOSYS.to_string());
    change(&mut tracee, |options| options.insert(Options::TRACESECCOMP)).await;
    tracee.cont().await.expect("cont");
    let stop = wait!(tracee, Event::Seccomp(stop) => stop);
    assert_eq!((stop.call.name(), stop.data), (Some("getpgid"), 5));
    next_mark(&mut tracee).await;
    assert_eq!(line(&mut out).await, "made");
    change(&mut tracee, |options| options.remove(Options::TRACESECCOMP)).await;
    end(&mut tracee).await;
    assert_eq!(line(&mut out).await, libc::ENOSYS.to_string());
}

async fn fixed(tracer: Tracer) {
    let (mut tracee, _child) = start(&tracer, &mut puppet!("mark", 1)).await;
    let before = tracee.options();
    let unknown = [1 << 8, 1 << 19, 1 << 22, 1 << 31].map(Options::from_bits_retain);
    let relied_on = [
        Options::TRACESYSGOOD,
        Options::TRACEEXEC,
        Options::TRACEFORK,
        Options::TRACEVFORK,
        Options::TRACECLONE,
    ];
    for option in relied_on.into_iter().chain(unknown) {
        let error = tracee.set_options(before ^ option).await;
        let error = error.expect_err("it is relied on");
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
        assert_eq!(tracee.options(), before);
    }
    let error = tracee.set_options(Options::empty()).await.expect_err("all");
    assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
    // The same as before may be set.
    tracee.set_options(before).await.expect("options");
    next_mark(&mut tracee).await;
    end(&mut tracee).await;
}

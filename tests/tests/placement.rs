//! On which CPUs tracer threads and programs run, and that nobody else is moved.
//!
//! On a machine with one CPU all masks are the same, and only the errors show anything. The
//! tracers here are not placed by the environment.

use std::time::Duration;

use tokio::sync::Mutex;
use tracehound::{
    Child, Command, CpuRefusal, Error, Event, Stdio, Sysno, Tid, Tracee, Tracer, allowed_cpus,
};
use tracehound_sys::cpu::{CPUS_MAX, cpus_of, set_cpus_of};
use tracehound_sys::proc;
use tracehound_tests::{Ward, end, next, own_threads, soon, thread_file, until};

/// The threads of the whole process are looked at: one test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

const KEEPER: &str = env!("CARGO_BIN_EXE_keeper");
const SLEEPER: &str = env!("CARGO_BIN_EXE_sleeper");

fn cpus() -> Vec<usize> {
    allowed_cpus().expect("this thread's CPUs")
}

/// What a text in the format of `/proc/TID/status` says of CPUs.
fn list(status: &str) -> String {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.expect("a list").trim().to_string()
}

/// Where a thread of this process may run.
fn place(tid: Tid) -> String {
    list(&thread_file(tid, "status"))
}

/// Where this thread, and so the whole host, may run.
fn hosts() -> String {
    place(Tid::current())
}

/// Whether all threads of this process but these may run there. Some may end meanwhile.
fn all_others_are_at(place: &str, besides: &[Tid]) -> bool {
    let others = own_threads()
        .into_iter()
        .filter(|tid| !besides.contains(tid));
    let file = |tid| std::fs::read_to_string(format!("/proc/self/task/{tid}/status"));
    others.flat_map(file).all(|status| list(&status) == place)
}

/// Where a process may run.
fn place_of(pid: Tid) -> String {
    list(&std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it is there"))
}

/// The threads of this process that have this name.
fn threads(name: &str) -> Vec<Tid> {
    let mut threads = own_threads();
    threads.retain(|tid| proc::comm(*tid).is_ok_and(|comm| comm == name));
    threads
}

fn tracer(threads: usize, cpus: impl IntoIterator<Item = usize>) -> Tracer {
    let mut builder = Tracer::builder();
    let tracer = builder.threads(threads).cpus(cpus).build();
    tracer.expect("a tracer")
}

/// As `start`, without the placement that the environment asks for.
async fn start(tracer: &Tracer, command: &mut Command) -> (Tracee, Child) {
    let spawned = soon("spawn", tracer.spawn(command)).await;
    let (mut tracee, child) = spawned.expect("spawn");
    next!(tracee, Event::Started(_));
    (tracee, child)
}

fn puppet(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_puppet"));
    command.args(args).stdout(Stdio::null());
    command
}

async fn shut_down(tracer: &Tracer) {
    soon("shutdown", tracer.shutdown()).await.expect("shutdown");
}

/// A program that says where it may run, and where a child of it.
fn teller() -> Command {
    let mut command = Command::new("sh");
    let script = "cat /proc/$$/status && cat /proc/self/status";
    command.args(["-c", script]).stdout(Stdio::piped());
    command
}

/// What the teller says, once it is let go.
async fn told(mut tracee: Tracee, child: Child) -> Vec<String> {
    tracee.detach().await.expect("detached");
    drop(tracee);
    let output = soon("its output", child.wait_with_output()).await;
    let output = output.expect("its output").stdout;
    let text = String::from_utf8(output).expect("text");
    let of_it = text
        .lines()
        .filter(|line| line.starts_with("Cpus_allowed_list:"));
    of_it.map(list).collect()
}

#[tokio::test]
async fn each_tracer_thread_has_its_cpu() {
    let _alone = ALONE.lock().await;
    let (cpus, hosts) = (cpus(), hosts());
    for count in 1..=3 {
        for list in [&cpus[..], &cpus[..1]] {
            let tracer = tracer(count, list.iter().copied());
            let tracers = threads("tracehound");
            let mut places: Vec<String> = tracers.iter().copied().map(place).collect();
            places.sort();
            let mut expected: Vec<String> = (0..count)
                .map(|i| list[i % list.len()].to_string())
                .collect();
            expected.sort();
            assert_eq!(places, expected);
            assert!(format!("{tracer:?}").contains(&format!("cpu: Some({})", list[0])));
            assert!(all_others_are_at(&hosts, &tracers));
            shut_down(&tracer).await;
        }
    }
}

#[tokio::test]
async fn without_cpus_nobody_is_moved() {
    let _alone = ALONE.lock().await;
    let hosts = hosts();
    let tracer = Tracer::builder().threads(3).build().expect("a tracer");
    let (tracee, child) = start(&tracer, &mut teller()).await;
    assert!(all_others_are_at(&hosts, &[]));
    assert_eq!(told(tracee, child).await, [&hosts[..], &hosts]);
    shut_down(&tracer).await;
}

#[tokio::test]
async fn a_program_runs_where_the_host_does() {
    let _alone = ALONE.lock().await;
    let hosts = hosts();
    for count in 1..=3 {
        let tracer = tracer(count, cpus());
        let mut spawned = Vec::new();
        for _ in 0..count {
            spawned.push(start(&tracer, &mut teller()).await);
        }
        for (tracee, child) in spawned {
            assert_eq!(place_of(tracee.tid()), hosts);
            assert_eq!(told(tracee, child).await, [&hosts[..], &hosts]);
        }
        assert!(are_there("tracehound-spaw", &[], &hosts));
        shut_down(&tracer).await;
    }
}

#[tokio::test]
async fn a_program_runs_on_its_tracers_cpu() {
    let _alone = ALONE.lock().await;
    for count in 1..=3 {
        let tracer = tracer(count, cpus());
        let mut spawned = Vec::new();
        for _ in 0..2 * count {
            spawned.push(start(&tracer, teller().on_tracers_cpu(true)).await);
        }
        let mut used = Vec::new();
        for (tracee, child) in spawned {
            // Before its first instruction.
            let thread = proc::status(tracee.tid()).expect("it is held").tracer;
            let cpu = place(thread);
            assert!(cpus().iter().any(|one| one.to_string() == cpu));
            assert_eq!(place_of(tracee.tid()), cpu);
            assert_eq!(told(tracee, child).await, [&cpu[..], &cpu]);
            used.push(thread);
        }
        used.sort();
        used.dedup();
        assert_eq!(used.len(), count, "each has its share");
        shut_down(&tracer).await;
    }
}

// However it is started.
#[tokio::test]
async fn every_way_to_start_a_program_places_it() {
    let _alone = ALONE.lock().await;
    let last = cpus().pop().expect("a CPU");
    let tracer = tracer(1, [last]);
    let mut before_exec = teller();
    before_exec.stop_before_exec(true);
    let mut with_closure = teller();
    // SAFETY: the closure does nothing.
    unsafe { with_closure.pre_exec(|| Ok(())) };
    let mut filtered = teller();
    filtered.trace_syscalls([Sysno::sched_setaffinity, Sysno::sched_getaffinity]);
    filtered.unwatched(tracehound::Unwatched::Pass);
    let mut commands = vec![before_exec, with_closure, filtered];
    if nix::unistd::geteuid().is_root() {
        let mut of_another_user = teller();
        of_another_user.uid(65_534).gid(65_534).current_dir("/");
        commands.push(of_another_user);
    }
    for mut command in commands {
        let (tracee, child) = start(&tracer, command.on_tracers_cpu(true)).await;
        assert_eq!(place_of(tracee.tid()), last.to_string());
        let last = last.to_string();
        assert_eq!(told(tracee, child).await, [&last[..], &last], "{command:?}");
    }
    let (said, mut places) = tokio::sync::mpsc::unbounded_channel();
    let traced = tracer.trace(
        puppet(&["exit", "0"]).on_tracers_cpu(true),
        move |mut tracee| {
            let said = said.clone();
            async move {
                let _ = said.send(place_of(tracee.tid()));
                end(&mut tracee).await;
            }
        },
    );
    assert!(soon("its end", traced).await.expect("traced").success());
    assert_eq!(places.recv().await, Some(last.to_string()));
    shut_down(&tracer).await;
}

// Where the kernel has let the tracer thread go because its CPU was taken away, and from there
// anywhere: it is a mask like any other.
#[tokio::test]
async fn the_program_follows_a_tracer_thread_that_was_moved() {
    let _alone = ALONE.lock().await;
    let hosts = hosts();
    let tracer = tracer(1, cpus());
    let [thread] = threads("tracehound")[..] else {
        panic!("one tracer thread");
    };
    let all = cpus_of(Tid::current()).expect("this thread's CPUs");
    set_cpus_of(thread, &all).expect("a thread of this process");
    let (tracee, child) = start(&tracer, teller().on_tracers_cpu(true)).await;
    assert_eq!(told(tracee, child).await, [&hosts[..], &hosts]);
    shut_down(&tracer).await;
}

// As the documentation says how.
#[tokio::test]
async fn a_program_can_be_let_off_its_cpu() {
    let _alone = ALONE.lock().await;
    let hosts = hosts();
    let tracer = tracer(1, cpus());
    let (tracee, child) = start(&tracer, teller().on_tracers_cpu(true)).await;
    let all = cpus_of(Tid::current()).expect("this thread's CPUs");
    set_cpus_of(tracee.tid(), &all).expect("a child of the same user");
    assert_eq!(told(tracee, child).await, [&hosts[..], &hosts]);
    shut_down(&tracer).await;
}

/// Whether there are threads of this name, and all may run there.
fn are_there(name: &str, besides: &[Tid], place: &str) -> bool {
    let mut threads = threads(name);
    threads.retain(|tid| !besides.contains(tid));
    let file = |tid| std::fs::read_to_string(format!("/proc/self/task/{tid}/status"));
    let mut places = threads.iter().flat_map(file).peekable();
    places.peek().is_some() && places.all(|status| list(&status) == place)
}

/// Makes a tracer thread start all that it can.
async fn start_everything(tracer: Tracer, hosts: String, allowed: Vec<usize>) {
    assert_eq!(place(Tid::current()), allowed[0].to_string());
    assert_eq!(cpus(), allowed);
    let (mut tracee, mut child) = start(&tracer, &mut puppet(&["pause"])).await;
    assert_eq!(place_of(tracee.tid()), hosts);
    // One of another group is forked elsewhere.
    let mut of_a_group = puppet(&["pause"]);
    of_a_group.gid(nix::unistd::getgid().as_raw());
    let (mut forked, mut forked_child) = start(&tracer, &mut of_a_group).await;
    assert_eq!(place_of(forked.tid()), hosts);
    forked_child.kill().await.expect("killed");
    end(&mut forked).await;
    let spawner = || are_there("tracehound-spaw", &[], &hosts);
    until("a spawner thread like the host's", spawner).await;
    let stack = tracee.getregs().await.expect("it is held").stack_pointer();
    // Its readers end after a second without work.
    let readers = async {
        loop {
            let read = tracee.read_bytes_guarded(stack, 8, Duration::from_secs(30));
            read.await.expect("its stack");
            let names = ["tracehound-read", "tracehound-cloc"];
            if names.iter().all(|name| are_there(name, &[], &hosts)) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("reader threads like the host's", readers).await;
    let before = threads("tracehound");
    let other = Tracer::new().expect("a tracer");
    let thread = || are_there("tracehound", &before, &hosts);
    until("a tracer thread like the host's", thread).await;
    shut_down(&other).await;
    child.kill().await.expect("killed");
    end(&mut tracee).await;
}

#[tokio::test]
async fn what_a_tracer_thread_starts_does_not_inherit_its_cpu() {
    let _alone = ALONE.lock().await;
    let (hosts, allowed) = (hosts(), cpus());
    // Attached, so that the first spawn is made on the tracer thread.
    let ward = Ward::start([KEEPER, SLEEPER, "threads", "1"]).await;
    let tracer = tracer(1, [allowed[0]]);
    let attached = soon("attach", tracer.attach_thread(ward.pid())).await;
    let guide = attached.expect("attached");
    let inner = tracer.clone();
    let task = guide.spawn_pinned(move |_guide| start_everything(inner, hosts, allowed));
    soon("the task", task).await.expect("no panic");
    shut_down(&tracer).await;
}

#[tokio::test]
async fn a_cpu_that_is_not_there_is_refused() {
    let _alone = ALONE.lock().await;
    let first = cpus()[0];
    for missing in [CPUS_MAX - 1, CPUS_MAX, usize::MAX] {
        for (threads, list) in [(1, vec![missing]), (3, vec![first, first, missing])] {
            let error = Tracer::builder().threads(threads).cpus(list).build();
            let error = error.expect_err("no such CPU");
            let expected = format!("CPU {missing}: there is none with this number");
            assert!(error.to_string().ends_with(&expected), "{error}");
            assert!(
                matches!(
                    error,
                    Error::CpuUnavailable { cpu, reason: CpuRefusal::Missing } if cpu == missing
                ),
                "{error:?}"
            );
        }
    }
    until("no thread is left", || threads("tracehound").is_empty()).await;
    // What no thread needs is not looked at.
    let tracer = tracer(1, [first, usize::MAX]);
    let (mut tracee, _child) = start(&tracer, &mut puppet(&["exit", "0"])).await;
    end(&mut tracee).await;
    shut_down(&tracer).await;
}

// A list without an end is one like any other.
#[tokio::test]
async fn any_list_of_cpus_is_taken() {
    let _alone = ALONE.lock().await;
    let first = cpus()[0];
    let tracer = tracer(1, first..);
    assert_eq!(
        threads("tracehound")
            .into_iter()
            .map(place)
            .collect::<Vec<_>>(),
        [first.to_string()]
    );
    shut_down(&tracer).await;
    let error = Tracer::builder().cpus([]).build().expect_err("no CPU");
    assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
}

#[tokio::test]
async fn a_program_cannot_be_where_its_tracer_is_not() {
    let _alone = ALONE.lock().await;
    let tracer = Tracer::builder().build().expect("a tracer");
    let mut command = teller();
    command.on_tracers_cpu(true);
    let refused = |error: Error| {
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
        assert!(error.to_string().contains("TracerBuilder::cpus"), "{error}");
    };
    refused(tracer.spawn(&mut command).await.expect_err("no CPU"));
    let traced = tracer.trace(&mut command, |_| async {});
    refused(traced.await.expect_err("no CPU"));
    // Nothing was used up.
    let (tracee, child) = start(&tracer, command.on_tracers_cpu(false)).await;
    assert_eq!(told(tracee, child).await.len(), 2);
    shut_down(&tracer).await;
}

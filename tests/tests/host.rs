//! The host is left alone: its children, its signals, its runtime.
//!
//! Each test runs a program that is such a host: what it does concerns its whole process.

use tracehound_tests::{is_root, run_host};

// Scenario 22, 38
#[tokio::test]
async fn children_of_the_host_keep_their_statuses() {
    run_host(env!("CARGO_BIN_EXE_host_children"), []).await;
}

// Scenario 11, 18
#[tokio::test]
async fn processes_that_are_killed_at_birth_are_no_tracees() {
    run_host(env!("CARGO_BIN_EXE_host_killed_spawns"), []).await;
}

// Scenario 53
#[tokio::test]
async fn children_inherited_by_a_tracer_thread_stay_the_hosts() {
    run_host(env!("CARGO_BIN_EXE_host_leaderless"), []).await;
}

// Scenario 54
#[tokio::test]
async fn a_host_that_waits_for_tracees_is_found_out() {
    let host = env!("CARGO_BIN_EXE_host_waits");
    for what in ["once", "child", "everything"] {
        run_host(host, [what]).await;
    }
}

// Scenario 50
#[tokio::test]
async fn wakes_arrive_though_the_signal_queue_is_full() {
    run_host(env!("CARGO_BIN_EXE_host_sigpending"), []).await;
}

#[tokio::test]
async fn a_host_that_gives_up_its_user_goes_on_tracing() {
    if !is_root() {
        return;
    }
    run_host(env!("CARGO_BIN_EXE_host_uid_change"), []).await;
}

#[tokio::test]
async fn what_a_limit_of_the_host_denies_is_said() {
    let host = env!("CARGO_BIN_EXE_host_limits");
    run_host(host, ["descriptors"]).await;
    // It gives up its user: the kernel limits no threads of root.
    if is_root() {
        run_host(host, ["threads"]).await;
    }
}

// Scenario 58
#[tokio::test]
async fn a_handler_of_sigchld_changes_nothing() {
    let host = env!("CARGO_BIN_EXE_host_sigchld");
    for how in ["handler", "handler-without-restart", "handler-nocldstop"] {
        run_host(host, [how]).await;
    }
}

// Scenario 58
#[tokio::test]
async fn a_handler_of_sigchld_can_be_spared_the_stops() {
    run_host(env!("CARGO_BIN_EXE_host_nocldstop"), []).await;
}

// Scenario 58
#[tokio::test]
async fn ignoring_sigchld_changes_nothing() {
    let host = env!("CARGO_BIN_EXE_host_sigchld");
    for how in ["ignored", "nocldwait"] {
        run_host(host, [how]).await;
    }
}

#[tokio::test]
async fn a_free_signal_wakes_the_tracer() {
    let host = env!("CARGO_BIN_EXE_host_wake_signal");
    for how in [
        "default",
        "taken",
        "ignored",
        "all-taken",
        "chosen",
        "replaced",
    ] {
        run_host(host, [how]).await;
    }
}

#[tokio::test]
async fn masks_of_the_hosts_threads_are_not_touched() {
    run_host(env!("CARGO_BIN_EXE_host_wake_signal"), ["mask"]).await;
}

// Scenario 55
#[tokio::test]
async fn a_runtime_that_ends_first_ends_the_tracer() {
    run_host(env!("CARGO_BIN_EXE_host_runtime"), []).await;
}

// Scenario 55
#[tokio::test]
async fn requests_of_a_forked_child_are_refused() {
    run_host(env!("CARGO_BIN_EXE_host_forked"), ["requests"]).await;
}

// Scenario 55
#[tokio::test]
async fn waits_of_a_forked_child_end() {
    run_host(env!("CARGO_BIN_EXE_host_forked"), ["waits"]).await;
}

// Scenario 55
#[tokio::test]
async fn drops_in_a_forked_child_do_no_harm() {
    let host = env!("CARGO_BIN_EXE_host_forked");
    for what in ["drops", "drops-tracer-first"] {
        run_host(host, [what]).await;
    }
}

// Scenario 55
#[tokio::test]
async fn a_forked_child_may_have_a_tracer_of_its_own() {
    run_host(env!("CARGO_BIN_EXE_host_forked"), ["own"]).await;
}

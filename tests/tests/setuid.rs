//! A program with the set-user-ID bit under a tracer without privileges runs without them,
//! as ptrace(2) says, and under a privileged one with them.
//!
//! The tracer is a host program that lays down its own.

use tracehound_tests::run_host;

// Scenario 16
#[tokio::test]
async fn a_setuid_program_gains_nothing_under_an_unprivileged_tracer() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can make the program: nothing was tested");
        return;
    }
    let host = env!("CARGO_BIN_EXE_host_ordinary_user");
    for what in ["privileged", "unprivileged", "unreadable", "exec-under-way"] {
        run_host(host, [what]).await;
    }
}

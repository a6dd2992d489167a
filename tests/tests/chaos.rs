//! Anything, in any order: see `src/bin/host_chaos/main.rs`.

use tracehound_tests::run_host;

// Scenario 18, 34, 37, 45, 48, 49
#[tokio::test]
async fn nothing_illegal_happens_and_nothing_is_left() {
    run_host(env!("CARGO_BIN_EXE_host_chaos"), []).await;
}

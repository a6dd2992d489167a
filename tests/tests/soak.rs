//! Many processes, one after the other, and no growth: see `src/bin/host_soak.rs`.

use tracehound_tests::run_host;

// Scenario 11, 45
#[tokio::test]
async fn memory_stays_as_it_is() {
    run_host(env!("CARGO_BIN_EXE_host_soak"), []).await;
}

//! Goal: the model keeps its rules, agrees with simple oracles, and never ends on whatever bytes come.

mod active_tests;
mod bench;
mod drop_tests;
mod entry_tests;
mod golden_tests;
mod invocation_tests;
mod kv_oracle;
mod kv_simulation_tests;
mod kv_tests;
mod list_tests;
mod queue_bench;
mod queue_oracle;
mod queue_simulation_tests;
mod queue_tests;
mod record_bench;
mod record_rows;
mod revoke_tests;
mod rows;
mod schedule_simulation_tests;
mod schedule_tests;
mod topic_simulation_tests;
mod topic_tests;
mod watch_tests;
mod webhook_golden_tests;
mod webhook_tests;

//! Whole controllers over loopback gRPC and real stores; one program, so that it is linked once.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on ends"
)]

mod raw;
mod running;
mod t10_one_node;
mod t20_forward;
mod t20_join;
mod t20_placement;
mod t20_rollout;
mod t20_subtree;
mod t20_switch;
mod t20_three_nodes;
mod t20_watch;
mod t40_scale;
mod t50_halt;
mod worker;

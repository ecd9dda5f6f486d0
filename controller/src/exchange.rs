//! Soft state on its way: what data planes report to this controller, what it tells the others of that, and what it looks after
//! itself. What is known stands in [`crate::soft`]. Stores are asked, and told, by the leader.

mod clocks;
mod hashes;
mod others;
mod report;
mod stores;
mod tend;

pub(crate) use others::exchange;
pub(crate) use report::report;
pub(crate) use stores::{Answers, arrange, statuses, stores, told};
pub(crate) use tend::tend;

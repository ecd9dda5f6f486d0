//! Which replica takes a call: from what this gateway has seen itself and what workers tell on their answers. Pure.
//!
//! Two random candidates, the less busy one of them, and the gateway's own node where that is not worse. Nodes that
//! failed are left out and tried again with single calls, but never is every node left out.

mod budget;
mod decayed;
mod health;
mod loads;
mod pick;
#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use decayed::Decayed;
pub use health::Health;
pub use loads::Loads;
pub use pick::{Candidate, Pick, Rank, Why, pick};

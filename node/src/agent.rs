//! Brings what this node was assigned to readiness: fetch, compile, ready. Keeps what it is asked to hold, and
//! removes what it is ordered to remove.
//!
//! [`plan`] decides, [`driver`] performs, [`Board`] is what calls and reports read.

mod board;
mod driver;
mod orders;
pub mod plan;
mod removal;
mod sources;
#[cfg(test)]
mod tests;

pub use board::{Board, Entry};
pub use driver::{Agent, Options};
pub use orders::{Orders, Removal};
pub(crate) use sources::workers;

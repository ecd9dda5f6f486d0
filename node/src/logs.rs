//! What functions print: kept in a bounded ring on this node's disk, and told to whoever asks.
//!
//! Guests never wait: [`Logs::line`] counts against the function's rate and puts the line into a bounded queue; one
//! thread writes. What does not fit is counted and told as a gap. A reader is a position in the ring, so history
//! and what follows come from one place, in one order, and a reader that is overtaken sees how much it missed.

mod limit;
mod metrics;
mod reader;
mod ring;
mod segment;
mod service;
mod sink;
#[cfg(test)]
mod tests;
mod writer;

pub use metrics::LogMetrics;
pub use ring::{RingError, RingLimits};
pub use service::{LogService, start};
pub use sink::{Line, Logs, Stream};

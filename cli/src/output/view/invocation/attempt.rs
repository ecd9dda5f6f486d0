//! Attempts of an invocation: where and how each ran, what it took.

use std::time::Duration;

use coracle_proto::pb;
use serde::Serialize;

use super::{moment, number, text};
use crate::output::table;
use crate::units::{show_bytes, show_duration};

/// Memory over time is told in these: bytes of a GB.
const GB: f64 = 1e9;

/// The last two are in wide tables only.
const COLUMNS: [&str; 12] = [
    "ATTEMPT", "NODE", "VERSION", "STARTED", "TOOK", "OUTCOME", "COLD", "CPU-MS", "GB-MS", "ERROR", "IN",
    "OUT",
];
const WIDE_FROM: usize = 10;

/// An attempt, as whoever ran it told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct AttemptView {
    attempt: u32,
    /// None where nobody could tell.
    node: Option<u64>,
    version: Option<u64>,
    started: Option<String>,
    took_ms: u64,
    /// An HTTP status, or an error code.
    outcome: String,
    cold: bool,
    cpu_ms: f64,
    /// The most memory that it had, in 10^9 bytes, times how long it ran.
    gb_ms: f64,
    bytes_in: u64,
    bytes_out: u64,
    error: Option<String>,
}

impl From<pb::AttemptReport> for AttemptView {
    fn from(wire: pb::AttemptReport) -> Self {
        Self {
            attempt: wire.attempt,
            node: number(wire.node),
            version: number(wire.version),
            started: moment(wire.started_ms),
            took_ms: wire.ended_ms.saturating_sub(wire.started_ms),
            outcome: wire.outcome,
            cold: wire.cold,
            cpu_ms: wire.cpu_us as f64 / 1e3,
            gb_ms: wire.memory_byte_ms as f64 / GB,
            bytes_in: wire.bytes_in,
            bytes_out: wire.bytes_out,
            error: text(wire.error),
        }
    }
}

impl AttemptView {
    fn cells(&self) -> Vec<String> {
        let known = |number: Option<u64>| number.map(|it| it.to_string()).unwrap_or_default();
        vec![
            self.attempt.to_string(),
            known(self.node),
            known(self.version),
            self.started.clone().unwrap_or_default(),
            show_duration(Duration::from_millis(self.took_ms)),
            self.outcome.clone(),
            if self.cold { "yes" } else { "no" }.to_owned(),
            format!("{:.1}", self.cpu_ms),
            format!("{:.2}", self.gb_ms),
            self.error.clone().unwrap_or_default(),
            show_bytes(self.bytes_in),
            show_bytes(self.bytes_out),
        ]
    }
}

/// A line for each attempt; empty where there was none.
pub(super) fn lines(attempts: &[AttemptView], wide: bool) -> String {
    if attempts.is_empty() {
        return String::new();
    }
    let columns = if wide { COLUMNS.len() } else { WIDE_FROM };
    let columns = COLUMNS.get(..columns).unwrap_or(&COLUMNS);
    table::render(columns, attempts.iter().map(AttemptView::cells))
}

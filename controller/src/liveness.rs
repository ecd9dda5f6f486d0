//! Which nodes are alive: [`detector`] decides from reports and time, [`monitor`] asks it and proposes its verdicts.

pub mod detector;
mod monitor;

pub(crate) use monitor::monitor;

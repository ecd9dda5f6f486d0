//! Which nodes are alive: [`detector`] decides from reports and time, `lead` asks it and proposes its verdicts.

pub mod detector;

//! From what is wanted to what is assigned: [`plan`] decides, the driver proposes it.

mod alarm;
mod driver;
pub mod plan;

pub(crate) use driver::drive;

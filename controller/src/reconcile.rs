//! From what is wanted to what is assigned: [`plan`] decides, `lead` proposes it.

pub(crate) mod alarm;
pub mod plan;

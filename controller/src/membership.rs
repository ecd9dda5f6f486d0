//! Who takes part in Raft: new controllers come in as learners, voters are kept at the wanted number,
//! leaving nodes go out before their record does.

mod driver;
mod plan;

pub(crate) use driver::drive;

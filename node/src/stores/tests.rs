//! Tests of the way to stores; each file has its subject.

mod asking;
mod blobs;
pub(crate) mod fake;
mod values;

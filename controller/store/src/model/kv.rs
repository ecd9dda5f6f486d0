//! Values under keys in buckets: how they change, and how they are read.

mod read;
mod write;

pub use read::{Entry, Page, value, values};
pub(super) use write::{expire, take, write};

//! Values under keys in buckets: how they change, and how they are read.

mod event;
mod read;
mod text;
mod write;

pub use read::{Entry, Page, PageBounds, value, values};
pub(super) use write::{check, expire, take, write};

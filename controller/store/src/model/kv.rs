//! Values under keys in buckets: how they change, and how they are read.

mod event;
mod read;
mod text;
mod write;

pub(super) use event::{Told, event_source, tell_watchers};
pub use read::{Entry, Page, PageBounds, value, values};
pub(super) use text::json;
pub(super) use write::{Full, check, expire, take, write};

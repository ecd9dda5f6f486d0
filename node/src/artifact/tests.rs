//! Uploads, copies and fetches over real connections.

mod fetches;
mod node;
mod store;
mod uploads;

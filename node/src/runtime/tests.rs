//! The runtime with real guests, and with guests written for one bad thing each.

mod cache;
mod child;
mod commands;
mod events;
mod fixture;
mod guests;
mod handlers;
mod http;
mod interfaces;
mod lanes;
mod limits;
mod neighbours;
mod pools;
mod probe;
mod refusals;
mod reuse;
mod rooms;
mod sandbox;
mod spin;
mod state;
mod usage;
mod wasip3;

pub(super) use fixture::{Lines, Usages};
pub(super) use state::NoState;

//! The runtime with real guests, and with guests written for one bad thing each.

mod child;
mod fixture;
mod http;

//! Tests of the gateway over real sockets; each file has its subject.

mod bounds;
mod cost;
mod forgetting;
mod http;
mod leaving;
mod moving;
pub(crate) mod recorder;
mod slow;
mod spans;
mod unread;
mod world;

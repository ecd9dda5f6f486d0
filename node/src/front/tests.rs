//! Tests of the gateway over real sockets; each file has its subject.

mod blob;
mod bounds;
mod cost;
mod forgetting;
mod http;
mod kinds;
mod later;
mod leaving;
mod moving;
mod publish;
pub(crate) mod recorder;
mod slow;
pub(crate) mod spans;
mod unread;
mod webhook;
pub(crate) mod world;

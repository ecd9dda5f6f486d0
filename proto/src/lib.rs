//! What two processes, or a process and a disk, must agree on: names and ids, validated specs,
//! replicated records with their keys, error codes, the gRPC messages, and the trace context.
//!
//! Nothing here decides anything. Domain types ([`record`], [`spec`], [`route`]) cannot be wrong once
//! built; [`codec`] is the door between them and the generated messages in [`pb`].

pub mod attr;
pub mod codec;
pub mod frame;
pub mod id;
pub mod key;
pub mod pace;
pub mod pb;
pub mod record;
pub mod route;
pub mod soft;
pub mod spec;
pub mod status;
pub mod trace;

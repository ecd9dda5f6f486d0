//! Tests of messages over real gRPC; each file has its subject.

mod crowd;
mod effects;
mod ending;
mod manners;
mod news;
mod running;
mod sent;
mod settling;
mod spans;
mod taking;

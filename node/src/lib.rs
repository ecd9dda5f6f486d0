//! The data plane of Coracle: gateway, balancer, worker, Wasm runtime, artifact store, guest logs.
//!
//! [`run`] composes them ([`app`]). A call comes in at the [`front`]; the [`dispatch`] picks a replica by the [`view`] and the
//! [`balance`]; it is run by a [`worker`], here or on another node, in the [`runtime`]. What there is to run, the
//! [`agent`] brings here from the [`artifact`] stores of others; what guests print goes to the [`logs`]; how this node
//! is goes to a controller by [`report`], whose answer is what the leader wants. What is
//! to be run later is kept by others, which [`stores`] asks, and taken from their queues by [`events`]; there too is what functions
//! keep themselves, [`values`].

mod age;
pub mod agent;
pub mod app;
pub mod artifact;
pub mod balance;
pub mod blobs;
pub mod call;
pub mod clock;
mod cloudevent;
mod controllers;
mod delay;
pub mod dispatch;
pub mod events;
pub mod front;
mod hops;
pub mod load;
pub mod logs;
pub mod metrics;
pub mod os;
pub mod outbound;
pub mod report;
pub mod runtime;
pub mod stores;
pub mod text;
mod threads;
pub mod turns;
pub mod values;
pub mod view;
pub mod worker;

pub use app::{AppError, Options, host_id, run};
pub use outbound::Reach;
pub use runtime::{MemoryMode, compile_child};

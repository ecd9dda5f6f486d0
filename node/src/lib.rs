//! The data plane of Coracle: gateway, balancer, worker, Wasm runtime, artifact store, guest logs.

pub mod agent;
pub mod artifact;
pub mod call;
pub mod clock;
pub mod logs;
pub mod load;
pub mod view;
pub mod worker;
pub mod balance;
pub mod metrics;
pub mod os;
pub mod report;
pub mod outbound;
pub mod runtime;
pub mod gateway;

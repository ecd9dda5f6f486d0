//! What is to be run, whatever fired it.

use std::fmt::Debug;

use coracle_proto::id::{FunctionId, InvocationId};
use http::request::Parts;

use crate::call::{Body, Receipt, Trigger};

/// One event for one function.
#[derive(Debug)]
pub struct Invocation {
    /// The same in each attempt.
    pub id: InvocationId,
    /// What is to take it: the version is chosen by the function's traffic.
    pub function: FunctionId,
    /// What fired.
    pub trigger: Trigger,
    /// What the guest is to see beside the body. `traceparent` in its headers is the span of whoever fired.
    pub head: Parts,
    /// The body, for each attempt.
    pub body: Box<dyn Payload>,
    /// Whether it may be run again after it may have run, as far as whoever fired is concerned: the function has a say too.
    pub repeatable: bool,
    /// Where is told what it took, if somebody wants to know.
    pub receipt: Receipt,
}

/// A body that each attempt reads from its beginning.
pub trait Payload: Debug + Send + Sync {
    /// The body for the next attempt; none where too much of it is gone.
    fn next(&self) -> Option<Body>;
    /// Whether another attempt could have it.
    fn is_whole(&self) -> bool;
}

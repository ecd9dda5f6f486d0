//! From a worker's answer to the response that the caller gets.

use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::id::InvocationId;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::activity;
use super::headers::{remove_hop_by_hop, remove_own};
use super::problem::problem;
use super::shares::Share;
use crate::call::{Body, CallError};
use crate::dispatch::{Answered, Ongoing};
use crate::worker::UntilEnd;

/// A response, with what is told of it and what it holds until its end.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) response: Response<Body>,
    /// None where no function was called.
    call: Option<Called>,
    /// How long its caller may take for a piece of it, if its function says so.
    pub(super) idle_max: Option<Duration>,
}

/// The call that a response is of.
#[derive(Debug)]
struct Called {
    ongoing: Ongoing,
    _place: Share,
}

/// What ends when the last byte of a response has left.
#[derive(Debug)]
pub(super) struct Leaving {
    call: Option<Called>,
    _request: activity::Request,
}

impl UntilEnd for Leaving {
    fn failed(&mut self, error: &CallError) {
        if let Some(Called { ongoing, .. }) = &self.call {
            ongoing.broke_off(error);
        }
    }
}

impl Served {
    /// A response of the platform's own.
    pub(super) const fn page(response: Response<Body>) -> Self {
        Self { response, call: None, idle_max: None }
    }

    /// The response, and what it holds.
    pub(super) fn open(self, request: activity::Request) -> (Response<Body>, Leaving) {
        (self.response, Leaving { call: self.call, _request: request })
    }
}

/// The response of a call that has a head.
pub(super) fn success(answered: Answered, invocation: InvocationId, place: Share) -> Served {
    let Answered { mut response, ongoing, cold, node, version, attempt, idle_timeout, .. } = answered;
    let headers = response.headers_mut();
    remove_hop_by_hop(headers);
    remove_own(headers);
    set_number(headers, attr::HEADER_NODE, node.get());
    set_number(headers, attr::HEADER_VERSION, version.get());
    if attempt > 1 {
        set_number(headers, attr::HEADER_ATTEMPT, attempt.into());
    }
    let start = if cold { "cold" } else { "warm" };
    headers.insert(HeaderName::from_static(attr::HEADER_START), HeaderValue::from_static(start));
    set_invocation(headers, invocation);
    Served { response, call: Some(Called { ongoing, _place: place }), idle_max: Some(idle_timeout) }
}

/// The response of a call that has none.
pub(super) fn failure(error: &CallError, invocation: InvocationId) -> Served {
    let mut response = problem(error);
    set_invocation(response.headers_mut(), invocation);
    Served::page(response)
}

pub(super) fn set_number(headers: &mut HeaderMap, name: &'static str, number: u64) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from(number));
}

pub(super) fn set_invocation(headers: &mut HeaderMap, invocation: InvocationId) {
    if let Ok(value) = HeaderValue::try_from(invocation.to_string()) {
        headers.insert(HeaderName::from_static(attr::HEADER_INVOCATION), value);
    }
}

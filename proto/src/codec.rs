//! Records to and from their wire form. Wire input is checked field by field; the error names the field.

mod group;
mod record;
mod spec;

use thiserror::Error;

pub use record::{function_id, node_from_wire, node_to_wire, outcome_from_wire, outcome_to_wire};
pub use spec::{
    route_grants_from_wire, route_grants_to_wire, routes_from_wire, spec_from_wire, spec_to_wire,
};

use crate::status::{Code, Refusal};

/// Where a message comes from, and so what is asked of it beside that it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// From somebody who wants it done: every bound of today is kept, or it is refused.
    Api,
    /// Out of a log or a store, or told by who has it there. It was let in once, by bounds that may have been others:
    /// whoever refused it now could not start any more.
    Disk,
}

/// A message that does not say what it should.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("field '{field}': {reason}")]
pub struct DecodeError {
    /// The field, as in the `.proto` file.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl DecodeError {
    /// An error of one field.
    #[must_use]
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }

    /// The field is not there.
    #[must_use]
    pub fn missing(field: &'static str) -> Self {
        Self::new(field, "missing")
    }
}

/// Names the field in which something was wrong.
pub trait InField<T> {
    /// # Errors
    /// The same, as a [`DecodeError`] of the field.
    fn in_field(self, field: &'static str) -> Result<T, DecodeError>;
}

impl<T, E: std::error::Error> InField<T> for Result<T, E> {
    fn in_field(self, field: &'static str) -> Result<T, DecodeError> {
        self.map_err(|error| DecodeError::new(field, error.to_string()))
    }
}

impl<T> InField<T> for Option<T> {
    fn in_field(self, field: &'static str) -> Result<T, DecodeError> {
        self.ok_or_else(|| DecodeError::missing(field))
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::new(Code::InvalidArgument, error.to_string())
    }
}

impl From<DecodeError> for tonic::Status {
    fn from(error: DecodeError) -> Self {
        Refusal::from(error).into()
    }
}

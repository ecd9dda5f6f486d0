//! Where something is published.

use std::fmt;

use coracle_proto::id::Namespace;
use coracle_proto::status::Code;

use crate::call::CallError;
use crate::front::named::named;

/// A queue, or a topic: which of them it is its store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::front) struct Destination {
    pub(super) namespace: Namespace,
    pub(super) name: String,
}

impl Destination {
    /// Of `NAME` or `NAMESPACE/NAME`; none where it is neither. So the queues that the platform makes, whose names have a
    /// `/`, cannot be named.
    pub(in crate::front) fn parse(text: &str) -> Option<Result<Self, CallError>> {
        let named = named(text, "queue or topic", Code::QueueNotFound)?;
        Some(named.map(|(namespace, name)| Self { namespace, name }))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_those_of_functions() {
        let parsed = |text: &str| {
            Destination::parse(text).map(|it| it.map(|it| it.to_string()).map_err(|error| error.code()))
        };
        assert_eq!(parsed("jobs"), Some(Ok("default/jobs".to_owned())));
        assert_eq!(parsed("shop/jobs"), Some(Ok("shop/jobs".to_owned())));
        for bad in ["Jobs", "a_b", "jobs-", "shop/1", "Shop/jobs", "a%2Fb", "é"] {
            assert_eq!(parsed(bad), Some(Err(Code::QueueNotFound)), "{bad}");
        }
        for none in ["", "/", "/jobs", "shop/", "function/f/g", "a//b"] {
            assert_eq!(parsed(none), None, "{none}");
        }
    }
}

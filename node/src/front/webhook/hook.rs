//! Which webhook something is sent to.

use std::fmt;

use coracle_proto::id::Namespace;
use coracle_proto::status::Code;

use crate::call::CallError;
use crate::front::named::named;

/// A webhook of a namespace: whether there is one its store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::front) struct Hook {
    pub(super) namespace: Namespace,
    pub(super) name: String,
}

impl Hook {
    /// Of `NAME` or `NAMESPACE/NAME`; none where it is neither.
    pub(in crate::front) fn parse(text: &str) -> Option<Result<Self, CallError>> {
        let named = named(text, "webhook", Code::WebhookNotFound)?;
        Some(named.map(|(namespace, name)| Self { namespace, name }))
    }
}

impl fmt::Display for Hook {
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
            Hook::parse(text).map(|it| it.map(|it| it.to_string()).map_err(|error| error.code()))
        };
        assert_eq!(parsed("w"), Some(Ok("default/w".to_owned())));
        assert_eq!(parsed("shop/w"), Some(Ok("shop/w".to_owned())));
        for bad in ["W", "a_b", "shop/1", "é"] {
            assert_eq!(parsed(bad), Some(Err(Code::WebhookNotFound)), "{bad}");
        }
        for none in ["", "/", "/w", "shop/", "a/b/c"] {
            assert_eq!(parsed(none), None, "{none}");
        }
    }
}

//! Which webhook something is sent to.

use std::fmt;

use coracle_proto::id::{FunctionName, NAME_LENGTH_MAX, Namespace};
use coracle_proto::status::Code;

use crate::call::CallError;

/// A webhook of a namespace: whether there is one its store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::front) struct Hook {
    pub(super) namespace: Namespace,
    pub(super) name: String,
}

impl Hook {
    /// Of `NAME` or `NAMESPACE/NAME`; none where it is neither.
    pub(in crate::front) fn parse(text: &str) -> Option<Result<Self, CallError>> {
        let (namespace, name) = text.split_once('/').unwrap_or((Namespace::DEFAULT, text));
        if namespace.is_empty() || name.is_empty() || name.contains('/') {
            return None;
        }
        let known = namespace.parse().ok().zip(name.parse::<FunctionName>().ok());
        let known = known.map(|(namespace, name)| Self { namespace, name: name.to_string() });
        Some(known.ok_or_else(|| {
            let said = format!(
                "'{namespace}/{name}': no webhook can have that name: namespace and name have 1 to {NAME_LENGTH_MAX} \
                 lower-case letters, digits and '-', and begin with a letter"
            );
            CallError::new(Code::WebhookNotFound, said)
        }))
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

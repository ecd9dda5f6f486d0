//! Names of functions and namespaces.

use std::fmt;
use std::str::FromStr;

use super::IdError;

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// A name that was let in before: what names may be today is not asked of it, only that a key can have it.
            ///
            /// # Errors
            /// When it is empty or has a '/'.
            pub fn stored(text: &str) -> Result<Self, IdError> {
                if !text.is_empty() && !text.contains('/') {
                    return Ok(Self(text.into()));
                }
                text.parse()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check_name($what, text)?;
                Ok(Self(text.into()))
            }
        }
    };
}

/// As long as a DNS label, so that a name can become one (RFC 1123).
pub const NAME_LENGTH_MAX: usize = 63;

/// Whether a text may be the name of something, which `what` says.
///
/// # Errors
/// What a name consists of.
pub(crate) fn check_name(what: &'static str, text: &str) -> Result<(), IdError> {
    if is_name(text) {
        return Ok(());
    }
    Err(IdError::Name { what, value: text.chars().take(80).collect(), max: NAME_LENGTH_MAX })
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_LENGTH_MAX
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
}

name_id!(
    /// The name of a function inside its namespace.
    FunctionName, "function name"
);
name_id!(
    /// A namespace: names of functions are unique inside one.
    Namespace, "namespace"
);

impl Namespace {
    /// The namespace of functions that name none.
    pub const DEFAULT: &'static str = "default";
}

impl Default for Namespace {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

//! Whom a function lets have routes that take calls from its own.

use std::fmt;
use std::str::FromStr;

use crate::id::{IdError, Namespace};

/// The text that means every namespace.
const ANYONE: &str = "*";

/// Whom a function lets have routes that take calls from its own. Text form: a namespace, or `*` for all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteGrant {
    /// Every namespace.
    Anyone,
    /// One of them.
    Namespace(Namespace),
}

impl RouteGrant {
    /// Whether the namespace is meant.
    #[must_use]
    pub fn covers(&self, namespace: &Namespace) -> bool {
        match self {
            Self::Anyone => true,
            Self::Namespace(granted) => granted == namespace,
        }
    }

    /// One that was let in before: what namespaces may be called today is not asked of it.
    ///
    /// # Errors
    /// When it is empty or has a '/'.
    pub(crate) fn stored(text: &str) -> Result<Self, IdError> {
        if text == ANYONE { Ok(Self::Anyone) } else { Namespace::stored(text).map(Self::Namespace) }
    }
}

impl fmt::Display for RouteGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str(ANYONE),
            Self::Namespace(namespace) => namespace.fmt(f),
        }
    }
}

impl FromStr for RouteGrant {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == ANYONE { Ok(Self::Anyone) } else { text.parse().map(Self::Namespace) }
    }
}

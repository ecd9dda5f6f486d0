//! Why an operation on what is kept was not done, as the interfaces tell it.

use std::fmt;

use coracle_proto::status::{Again, Code, Refusal};
use wasmtime::component::ResourceTableError;

use super::operation::Came;

/// Why it was not done.
#[derive(Debug)]
pub(in crate::runtime) enum Trouble {
    /// There is no such bucket.
    NoBucket,
    /// The function was not granted it.
    Denied,
    /// A code, and a sentence.
    Other(Refusal),
    /// The guest is at fault, and ends.
    Broken(wasmtime::Error),
}

impl Trouble {
    /// A bound of the call was reached.
    pub(super) fn bound(said: impl Into<String>) -> Self {
        Self::Other(Refusal::new(Code::LimitReached, said))
    }

    /// What it was asked cannot be done.
    pub(in crate::runtime) fn invalid(said: impl Into<String>) -> Self {
        Self::Other(Refusal::new(Code::InvalidArgument, said))
    }

    /// What it counts as.
    pub(super) fn came(&self) -> Came {
        match self {
            Self::Denied => Came::Denied,
            Self::NoBucket | Self::Broken(_) => Came::Refused,
            Self::Other(refusal) => match (refusal.code, refusal.code.retry()) {
                (Code::QueueFull, _) | (_, Again::Never) => Came::Refused,
                (_, Again::NotStarted | Again::Unknown) => Came::Failed,
            },
        }
    }

    /// What traces are told.
    pub(super) fn refusal(&self) -> Refusal {
        let code = match self {
            Self::NoBucket => Code::BucketNotFound,
            Self::Denied | Self::Broken(_) => Code::InvalidArgument,
            Self::Other(refusal) => refusal.code,
        };
        Refusal::new(code, self.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBucket => f.write_str("no-such-store: there is no such bucket"),
            Self::Denied => f.write_str("access-denied: the function was not granted it"),
            Self::Other(Refusal { code, message }) => write!(f, "{code}: {message}"),
            Self::Broken(error) => write!(f, "{error}"),
        }
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        match refusal.code {
            Code::BucketNotFound => Self::NoBucket,
            _ => Self::Other(refusal),
        }
    }
}

impl From<ResourceTableError> for Trouble {
    fn from(error: ResourceTableError) -> Self {
        match error {
            ResourceTableError::Full => {
                Self::bound("the instance has as many resources of the host as it may")
            }
            error => Self::Broken(error.into()),
        }
    }
}

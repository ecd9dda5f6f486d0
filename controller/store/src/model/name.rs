//! What a bucket, a queue, a topic or a schedule is called, and in which namespace.

mod owner;

use std::fmt;
use std::sync::Arc;

use coracle_proto::id::{FunctionId, IdError, Namespace};
use thiserror::Error;

pub use owner::{Heard, Owner};

/// The name of a bucket, queue, topic or schedule within its namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// A text that no key can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// It is empty, longer than a key allows, or has the byte that ends it there.
    #[error("'{0}' is no name: use 1 to {NAME_BYTES_MAX} bytes without a zero byte")]
    Name(String),
    /// The same of the namespace.
    #[error(transparent)]
    Namespace(#[from] IdError),
}

/// Bytes of a name in a key. What names people may choose is asked where they are defined, and is narrower.
pub(super) const NAME_BYTES_MAX: usize = 255;

impl Name {
    /// A name that a key can have.
    ///
    /// # Errors
    /// When it is empty, too long, or has a zero byte, which ends it in a key.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains('\0') {
            return Err(NameError::Name(text.chars().take(80).collect()));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a bucket, queue, topic or schedule is: in which namespace, and under which name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Whose it is.
    pub namespace: Namespace,
    /// Which one.
    pub name: Name,
}

impl Place {
    /// From its two texts.
    ///
    /// # Errors
    /// When a key cannot have one of them.
    pub fn parse(namespace: &str, name: &str) -> Result<Self, NameError> {
        Name::parse(namespace)?;
        Ok(Self { namespace: Namespace::stored(namespace)?, name: Name::parse(name)? })
    }

    /// The queue of a function, in which its asynchronous calls are. People's queues have no '/' in their names.
    #[must_use]
    pub fn of_function(function: &FunctionId) -> Self {
        let name = Name(format!("function/{}", function.name).into());
        Self { namespace: function.namespace.clone(), name }
    }

    /// Whether a key can have it: a function's name that was let in before is not asked (`FunctionName::stored`).
    pub(super) fn check(&self) -> Result<(), NameError> {
        Self::parse(self.namespace.as_str(), self.name.as_str()).map(|_| ())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

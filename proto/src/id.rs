//! Identifiers and names: parsed once at the edge, never wrong inside.

mod name;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub(crate) use name::check_name;
pub use name::{FunctionName, NAME_LENGTH_MAX, Namespace};

/// Why a text or bytes are no identifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Not a name: 1 to 63 of a-z, 0-9 and '-', beginning with a letter and not ending with '-'.
    #[error("'{value}' is not a {what}: use 1 to {max} of a-z, 0-9 and '-', a letter first, no '-' last")]
    Name {
        /// What it should have been.
        what: &'static str,
        /// The text.
        value: String,
        /// The greatest length.
        max: usize,
    },
    /// Not the right number of hexadecimal digits.
    #[error("'{value}' is not a {what}: expected {digits} hexadecimal digits")]
    Hex {
        /// What it should have been.
        what: &'static str,
        /// The text.
        value: String,
        /// How many digits it has.
        digits: usize,
    },
    /// Not the right number of bytes.
    #[error("a {what} has {expected} bytes, got {got}")]
    Length {
        /// What it should have been.
        what: &'static str,
        /// Bytes it has.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// Not a positive number.
    #[error("'{value}' is not a {what}: expected a number from 1")]
    Number {
        /// What it should have been.
        what: &'static str,
        /// The text.
        value: String,
    },
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name($inner);

        impl $name {
            /// Wraps the number.
            #[must_use]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self).map_err(|_| IdError::Number { what: $what, value: text.to_owned() })
            }
        }
    };
}

number_id!(
    /// A node: allocated from the log, never used twice.
    NodeId, u64, "node id"
);
number_id!(
    /// A Raft group: one for each kind of data.
    GroupId, u32, "group id"
);
number_id!(
    /// The position of an applied command: each one makes the next revision.
    Revision, u64, "revision"
);
number_id!(
    /// The revision at which a function was assigned to a node.
    Epoch, u64, "epoch"
);
number_id!(
    /// A version of a function, counted from 1.
    VersionNumber, u64, "version"
);

impl GroupId {
    /// Functions, nodes, placement, triggers.
    pub const META: Self = Self(0);
}

impl Revision {
    /// Before the first command.
    pub const ZERO: Self = Self(0);

    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Names a node's store for as long as it exists: drawn when it is made. A node whose store was wiped has another one,
/// and the others do not take it for the node that it was. Written as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StoreId(u64);

impl StoreId {
    /// Of a store that nobody has told of yet.
    pub const UNKNOWN: Self = Self(0);

    /// From its number.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// As a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

macro_rules! bits128 {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u128);

        impl $name {
            /// Wraps the number.
            #[must_use]
            pub const fn new(value: u128) -> Self {
                Self(value)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> u128 {
                self.0
            }

            /// Sixteen bytes, big-endian.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// The same as [`Self::to_bytes`], as the wire form wants it.
            #[must_use]
            pub fn to_wire(self) -> bytes::Bytes {
                bytes::Bytes::copy_from_slice(&self.to_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:032x})"), self.0)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;

            fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
                let array = <[u8; 16]>::try_from(bytes)
                    .map_err(|_| IdError::Length { what: $what, expected: 16, got: bytes.len() })?;
                Ok(Self(u128::from_be_bytes(array)))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let wrong = || IdError::Hex { what: $what, value: text.to_owned(), digits: 32 };
                if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(wrong());
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| wrong())
            }
        }
    };
}

bits128!(
    /// A cluster: random, made once when it is bootstrapped.
    ClusterId, "cluster id"
);
bits128!(
    /// A change that a client asked for, kept on each of its retries.
    RequestId, "request id"
);
bits128!(
    /// One invocation of a function, kept on each of its attempts.
    InvocationId, "invocation id"
);
bits128!(
    /// The hash of the whole state at one revision: the sum of its records' hashes.
    StateHash, "state hash"
);

/// A function: its namespace and its name. Shown as `NAME`, or `NAMESPACE/NAME` outside `default`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId {
    /// The namespace.
    pub namespace: Namespace,
    /// The name inside it.
    pub name: FunctionName,
}

impl FunctionId {
    /// Parses both parts as they come over the wire; an empty namespace is `default`.
    ///
    /// # Errors
    /// When either is no name.
    pub fn parse(namespace: &str, name: &str) -> Result<Self, IdError> {
        let namespace = if namespace.is_empty() { Namespace::default() } else { namespace.parse()? };
        Ok(Self { namespace, name: name.parse()? })
    }

    /// The same of what was let in before: see [`FunctionName::stored`].
    ///
    /// # Errors
    /// When either can stand in no key.
    pub fn stored(namespace: &str, name: &str) -> Result<Self, IdError> {
        let namespace = match namespace {
            "" => Namespace::default(),
            namespace => Namespace::stored(namespace)?,
        };
        Ok(Self { namespace, name: FunctionName::stored(name)? })
    }
}

impl fmt::Display for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.as_str() == Namespace::DEFAULT {
            return self.name.fmt(f);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for FunctionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once('/') {
            Some((namespace, name)) => Ok(Self { namespace: namespace.parse()?, name: name.parse()? }),
            None => Self::parse("", text),
        }
    }
}

/// One version of one function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId {
    /// The function.
    pub function: FunctionId,
    /// Its version.
    pub number: VersionNumber,
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.function, self.number)
    }
}

/// The SHA-256 of an artifact: its only name. Shown as `sha256:HEX`, as OCI does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Wraps the hash.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash, as the wire form wants it.
    #[must_use]
    pub fn to_wire(self) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(&self.0)
    }

    /// Sixty-four hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.hex())
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = IdError;

    fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
        <[u8; 32]>::try_from(bytes).map(Self).map_err(|_| IdError::Length {
            what: "digest",
            expected: 32,
            got: bytes.len(),
        })
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::Hex { what: "digest", value: text.chars().take(80).collect(), digits: 64 };
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = hex.get(index * 2..index * 2 + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "hello", "a-1", &"x".repeat(63)] {
            assert!(good.parse::<FunctionName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "1a", "a_b", "a/b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<FunctionName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_round_trip() {
        let id: FunctionId = "shop/cart".parse().unwrap();
        assert_eq!(id.to_string(), "shop/cart");
        assert_eq!("cart".parse::<FunctionId>().unwrap().to_string(), "cart");
        let digest = Digest::new([0xab; 32]);
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        let cluster = ClusterId::new(7);
        assert_eq!(cluster.to_string().parse::<ClusterId>().unwrap(), cluster);
        assert_eq!(ClusterId::try_from(&cluster.to_bytes()[..]).unwrap(), cluster);
    }

    #[test]
    fn wrong_bytes_are_named() {
        let error = Digest::try_from(&[0_u8; 3][..]).unwrap_err();
        assert_eq!(error.to_string(), "a digest has 32 bytes, got 3");
    }
}

//! `HOST:PORT`, checked.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Where a node is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address(String);

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is no address: expected HOST:PORT, such as 127.0.0.1:7400")]
pub(crate) struct AddressError(String);

impl Address {
    /// `HOST:PORT`.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.to_owned());
        let authority: http::uri::Authority = text.parse().map_err(|_| wrong())?;
        if authority.host().is_empty()
            || authority.port_u16().is_none_or(|port| port == 0)
            || text.contains('@')
        {
            return Err(wrong());
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_host_and_port() {
        for good in ["127.0.0.1:7400", "node-1:7400", "[::1]:7400", "a.example:1"] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in ["", "node-1", ":7400", "http://a:1", "a:0", "a:70000", "a:b", "u@a:1", "a:1/x"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}

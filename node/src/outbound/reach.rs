//! How far guests' requests may go: the operator's word, above every grant.

use std::fmt;
use std::str::FromStr;

use super::address::Place;

/// The farthest place that a grant may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// The open Internet.
    Public,
    /// This machine and its network too, where a grant names the address and the port.
    #[default]
    Private,
    /// Link-local addresses and metadata services too: these give out the machine's own credentials.
    Anywhere,
}

impl Reach {
    const ALL: [Self; 3] = [Self::Public, Self::Private, Self::Anywhere];

    /// Its name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Anywhere => "anywhere",
        }
    }

    pub(super) fn includes(self, place: Place) -> bool {
        match place {
            Place::Public => true,
            Place::Private => self != Self::Public,
            Place::Metadata => self == Self::Anywhere,
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Reach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|reach| reach.name() == text);
        found.ok_or_else(|| format!("'{text}' is not one of public, private, anywhere"))
    }
}

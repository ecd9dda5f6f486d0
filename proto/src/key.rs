//! The keys of replicated records: text whose order groups what belongs together.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::id::{FunctionId, GroupId, Namespace, NodeId, RequestId, Revision, VersionId, VersionNumber};
use crate::route::RouteSpec;

/// Which replicated fact a record is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `cluster`
    Cluster,
    /// `function/NAMESPACE/NAME`
    Function(FunctionId),
    /// `group/ID`, the id as 8 hexadecimal digits
    Group(GroupId),
    /// `namespace/NAMESPACE`
    Namespace(Namespace),
    /// `node/ID`, the id as 16 hexadecimal digits, as all numbers here, so that text and number sort alike
    Node(NodeId),
    /// `replica/NAMESPACE/NAME/VERSION/NODE`
    Replica(VersionId, NodeId),
    /// `request/REVISION/REQUEST`
    Request(Revision, RequestId),
    /// `route/ROUTE`
    Route(RouteSpec),
    /// `slots`
    Slots,
    /// `version/NAMESPACE/NAME/NUMBER`
    Version(VersionId),
}

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not the key of a record")]
pub struct KeyError(pub String);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => write!(f, "cluster"),
            Self::Slots => write!(f, "slots"),
            Self::Group(id) => write!(f, "group/{:08x}", id.get()),
            Self::Namespace(name) => write!(f, "namespace/{name}"),
            Self::Node(id) => write!(f, "node/{:016x}", id.get()),
            Self::Function(id) => write!(f, "function/{}", Path(id)),
            Self::Version(id) => write!(f, "version/{}/{:016x}", Path(&id.function), id.number.get()),
            Self::Replica(id, node) => {
                write!(f, "replica/{}/{:016x}/{:016x}", Path(&id.function), id.number.get(), node.get())
            }
            Self::Request(revision, id) => write!(f, "request/{:016x}/{id}", revision.get()),
            Self::Route(route) => write!(f, "route/{route}"),
        }
    }
}

/// A function with its namespace, also when that is the default one.
struct Path<'a>(&'a FunctionId);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.namespace, self.0.name)
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        parse(text).ok_or_else(|| KeyError(text.chars().take(200).collect()))
    }
}

fn parse(text: &str) -> Option<Key> {
    match text {
        "cluster" => return Some(Key::Cluster),
        "slots" => return Some(Key::Slots),
        _ => {}
    }
    let (kind, rest) = text.split_once('/')?;
    if kind == "route" {
        return RouteSpec::from_stored(rest).ok().map(Key::Route);
    }
    let mut parts = rest.split('/');
    let key = match kind {
        "group" => Key::Group(GroupId::new(group(parts.next()?)?)),
        "namespace" => Key::Namespace(Namespace::stored(parts.next()?).ok()?),
        "node" => Key::Node(NodeId::new(number(parts.next()?)?)),
        "function" => Key::Function(function(&mut parts)?),
        "version" => Key::Version(version(&mut parts)?),
        "replica" => Key::Replica(version(&mut parts)?, NodeId::new(number(parts.next()?)?)),
        "request" => Key::Request(Revision::new(number(parts.next()?)?), parts.next()?.parse().ok()?),
        _ => return None,
    };
    parts.next().is_none().then_some(key)
}

fn function<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<FunctionId> {
    FunctionId::stored(parts.next()?, parts.next()?).ok()
}

fn version<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<VersionId> {
    Some(VersionId { function: function(parts)?, number: VersionNumber::new(number(parts.next()?)?) })
}

fn group(digits: &str) -> Option<u32> {
    (digits.len() == 8).then(|| u32::from_str_radix(digits, 16).ok())?
}

fn number(digits: &str) -> Option<u64> {
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip() {
        let function = FunctionId::parse("", "hello").unwrap();
        let version = VersionId { function: function.clone(), number: VersionNumber::new(3) };
        for key in [
            Key::Cluster,
            Key::Slots,
            Key::Group(GroupId::new(10)),
            Key::Namespace(Namespace::default()),
            Key::Node(NodeId::new(10)),
            Key::Function(function),
            Key::Version(version.clone()),
            Key::Replica(version, NodeId::new(2)),
            Key::Request(Revision::new(9), RequestId::new(77)),
            Key::Route("shop.example/a/b/*".parse().unwrap()),
        ] {
            assert_eq!(key.to_string().parse::<Key>().unwrap(), key);
        }
    }

    #[test]
    fn foreign_keys_are_refused() {
        for bad in [
            "",
            "node/1",
            "node/000000000000000g",
            "version/default/a",
            "function/default/a/b",
            "x/y",
            "group/1",
        ] {
            assert!(bad.parse::<Key>().is_err(), "{bad}");
        }
    }
}

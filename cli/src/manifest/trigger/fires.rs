//! The key `on` of a trigger: of which events it is.

use toml::Spanned;
use toml::de::DeValue;

use crate::manifest::Holds;
use crate::manifest::keys::Keys;

/// The events of a bucket, with what such a one holds.
const CHANGES: [(&str, Holds, bool); 4] = [
    ("kv.set", Holds::Values, true),
    ("kv.deleted", Holds::Values, false),
    ("blob.created", Holds::Blobs, true),
    ("blob.deleted", Holds::Blobs, false),
];
/// What somebody else sends.
pub(super) const WEBHOOK: &str = "webhook";

/// What it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fires {
    /// Changes of a bucket that holds such.
    Changes {
        holds: Holds,
        sets: bool,
        deletes: bool,
    },
    Webhook,
}

/// A list of events, or one; none where something is wrong with it.
pub(super) fn read(keys: &mut Keys<'_, '_>, value: &Spanned<DeValue<'_>>) -> Option<Fires> {
    let list = match value.get_ref() {
        DeValue::Array(list) => list.iter().collect(),
        _ => vec![value],
    };
    let known = || CHANGES.map(|(name, ..)| name).join(", ");
    let mut found: Option<Fires> = None;
    for one in list {
        let text = keys.text("on", one)?;
        let fires = match CHANGES.iter().find(|(name, ..)| *name == text) {
            _ if text == WEBHOOK => Fires::Webhook,
            Some((_, holds, sets)) => Fires::Changes { holds: *holds, sets: *sets, deletes: !sets },
            None => {
                keys.wrong("on", one, format!("'{text}' is none of {}, {WEBHOOK}", known()));
                return None;
            }
        };
        let Some(both) = both(found, fires) else {
            keys.wrong(
                "on",
                one,
                format!("'{text}' does not go with what stands before it: take two triggers"),
            );
            return None;
        };
        found = Some(both);
    }
    if found.is_none() {
        keys.wrong("on", value, format!("it names none of {}, {WEBHOOK}", known()));
    }
    found
}

/// Two of one kind are one.
fn both(before: Option<Fires>, next: Fires) -> Option<Fires> {
    match (before, next) {
        (None, next) => Some(next),
        (
            Some(Fires::Changes { holds, sets, deletes }),
            Fires::Changes { holds: other, sets: also_sets, deletes: also_deletes },
        ) if holds == other => {
            Some(Fires::Changes { holds, sets: sets || also_sets, deletes: deletes || also_deletes })
        }
        (Some(_), _) => None,
    }
}

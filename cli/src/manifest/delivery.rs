//! How a function wants what is in its queue: where, in which form, whither its answers go, how many at once.

use std::time::Duration;

use clap::ValueEnum;
use coracle_proto::id::FunctionName;
use toml::Spanned;
use toml::de::DeValue;

use super::keys::Keys;
use super::settings::{Setting, Unit};
use crate::units::show_duration;

/// The path that is usual.
const ROOT: &str = "/";
/// Bytes of a path.
const PATH_BYTES_MAX: usize = 1 << 10;
/// Messages of one call; one of them is no batch.
pub(crate) const BATCH: Setting = Setting::new("batch", Unit::Count, 1, (1, 256));
/// How long the oldest of them may wait for others.
pub(crate) const BATCH_WAIT: Setting = Setting::new("batch-wait", Unit::Duration, 0, (0, 60_000));

/// What is said of it; what is not there is as it was, or as is usual.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Of the request.
    pub(crate) path: Option<String>,
    pub(crate) mode: Option<Mode>,
    /// A queue or topic for events that it answers with; empty: they are not published.
    pub(crate) reply: Option<String>,
    /// Messages of one call.
    pub(crate) batch_max: Option<u64>,
    pub(crate) batch_wait_ms: Option<u64>,
}

/// The form of an event in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Mode {
    /// Attributes in headers, data in the body.
    #[default]
    Binary,
    /// All of it as JSON in the body.
    Structured,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Structured => "structured",
        }
    }
}

impl Delivery {
    /// The names of all keys.
    pub(super) const KEYS: [&str; 4] = ["path", "mode", "reply", "batch"];

    /// Reads one key; false where it is none of these.
    pub(super) fn read(&mut self, keys: &mut Keys<'_, '_>, key: &str, value: &Spanned<DeValue<'_>>) -> bool {
        match key {
            "path" => self.path = keys.parsed(key, value, path),
            "mode" => self.mode = keys.parsed(key, value, |text| Mode::from_str(text, false)),
            "reply" => self.reply = keys.parsed(key, value, reply),
            "batch" => {
                keys.inner(key, value, &["max", "wait"], |keys, key, value| {
                    match key {
                        "max" => self.batch_max = keys.number(key, value, &BATCH),
                        "wait" => self.batch_wait_ms = keys.number(key, value, &BATCH_WAIT),
                        _ => return false,
                    }
                    true
                });
                let has_max = value.get_ref().get("max").is_some();
                if self.batch_wait_ms.is_some_and(|wait| wait > 0) && (!has_max || self.batch_max == Some(1))
                {
                    keys.wrong(
                        key,
                        value,
                        "one message waits for no others: 'wait' goes with a 'max' of 2 or more",
                    );
                }
            }
            _ => return false,
        }
        true
    }

    /// What it comes to, by the keys that a manifest has for it.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let batch = match (self.batch_max.unwrap_or(1), self.batch_wait_ms.unwrap_or_default()) {
            (0 | 1, 0) => "1".to_owned(),
            (max, 0) => format!("{max} at once"),
            (max, wait) => format!("{max} within {}", show_duration(Duration::from_millis(wait))),
        };
        let reply = self.reply.as_deref().filter(|reply| !reply.is_empty()).unwrap_or("nowhere");
        vec![
            ("path", self.path.as_deref().unwrap_or(ROOT).to_owned()),
            ("mode", self.mode.unwrap_or_default().name().to_owned()),
            ("reply", reply.to_owned()),
            ("batch", batch),
        ]
    }

    /// What is other here than before, for people.
    pub(super) fn changes(&self, before: &Self) -> Vec<String> {
        let both = self.facts().into_iter().zip(before.facts());
        let other = both.filter(|((_, now), (_, was))| now != was);
        other.map(|((name, now), (_, was))| format!("{name} {now} instead of {was}")).collect()
    }

    /// Of this, and of the other where this says nothing.
    pub(super) fn over(self, other: &Self) -> Self {
        let Self { path, mode, reply, batch_max, batch_wait_ms } = self;
        // What is no batch any more waits for nothing.
        let no_batch = batch_max == Some(1);
        Self {
            path: path.or_else(|| other.path.clone()),
            mode: mode.or(other.mode),
            reply: reply.or_else(|| other.reply.clone()),
            batch_max: batch_max.or(other.batch_max),
            batch_wait_ms: batch_wait_ms.or_else(|| other.batch_wait_ms.filter(|_| !no_batch)),
        }
    }

    /// What both say, and not alike.
    pub(super) fn contradicts(&self, other: &Self) -> Option<&'static str> {
        fn differ<T: PartialEq>(one: &Option<T>, two: &Option<T>) -> bool {
            one.is_some() && two.is_some() && one != two
        }
        let batch =
            differ(&self.batch_max, &other.batch_max) || differ(&self.batch_wait_ms, &other.batch_wait_ms);
        [
            ("path", differ(&self.path, &other.path)),
            ("mode", differ(&self.mode, &other.mode)),
            ("reply", differ(&self.reply, &other.reply)),
            ("batch", batch),
        ]
        .into_iter()
        .find_map(|(name, differs)| differs.then_some(name))
    }
}

/// A path of a request.
pub(crate) fn path(text: &str) -> Result<String, String> {
    let good = text.starts_with('/')
        && text.len() <= PATH_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let expected =
        || format!("'{text}': expected a path that begins with '/', percent-encoded, of at most 1 KiB");
    if good { Ok(text.to_owned()) } else { Err(expected()) }
}

/// A queue or topic; empty: none.
pub(crate) fn reply(text: &str) -> Result<String, String> {
    if !text.is_empty() {
        text.parse::<FunctionName>().map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_need_not_be_said_and_changes_are_told() {
        let usual = Delivery {
            path: Some("/".into()),
            mode: Some(Mode::Binary),
            reply: Some(String::new()),
            batch_max: Some(1),
            batch_wait_ms: Some(0),
        };
        assert_eq!(usual.facts(), Delivery::default().facts());
        let told = Delivery {
            path: Some("/in".into()),
            reply: Some("done".into()),
            batch_max: Some(10),
            batch_wait_ms: Some(5000),
            ..Delivery::default()
        };
        let changes = told.changes(&usual);
        assert_eq!(
            changes,
            ["path /in instead of /", "reply done instead of nowhere", "batch 10 within 5 s instead of 1"]
        );
        assert_eq!(told.clone().over(&usual).mode, Some(Mode::Binary));
        let single = Delivery { batch_max: Some(1), ..Delivery::default() }.over(&told);
        assert_eq!((single.batch_max, single.batch_wait_ms), (Some(1), None));
        assert_eq!(told.contradicts(&Delivery { batch_max: Some(9), ..Delivery::default() }), Some("batch"));
        assert_eq!(told.contradicts(&Delivery { mode: Some(Mode::Structured), ..told.clone() }), None);
    }

    #[test]
    fn paths_and_names_are_looked_at() {
        for bad in ["", "a", "/a b", "/ä", "/a#b"] {
            assert!(path(bad).is_err(), "{bad}");
        }
        assert_eq!(path("/a?b=%20"), Ok("/a?b=%20".to_owned()));
        assert!(reply("Done").is_err() && reply("").is_ok() && reply("done").is_ok());
    }
}

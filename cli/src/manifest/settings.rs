//! What a queue is told: its bounds and times, by the names that a manifest's keys and flags have for them.

use std::time::Duration;

use coracle_proto::spec::Bound;

use super::Delivery;
use crate::units::{show_bytes, show_duration};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// A wait of no time is none.
const TIME_MS_MIN: u64 = 1;

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Count,
    /// Bytes.
    Size,
    /// Milliseconds.
    Duration,
}

impl Unit {
    /// For people.
    pub(crate) fn show(self, number: u64) -> String {
        match self {
            Self::Count => number.to_string(),
            Self::Size => show_bytes(number),
            Self::Duration => show_duration(Duration::from_millis(number)),
        }
    }

    /// With all its digits.
    fn exact(self, number: u64) -> String {
        match self {
            Self::Count => number.to_string(),
            Self::Size => format!("{number} B"),
            Self::Duration => format!("{number} ms"),
        }
    }
}

/// One thing that a queue can be told.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) bound: Bound,
    pub(crate) unit: Unit,
}

impl Setting {
    pub(super) const fn new(name: &'static str, unit: Unit, default: u64, (min, max): (u64, u64)) -> Self {
        Self { bound: Bound { name, default, min, max }, unit }
    }

    /// The number, where it is within the bounds.
    pub(crate) fn check(&self, number: u64) -> Result<u64, String> {
        let Bound { min, max, .. } = self.bound;
        if (min..=max).contains(&number) {
            return Ok(number);
        }
        let [number, min, max] = [number, min, max].map(|number| self.unit.show(number));
        Err(format!("{number} is not between {min} and {max}"))
    }

    /// For people: `attempts 5 instead of 3`.
    pub(super) fn change(&self, now: u64, was: u64) -> String {
        let Self { bound, unit } = self;
        let texts = [now, was].map(|number| unit.show(number));
        // What is rounded may look alike.
        let [now, was] = if texts[0] == texts[1] { [now, was].map(|it| unit.exact(it)) } else { texts };
        format!("{} {now} instead of {was}", bound.name)
    }
}

// As the stores have them, which refuse what is beyond.
const ATTEMPTS: Setting = Setting::new("attempts", Unit::Count, 3, (1, 100));
const BACKOFF: Setting = Setting::new("backoff", Unit::Duration, 1000, (TIME_MS_MIN, DAY_MS));
const BACKOFF_MAX: Setting =
    Setting::new("backoff-max", Unit::Duration, 5 * 60 * 1000, (TIME_MS_MIN, DAY_MS));
const AGE: Setting = Setting::new("age", Unit::Duration, DAY_MS / 4, (TIME_MS_MIN, 14 * DAY_MS));
const DEAD_KEEP: Setting = Setting::new("dead-keep", Unit::Duration, 14 * DAY_MS, (TIME_MS_MIN, 90 * DAY_MS));
const MESSAGES: Setting = Setting::new("messages", Unit::Count, 1_000_000, (1, 10_000_000));
const SIZE: Setting = Setting::new("size", Unit::Size, 1 << 30, (1, 64 << 30));

static ALL: [Setting; 7] = [ATTEMPTS, BACKOFF, BACKOFF_MAX, AGE, DEAD_KEEP, MESSAGES, SIZE];

/// What a queue is told. Zero: as is usual.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Of a message.
    pub(crate) attempts: u64,
    /// The longest wait after the first attempt.
    pub(crate) backoff_ms: u64,
    /// The longest wait after any.
    pub(crate) backoff_max_ms: u64,
    /// How long a message may wait.
    pub(crate) age_ms: u64,
    /// How long a dead letter is kept.
    pub(crate) dead_keep_ms: u64,
    /// With dead letters.
    pub(crate) messages_max: u64,
    /// Their bytes.
    pub(crate) bytes_max: u64,
    /// How its function wants them.
    pub(crate) delivery: Delivery,
}

impl Settings {
    /// The names of all that are numbers.
    pub(crate) const KEYS: [&str; 7] =
        ["attempts", "backoff", "backoff-max", "age", "dead-keep", "messages", "size"];

    /// All of them, each with what it is told.
    fn each(&self) -> impl Iterator<Item = (&'static Setting, u64)> {
        let told = [
            self.attempts,
            self.backoff_ms,
            self.backoff_max_ms,
            self.age_ms,
            self.dead_keep_ms,
            self.messages_max,
            self.bytes_max,
        ];
        ALL.iter().zip(told)
    }

    /// The one of that name, and where it is told.
    pub(crate) fn slot(&mut self, name: &str) -> Option<(&'static Setting, &mut u64)> {
        let slots = [
            &mut self.attempts,
            &mut self.backoff_ms,
            &mut self.backoff_max_ms,
            &mut self.age_ms,
            &mut self.dead_keep_ms,
            &mut self.messages_max,
            &mut self.bytes_max,
        ];
        ALL.iter().zip(slots).find(|(setting, _)| setting.bound.name == name)
    }

    /// What each comes to, in its unit: what is usual where nothing is told.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (&'static Setting, u64)> {
        let number = |told, setting: &Setting| if told == 0 { setting.bound.default } else { told };
        self.each().map(move |(setting, told)| (setting, number(told, setting)))
    }

    /// What is other here than before, for people: `attempts 5 instead of 3`.
    pub(crate) fn changes(&self, before: &Self) -> Vec<String> {
        let both = self.numbers().zip(before.numbers()).filter(|((_, now), (_, was))| now != was);
        let change = |((setting, now), (_, was)): ((&Setting, u64), (_, u64))| setting.change(now, was);
        both.map(change).chain(self.delivery.changes(&before.delivery)).collect()
    }

    /// Of these, and of the others where these say nothing.
    pub(crate) fn over(mut self, other: &Self) -> Self {
        for (setting, told) in other.each() {
            if let Some((_, slot)) = self.slot(setting.bound.name)
                && *slot == 0
            {
                *slot = told;
            }
        }
        self.delivery = self.delivery.over(&other.delivery);
        self
    }

    /// What both tell, and not alike.
    pub(crate) fn contradicts(&self, other: &Self) -> Option<&'static str> {
        let mut both = self.each().zip(other.each());
        let numbers = both.find_map(|((setting, one), (_, two))| {
            (one != 0 && two != 0 && one != two).then_some(setting.bound.name)
        });
        numbers.or_else(|| self.delivery.contradicts(&other.delivery))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_that_of_its_setting() {
        let mut settings = Settings::default();
        for (number, name) in (1..).zip(Settings::KEYS) {
            let (setting, slot) = settings.slot(name).unwrap();
            assert_eq!(setting.bound.name, name);
            *slot = number;
        }
        assert_eq!(settings.each().map(|(_, told)| told).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
        assert!(settings.slot("function").is_none());
        assert_eq!((settings.attempts, settings.age_ms, settings.bytes_max), (1, 4, 7));
    }

    #[test]
    fn what_says_nothing_is_as_is_usual_and_changes_are_told() {
        let before = Settings::default();
        let usual = Settings { attempts: 3, bytes_max: 1 << 30, ..Settings::default() };
        assert!(usual.changes(&before).is_empty());
        let told = Settings { age_ms: 60_000, bytes_max: (1 << 30) + 1, ..usual };
        let changes = told.changes(&before);
        assert_eq!(changes, ["age 1 m 0 s instead of 6 h 0 m", "size 1073741825 B instead of 1073741824 B"]);
    }

    #[test]
    fn one_is_put_over_another_one_and_contradictions_are_found() {
        let table = Settings { attempts: 5, ..Settings::default() };
        let retry = Settings { attempts: 7, backoff_ms: 2, ..Settings::default() };
        assert_eq!(table.contradicts(&retry), Some("attempts"));
        assert_eq!(table.contradicts(&Settings { age_ms: 1, ..Settings::default() }), None);
        assert_eq!(table.over(&retry), Settings { attempts: 5, backoff_ms: 2, ..Settings::default() });
    }

    #[test]
    fn bounds_are_named() {
        let mut settings = Settings::default();
        let (setting, _) = settings.slot("attempts").unwrap();
        assert_eq!(setting.check(101), Err("101 is not between 1 and 100".to_owned()));
        assert_eq!(setting.check(100), Ok(100));
        let (setting, _) = settings.slot("size").unwrap();
        assert_eq!(setting.check(0), Err("0 B is not between 1 B and 64 GiB".to_owned()));
    }
}

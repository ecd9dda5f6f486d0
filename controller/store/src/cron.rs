//! When a schedule fires: cron expressions on the clocks of the world's zones.
//!
//! An expression names times of a wall clock, which some zones put on and back. An expression that names hours has
//! each of its times once: one that the clock leaves out comes when the clock has gone on, one that it shows twice
//! comes the first time. An expression of every hour goes on as time passes: it fires in each hour that there is, and
//! in none that there is not.

use std::fmt;

use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, CronComponent};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use thiserror::Error;

/// Bytes of an expression: a minute of each hour takes less.
const EXPRESSION_BYTES_MAX: usize = 256;
/// The longest that anybody waits for a leap day (from 1896 to 1904, from 2096 to 2104). Who waits longer waits for
/// nothing.
const YEARS_MAX: i16 = 8;
/// Where croner ends to search.
const YEARS_END: u16 = 5000;
/// Changes of a zone's clock that are looked past for one time: some a year, and Ramadan twice.
const CHANGES_MAX: usize = 64;
/// Times that are passed over because the clock has shown them before: an hour of seconds, and as much again.
const SHOWN_BEFORE_MAX: usize = 2 * 60 * 60;
/// The zone where none is named.
const UTC: &str = "UTC";

/// Why a schedule would have no times.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum CronError {
    /// It has too many bytes.
    #[error("a cron expression of {0} bytes: at most {EXPRESSION_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// It cannot be read.
    #[error("'{expression}' is no cron expression: {reason}")]
    Expression {
        /// As it was given.
        expression: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody has this zone.
    #[error("there is no time zone '{0}': use a name such as Europe/Berlin or UTC")]
    Zone(String),
    /// No time has all that it asks for.
    #[error("'{0}' never fires: no time within {YEARS_MAX} years is one of its")]
    Never(String),
}

/// The times of a schedule.
#[derive(Clone)]
pub(crate) struct Timetable {
    cron: Cron,
    zone: TimeZone,
    every_hour: bool,
}

impl fmt::Debug for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timetable({} in {:?})", self.cron.pattern, self.zone.iana_name())
    }
}

impl Timetable {
    /// Reads an expression of five fields, or six with seconds, or a word such as `@daily`; and finds the zone, UTC
    /// where none is named.
    ///
    /// # Errors
    /// [`CronError`], but not that it never fires.
    pub(crate) fn parse(expression: &str, zone: &str) -> Result<Self, CronError> {
        if expression.len() > EXPRESSION_BYTES_MAX {
            return Err(CronError::TooLong(expression.len()));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(expression).map_err(|error| CronError::Expression {
            expression: expression.to_owned(),
            reason: error.to_string().trim_end_matches('.').to_owned(),
        })?;
        let name = if zone.is_empty() { UTC } else { zone };
        let found = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown());
        let zone = found.ok_or_else(|| CronError::Zone(zone.chars().take(80).collect()))?;
        let every_hour = cron.pattern.hours.values().len() == 24;
        Ok(Self { cron, zone, every_hour })
    }

    /// The same of one that somebody wants: it must fire.
    ///
    /// # Errors
    /// [`CronError`].
    pub(crate) fn wanted(expression: &str, zone: &str, now_ms: u64) -> Result<Self, CronError> {
        let timetable = Self::parse(expression, zone)?;
        let never = || CronError::Never(expression.to_owned());
        let year = timestamp(now_ms).map(|now| timetable.zone.to_datetime(now).year()).ok_or_else(never)?;
        // A search that ends soon where there is nothing.
        let mut years = CronComponent::new(1, YEARS_END, 0, 0);
        years.parse(&format!("{year}-{}", year.saturating_add(YEARS_MAX))).map_err(|_| never())?;
        let mut soon = timetable.clone();
        soon.cron.pattern.years = years;
        soon.after(now_ms).ok_or_else(never)?;
        Ok(timetable)
    }

    /// The first time after this one, Unix milliseconds, whole seconds; none: there is none.
    pub(crate) fn after(&self, ms: u64) -> Option<u64> {
        let since = timestamp(ms)?;
        let next = if self.every_hour { self.as_time_passes(since) } else { self.each_once(since) };
        u64::try_from(next?.as_millisecond()).ok()
    }

    /// The next ones, as many as there are and no more than `most`.
    pub(crate) fn next(&self, after_ms: u64, most: usize) -> Vec<u64> {
        std::iter::successors(self.after(after_ms), |at_ms| self.after(*at_ms)).take(most).collect()
    }

    /// Times of the wall clock, one after the other.
    fn each_once(&self, since: Timestamp) -> Option<Timestamp> {
        let mut wall = self.zone.to_datetime(since);
        for _ in 0..SHOWN_BEFORE_MAX {
            wall = self.cron.find_next_occurrence(&wall, false).ok()?;
            // Behind it are those that a clock which was put back shows again.
            if let Some(at) = self.shown(wall).filter(|at| *at > since) {
                return Some(at);
            }
        }
        None
    }

    /// When the wall clock shows this for the first time; where it never does, when it has gone on past it.
    fn shown(&self, wall: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                // By the clock as it will be this was just before the change.
                let before = after.to_timestamp(wall).ok()?;
                let change = self.zone.following(before).next()?;
                Some(change.timestamp())
            }
        }
    }

    /// The wall clock between two changes runs as time does.
    fn as_time_passes(&self, since: Timestamp) -> Option<Timestamp> {
        let (mut from, mut inclusive) = (since, false);
        for _ in 0..CHANGES_MAX {
            let offset = self.zone.to_offset(from);
            let wall = self.cron.find_next_occurrence(&offset.to_datetime(from), inclusive).ok()?;
            let at = offset.to_timestamp(wall).ok()?;
            let change = self.zone.following(from).next().map(|change| change.timestamp());
            match change.filter(|change| *change <= at) {
                Some(change) => (from, inclusive) = (change, true),
                None => return Some(at),
            }
        }
        None
    }
}

fn timestamp(ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()
}

#[cfg(test)]
mod tests;

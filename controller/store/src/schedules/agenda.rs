//! When the next tick of each schedule of a group is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cron::{CronError, Timetable};
use crate::model::{Place, Schedule};

/// Of a leader. What it has, it has from the records.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    times: BTreeSet<(u64, Place)>,
    /// The same, whether they are held or not.
    dues: BTreeSet<(u64, Place)>,
    entries: BTreeMap<Place, Entry>,
    /// One of each kind: many schedules have the same times.
    tables: BTreeMap<(String, String), Arc<Timetable>>,
}

#[derive(Debug)]
struct Entry {
    next_ms: u64,
    due_ms: u64,
    kind: (String, String),
    table: Arc<Timetable>,
}

impl Agenda {
    /// The schedule is this now; none: it is not there any more.
    ///
    /// # Errors
    /// When this program cannot read its times: it is left out.
    pub(super) fn put(&mut self, place: &Place, schedule: Option<&Schedule>) -> Result<(), CronError> {
        let old = self.remove(place);
        let wanted = schedule.filter(|schedule| !schedule.paused);
        let put = wanted.map_or(Ok(()), |schedule| self.insert(place, schedule));
        if let Some(kind) = old {
            self.forget(&kind);
        }
        put
    }

    fn insert(&mut self, place: &Place, schedule: &Schedule) -> Result<(), CronError> {
        let kind = (schedule.definition.cron.clone(), schedule.definition.zone.clone());
        let table = match self.tables.get(&kind) {
            Some(table) => Arc::clone(table),
            None => Arc::new(Timetable::parse(&kind.0, &kind.1)?),
        };
        if let Some(next_ms) = table.after(schedule.cursor_ms) {
            self.tables.insert(kind.clone(), Arc::clone(&table));
            self.times.insert((next_ms, place.clone()));
            self.dues.insert((next_ms, place.clone()));
            self.entries.insert(place.clone(), Entry { next_ms, due_ms: next_ms, kind, table });
        }
        Ok(())
    }

    /// When the first of them is due, Unix milliseconds.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.times.first().map(|(at_ms, _)| *at_ms)
    }

    /// When the first of them was or is due, also where it is held.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.dues.first().map(|(at_ms, _)| *at_ms)
    }

    /// Those that are due, the oldest first, and their times.
    pub(super) fn due(&self, now_ms: u64, most: usize) -> Vec<(Place, Arc<Timetable>)> {
        let due = self.times.iter().take_while(|(at_ms, _)| *at_ms <= now_ms).take(most);
        due.filter_map(|(_, place)| Some((place.clone(), Arc::clone(&self.entries.get(place)?.table))))
            .collect()
    }

    /// It is not looked at before this time: it could not be done now.
    pub(super) fn hold(&mut self, place: &Place, until_ms: u64) {
        if let Some(entry) = self.entries.get_mut(place) {
            self.times.remove(&(entry.next_ms, place.clone()));
            entry.next_ms = entry.next_ms.max(until_ms);
            self.times.insert((entry.next_ms, place.clone()));
        }
    }

    fn remove(&mut self, place: &Place) -> Option<(String, String)> {
        let old = self.entries.remove(place)?;
        self.times.remove(&(old.next_ms, place.clone()));
        self.dues.remove(&(old.due_ms, place.clone()));
        Some(old.kind)
    }

    /// A table that nobody has any more: the map's own is the only one.
    fn forget(&mut self, kind: &(String, String)) {
        if self.tables.get(kind).is_some_and(|table| Arc::strong_count(table) == 1) {
            self.tables.remove(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Definition, Missed, Name, Overlap};

    const BEGIN_MS: u64 = 1_800_000_000_000;

    fn place(name: &str) -> Place {
        Place::parse("shop", name).unwrap()
    }

    fn schedule(cron: &str, cursor_ms: u64) -> Schedule {
        let definition = Definition {
            cron: cron.to_owned(),
            zone: String::new(),
            function: Name::parse("f").unwrap(),
            data: bytes::Bytes::new(),
            missed: Missed::Once,
            overlap: Overlap::Allow,
        };
        Schedule {
            definition,
            paused: false,
            revision: 1,
            cursor_ms,
            fired: None,
            invocation: None,
            ticks: 0,
            skipped: 0,
            missed: 0,
        }
    }

    fn due(agenda: &Agenda, now_ms: u64) -> Vec<String> {
        agenda.due(now_ms, 9).into_iter().map(|(place, _)| place.name.to_string()).collect()
    }

    #[test]
    fn those_whose_time_has_come_are_due_the_oldest_first() {
        let mut agenda = Agenda::default();
        assert_eq!(agenda.next_ms(), None);
        agenda.put(&place("a"), Some(&schedule("* * * * *", BEGIN_MS))).unwrap();
        agenda.put(&place("b"), Some(&schedule("* * * * * *", BEGIN_MS))).unwrap();
        assert_eq!(agenda.next_ms(), Some(BEGIN_MS + 1000));
        assert_eq!(due(&agenda, BEGIN_MS + 999), [""; 0]);
        assert_eq!(due(&agenda, BEGIN_MS + 60_000), ["b", "a"]);
        agenda.put(&place("b"), Some(&schedule("* * * * * *", BEGIN_MS + 60_000))).unwrap();
        assert_eq!(due(&agenda, BEGIN_MS + 60_000), ["a"]);
        agenda.hold(&place("a"), BEGIN_MS + 90_000);
        assert_eq!(due(&agenda, BEGIN_MS + 89_999), ["b"]);
        assert_eq!(agenda.oldest_ms(), Some(BEGIN_MS + 60_000), "it waits since then");
        assert_eq!(due(&agenda, BEGIN_MS + 90_000), ["b", "a"]);
    }

    #[test]
    fn what_is_paused_dropped_or_unreadable_is_not_due_and_nothing_of_it_is_left() {
        let mut agenda = Agenda::default();
        let running = schedule("* * * * *", BEGIN_MS);
        let paused = Schedule { paused: true, ..running.clone() };
        for gone in [Some(&paused), None] {
            agenda.put(&place("a"), Some(&running)).unwrap();
            agenda.put(&place("b"), Some(&running)).unwrap();
            assert_eq!(agenda.tables.len(), 1, "they share their times");
            agenda.put(&place("a"), gone).unwrap();
            assert_eq!((due(&agenda, u64::MAX), agenda.tables.len()), (vec!["b".to_owned()], 1));
            agenda.put(&place("b"), gone).unwrap();
            assert!(agenda.times.is_empty() && agenda.entries.is_empty() && agenda.tables.is_empty());
        }
        agenda.put(&place("a"), Some(&running)).unwrap();
        assert!(agenda.put(&place("a"), Some(&schedule("of a newer release", BEGIN_MS))).is_err());
        assert_eq!(agenda.next_ms(), None);
    }
}

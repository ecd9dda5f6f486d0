//! What was heard of names, for as long as their zones say, within bounds.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::upstream::Answer;

/// Names that are remembered: forty functions that each call all of the hundred hosts that they may be granted. An entry
/// has sixteen addresses at most, all of them together two megabytes.
const ENTRIES_MAX: usize = 4096;
/// The shortest time that anything is kept: a zone that forbids keeping would else be asked for each request.
const KEPT_MIN: Duration = Duration::from_secs(1);
/// The longest time that addresses are kept: nobody can make a node forget one that was wrong.
const KEPT_MAX: Duration = Duration::from_secs(5 * 60);
/// The longest time that a name is kept which has no address: it may get one soon.
const NOTHING_KEPT_MAX: Duration = Duration::from_secs(30);

/// Answers by name.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<Arc<str>, Entry>,
    /// When each ends, the first in front.
    ends: BTreeSet<(Instant, Arc<str>)>,
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    end: Instant,
}

impl Cache {
    /// What is known of a name at present.
    pub(super) fn get(&self, name: &str, now: Instant) -> Option<&Answer> {
        self.entries.get(name).filter(|entry| now < entry.end).map(|entry| &entry.answer)
    }

    /// Keeps an answer for about as long as its zone says. Where there is no room what would end first goes.
    pub(super) fn put(&mut self, name: &Arc<str>, answer: Answer, ttl: Duration, now: Instant) {
        let most = if answer.is_ok() { KEPT_MAX } else { NOTHING_KEPT_MAX };
        let end = now + ttl.clamp(KEPT_MIN, most);
        self.remove(name);
        while self.ends.first().is_some_and(|(end, _)| *end <= now || self.entries.len() >= ENTRIES_MAX) {
            if let Some((_, gone)) = self.ends.pop_first() {
                self.entries.remove(&gone);
            }
        }
        self.ends.insert((end, Arc::clone(name)));
        self.entries.insert(Arc::clone(name), Entry { answer, end });
    }

    fn remove(&mut self, name: &Arc<str>) {
        if let Some(entry) = self.entries.remove(name) {
            self.ends.remove(&(entry.end, Arc::clone(name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::upstream::Unresolved;
    use super::*;
    use crate::clock;

    fn one() -> Answer {
        Ok(["10.0.0.1".parse().unwrap()].into())
    }

    fn none() -> Answer {
        Err(Unresolved::Nothing("'a' has no address".to_owned()))
    }

    #[test]
    fn an_answer_is_kept_for_its_time_within_bounds() {
        let (now, name) = (clock::now(), Arc::from("a"));
        for (answer, ttl, kept) in [
            (one(), 20, 20),
            (one(), 0, 1),
            (one(), u64::from(u32::MAX), 300),
            (none(), 20, 20),
            (none(), 0, 1),
            (none(), 3600, 30),
        ] {
            let mut cache = Cache::default();
            cache.put(&name, answer.clone(), Duration::from_secs(ttl), now);
            let known = |seconds, millis| {
                let at = now + Duration::from_secs(seconds) - Duration::from_millis(millis);
                cache.get("a", at) == Some(&answer)
            };
            assert!(known(kept, 1) && !known(kept, 0), "a ttl of {ttl} s is kept for {kept} s");
        }
    }

    #[test]
    fn there_are_no_more_than_so_many_and_those_that_end_first_go() {
        let (now, mut cache) = (clock::now(), Cache::default());
        let name = |number: usize| Arc::<str>::from(format!("n{number}"));
        for number in 0..ENTRIES_MAX {
            cache.put(&name(number), one(), Duration::from_secs(100 + number as u64 % 100), now);
        }
        cache.put(&name(0), one(), Duration::from_secs(200), now);
        assert_eq!(cache.entries.len(), ENTRIES_MAX, "the same one takes no second place");
        cache.put(&name(ENTRIES_MAX), one(), Duration::from_secs(1), now);
        assert_eq!((cache.entries.len(), cache.ends.len()), (ENTRIES_MAX, ENTRIES_MAX));
        assert!(cache.get("n0", now).is_some() && cache.get("n100", now).is_none(), "n100 ended first");
        // What has ended makes room before anything that has not.
        let later = now + Duration::from_secs(150);
        cache.put(&name(1), one(), Duration::from_secs(1), later);
        assert!(cache.entries.len() < ENTRIES_MAX && cache.get("n160", later).is_some());
        assert_eq!(cache.entries.len(), cache.ends.len());
    }
}

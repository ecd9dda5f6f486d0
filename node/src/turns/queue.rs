//! Whose compilation is next: fair by namespace and size, the short before the long, and nobody waits for ever. Pure.
//!
//! There are two places. One takes only what is small, so that a small artifact never waits behind a large one that is
//! being compiled; the other one takes all. For a place that is free, the namespace for which the least was compiled is
//! chosen, and of its artifacts the one that would be done first if each had begun when it came.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_proto::id::Namespace;

/// What fits into the place for small ones: a component with a language's whole runtime in it is larger.
pub const SMALL_BYTES_MAX: u64 = 1 << 20;
/// Compilations at once: each uses all the cores that it gets, so that more than one for each kind would only need memory.
pub const PLACES: usize = 2;
/// Bytes that are compiled in a second, about: what decides whether a long one has waited long enough.
const BYTES_A_SECOND: u64 = 512 << 10;
/// A compilation counts as no longer than that, so that it waits no longer behind shorter ones of its namespace.
const EXPECTED_MAX: Duration = Duration::from_secs(60);
/// What the smallest one costs: a process, and the check before it.
const COST_MIN: u64 = 100 << 10;
/// Whoever was passed so often is next, whosever turn it would be, but for every second time: namespaces cost nothing, and
/// each new one would have its part before.
const PASSES_MAX: u64 = 32;
/// Who is farther behind is not told how far: to know it would cost more than it says.
pub const AHEAD_MAX: u32 = 100;

/// One compilation, from when it was announced until it is done.
#[derive(Debug, Clone)]
struct Job {
    namespace: Namespace,
    bytes: u64,
    stage: Stage,
    /// How many had begun when it came.
    begun_before: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is on its way: work that will come.
    Announced,
    /// It waits, and would be done by then if it had begun when it came. Counted as `now` is.
    Waiting(Duration),
    /// It is being compiled, in this place.
    Running(Place),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Any,
    Small,
}

/// All compilations of a node. Each has a number, by which it is asked about.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    jobs: BTreeMap<u64, Job>,
    last: u64,
    /// What was compiled for each namespace, bytes, since the queue was empty. One that comes later begins at the floor:
    /// nobody saves up turns.
    spent: BTreeMap<Namespace, u64>,
    /// What a namespace has had that wanted its part all the time: each compilation that is over adds its cost, divided by those
    /// that share it (fair queueing's virtual time: Demers, Keshav, Shenker 1989).
    floor: u64,
    /// How many have begun.
    begun: u64,
    /// The last one began because it had been passed too often.
    hurried: bool,
}

impl Queue {
    /// Work that will come.
    pub fn announce(&mut self, namespace: Namespace, bytes: u64) -> u64 {
        self.last += 1;
        self.jobs.insert(self.last, Job { namespace, bytes, stage: Stage::Announced, begun_before: 0 });
        self.last
    }

    /// It has come, and may begin when it is its turn. `now` is the time since any fixed moment.
    pub fn enter(&mut self, number: u64, now: Duration) {
        let floor = self.floor;
        let Some(job) = self.jobs.get(&number).filter(|job| job.stage == Stage::Announced) else { return };
        let (namespace, expected) = (job.namespace.clone(), expected(job.bytes));
        if !self.jobs.values().any(|job| job.namespace == namespace && job.stage != Stage::Announced) {
            let spent = self.spent.entry(namespace).or_default();
            *spent = floor.max(*spent);
        }
        let begun_before = self.begun;
        if let Some(job) = self.jobs.get_mut(&number) {
            (job.stage, job.begun_before) = (Stage::Waiting(now + expected), begun_before);
        }
        self.fill();
    }

    /// It is done, or nobody wants it any more.
    pub fn leave(&mut self, number: u64) {
        let sharers = self.active().len() as u64;
        let left = self.jobs.remove(&number);
        if let Some(job) = left.filter(|job| matches!(job.stage, Stage::Running(_))) {
            self.floor = self.floor.saturating_add(cost(job.bytes) / sharers.max(1));
        }
        self.fill();
        if self.jobs.is_empty() {
            (self.spent, self.floor) = (BTreeMap::new(), 0);
        }
        // Who has had no more than a new one, and wants nothing, is as good as new.
        let (floor, active) = (self.floor, self.active());
        self.spent.retain(|namespace, spent| *spent > floor || active.contains(namespace));
    }

    /// Whether it is its turn.
    #[must_use]
    pub fn runs(&self, number: u64) -> bool {
        self.jobs.get(&number).is_some_and(|job| matches!(job.stage, Stage::Running(_)))
    }

    /// Bytes that are to be compiled, whether they wait, run or are on their way.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.jobs.values().map(|job| job.bytes).fold(0, u64::saturating_add)
    }

    /// How many are compiled before each one that waits, if nothing else comes: those that run, and those whose turn is
    /// earlier. At most [`AHEAD_MAX`].
    #[must_use]
    pub fn ahead(&self) -> BTreeMap<u64, u32> {
        let mut later = self.clone();
        let waiting = self.jobs.iter().filter(|(_, job)| matches!(job.stage, Stage::Waiting(_)));
        let mut ahead: BTreeMap<u64, u32> = waiting.map(|(number, _)| (*number, AHEAD_MAX)).collect();
        let running = self.jobs.keys().filter(|number| self.runs(**number)).count();
        let first = u32::try_from(running).unwrap_or(AHEAD_MAX);
        for before in first..AHEAD_MAX {
            let Some(next) = later.next(Place::Any) else { break };
            later.begin(next, Place::Any);
            ahead.insert(next, before);
        }
        ahead
    }

    /// Gives free places away.
    fn fill(&mut self) {
        // A small one goes where only small ones may: the other place stays for those that need it.
        for place in [Place::Small, Place::Any] {
            let taken = self.jobs.values().any(|job| job.stage == Stage::Running(place));
            if let Some(next) = self.next(place).filter(|_| !taken) {
                self.begin(next, place);
            }
        }
    }

    fn next(&self, place: Place) -> Option<u64> {
        let waiting = self.jobs.iter().filter_map(|(number, job)| match job.stage {
            Stage::Waiting(done_at) => Some((number, job, done_at)),
            Stage::Announced | Stage::Running(_) => None,
        });
        let fits = |job: &Job| place == Place::Any || job.bytes <= SMALL_BYTES_MAX;
        let spent = |job: &Job| self.spent.get(&job.namespace).copied().unwrap_or_default();
        let waiting = waiting.filter(|(_, job, _)| fits(job));
        let passed = waiting.clone().filter(|(_, job, _)| !self.hurried && self.is_passed(job));
        let passed = passed.min_by_key(|(number, job, _)| (job.begun_before, **number));
        let next = || waiting.min_by_key(|(number, job, done_at)| (spent(job), *done_at, **number));
        passed.or_else(next).map(|(number, _, _)| *number)
    }

    /// Whether so many have begun since it came that it is to be next.
    fn is_passed(&self, job: &Job) -> bool {
        self.begun.saturating_sub(job.begun_before) >= PASSES_MAX
    }

    fn begin(&mut self, number: u64, place: Place) {
        self.hurried = !self.hurried && self.jobs.get(&number).is_some_and(|job| self.is_passed(job));
        self.begun += 1;
        let Some(job) = self.jobs.get_mut(&number) else { return };
        job.stage = Stage::Running(place);
        let spent = self.spent.entry(job.namespace.clone()).or_default();
        *spent = spent.saturating_add(cost(job.bytes));
    }

    /// Namespaces of which something waits or runs.
    fn active(&self) -> BTreeSet<Namespace> {
        let here = self.jobs.values().filter(|job| job.stage != Stage::Announced);
        here.map(|job| job.namespace.clone()).collect()
    }
}

fn cost(bytes: u64) -> u64 {
    bytes.max(COST_MIN)
}

fn expected(bytes: u64) -> Duration {
    Duration::from_millis(bytes.saturating_mul(1000) / BYTES_A_SECOND).min(EXPECTED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const SMALL: u64 = 22 << 10;

    /// Two places that compile [`BYTES_A_SECOND`] each, and arrivals: when, whose, how large.
    fn simulate(arrivals: &[(u64, &str, u64)]) -> Vec<(Duration, Duration)> {
        let mut queue = Queue::default();
        let mut coming: Vec<_> = arrivals.iter().enumerate().collect();
        coming.sort_by_key(|(index, (at, _, _))| (*at, *index));
        let (mut numbers, mut ends) = (BTreeMap::new(), BTreeMap::<u64, Duration>::new());
        let mut times = vec![(Duration::ZERO, Duration::ZERO); arrivals.len()];
        let mut coming = coming.into_iter().peekable();
        loop {
            let end = ends.iter().map(|(number, at)| (*at, *number)).min();
            let arrives = coming.peek().map(|(_, (at, _, _))| Duration::from_secs(*at));
            let now = match (arrives, end) {
                (Some(at), end) if end.is_none_or(|(end, _)| at < end) => {
                    let (index, (_, namespace, bytes)) = coming.next().unwrap();
                    let number = queue.announce(namespace.parse().unwrap(), *bytes);
                    numbers.insert(number, (index, *bytes));
                    queue.enter(number, at);
                    at
                }
                (_, Some((end, number))) => {
                    ends.remove(&number);
                    times[numbers[&number].0].1 = end;
                    queue.leave(number);
                    end
                }
                (_, None) => break,
            };
            for (number, (index, bytes)) in &numbers {
                if queue.runs(*number) && !ends.contains_key(number) {
                    times[*index].0 = now;
                    ends.insert(*number, now + Duration::from_millis(bytes * 1000 / BYTES_A_SECOND));
                }
            }
            let running = numbers.keys().filter(|number| queue.runs(**number)).count();
            assert!(running <= PLACES, "{running} at once");
        }
        assert_eq!(queue.work(), 0);
        times
    }

    fn waited(arrivals: &[(u64, &str, u64)], index: usize) -> Duration {
        simulate(arrivals)[index].0 - Duration::from_secs(arrivals[index].0)
    }

    #[test]
    fn a_small_one_does_not_wait_behind_large_ones() {
        let large = (0, "a", 12 * MIB);
        for namespace in ["a", "b"] {
            let arrivals = [large, large, large, large, (1, namespace, SMALL)];
            assert_eq!(waited(&arrivals, 4), Duration::ZERO, "of {namespace}");
        }
        let late = waited(&[large, large, large, large], 3);
        assert_eq!(late, Duration::from_secs(72), "the large ones go one after the other: {late:?}");
    }

    #[test]
    fn the_short_go_before_the_long_of_one_namespace() {
        let times = simulate(&[(0, "a", 20 * MIB), (0, "a", 20 * MIB), (1, "a", 3 * MIB), (2, "a", 2 * MIB)]);
        let begun: Vec<_> = times.iter().map(|(begun, _)| begun.as_secs()).collect();
        assert_eq!(begun, [0, 50, 44, 40]);
    }

    #[test]
    fn a_long_one_is_not_passed_by_what_comes_later_for_ever() {
        let mut arrivals = vec![(0, "a", 200 * MIB)];
        arrivals.extend((0..300).map(|at| (at, "a", 2 * MIB)));
        arrivals.push((1, "a", 200 * MIB));
        let begun = simulate(&arrivals)[301].0;
        println!("the second of 200 MiB began after {begun:?}");
        // The first takes 400 s. Those that came within a minute of it, 4 s each, go first.
        assert!(begun > Duration::from_secs(400) && begun < Duration::from_secs(400 + 65 * 4), "{begun:?}");
    }

    #[test]
    fn a_namespace_with_many_holds_up_no_other() {
        let mut arrivals = vec![(0, "a", 4 * MIB); 20];
        arrivals.push((1, "b", 4 * MIB));
        arrivals.push((1, "c", 4 * MIB));
        let times = simulate(&arrivals);
        assert_eq!([times[20].0.as_secs(), times[21].0.as_secs()], [8, 16], "{times:?}");
        // Who has nothing to compile saves no turns up.
        let mut arrivals = vec![(0, "a", 4 * MIB); 20];
        arrivals.extend([(60, "b", 4 * MIB); 20]);
        let times = simulate(&arrivals);
        let of_b = times[20..].iter().filter(|(begun, _)| *begun < Duration::from_secs(120)).count();
        assert!((3..=5).contains(&of_b), "{of_b} of b between 60 s and 120 s, of 7");
    }

    #[test]
    fn however_many_new_ones_come_whoever_waits_has_its_turn() {
        // Two of one namespace, and after the first one another new namespace every second, always with some that wait.
        let mut arrivals = vec![(0, "a".to_owned(), 12 * MIB), (0, "a".to_owned(), 12 * MIB)];
        arrivals.extend((0..400).map(|at| (at, format!("m{at}"), 2 * MIB)));
        let borrowed: Vec<_> =
            arrivals.iter().map(|(at, name, bytes)| (*at, name.as_str(), *bytes)).collect();
        let begun = simulate(&borrowed)[1].0;
        println!("the second of 12 MiB began after {begun:?}");
        // All that came would take 1,600 s, 4 s each.
        assert!(begun < Duration::from_secs(24 + (PASSES_MAX + 2) * 4), "{begun:?}");
        let mut queue = Queue::default();
        for index in 0..1_000_u64 {
            let number = queue.announce(format!("m{index}").parse().unwrap(), 2 * MIB);
            queue.enter(number, Duration::ZERO);
            if let Some(done) = number.checked_sub(2).filter(|done| queue.runs(*done)) {
                queue.leave(done);
            }
        }
        assert!(queue.spent.len() <= queue.jobs.len() + 2, "{} {}", queue.spent.len(), queue.jobs.len());
    }

    #[test]
    fn small_ones_of_many_are_taken_in_turns_and_use_both_places() {
        let mut queue = Queue::default();
        let names = ["a", "a", "a", "b", "c"];
        let numbers: Vec<_> = names.iter().map(|name| queue.announce(name.parse().unwrap(), SMALL)).collect();
        assert_eq!(
            (queue.work(), queue.ahead().len()),
            (5 * SMALL, 0),
            "announced is work, and waits for nothing"
        );
        numbers.iter().for_each(|number| queue.enter(*number, Duration::ZERO));
        let running = |queue: &Queue| numbers.iter().filter(|number| queue.runs(**number)).count();
        assert_eq!(running(&queue), PLACES);
        assert_eq!(queue.ahead(), [(numbers[3], 2), (numbers[4], 3), (numbers[2], 4)].into());
        queue.leave(numbers[4]);
        assert_eq!(
            queue.ahead(),
            [(numbers[3], 2), (numbers[2], 3)].into(),
            "one that leaves is waited for no more"
        );
        queue.leave(numbers[0]);
        assert!(queue.runs(numbers[3]));
        numbers.iter().for_each(|number| queue.leave(*number));
        assert!(queue.spent.is_empty() && queue.work() == 0);
    }

    #[test]
    fn how_many_are_ahead_is_told_of_each_and_has_a_bound() {
        let mut queue = Queue::default();
        for _ in 0..3 * AHEAD_MAX {
            let number = queue.announce(Namespace::default(), 2 * MIB);
            queue.enter(number, Duration::ZERO);
        }
        let ahead = queue.ahead();
        assert_eq!((ahead.len(), ahead[&2], ahead[&4]), (299, 1, 3));
        assert_eq!(ahead[&300], AHEAD_MAX);
    }
}

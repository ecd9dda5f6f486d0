//! What a schedule has to do by now: which of its times fire, and which are left out.

use crate::cron::Timetable;
use crate::model::Missed;

/// A time that is older was missed: elections and restarts are over sooner.
pub(super) const LATE_MS: u64 = 60_000;
/// Missed times that fire of a schedule which wants all of them.
const ALL_MAX: u64 = 100;
/// Times that are counted of those that are left out at once: where there were more it was at least so many.
const COUNTED_MAX: usize = 1000;
/// Ticks of one schedule that are said in one round: one that catches up holds up nobody.
const STEPS_MAX: usize = 8;

/// One tick to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Unix milliseconds.
    pub(super) at_ms: u64,
    /// Times that are left out with it, at least: before it, and itself where it does not fire.
    pub(super) missed: u64,
    /// Whether it fires.
    pub(super) fires: bool,
}

/// Whether a time was missed.
pub(super) const fn is_late(at_ms: u64, now_ms: u64) -> bool {
    at_ms < now_ms.saturating_sub(LATE_MS)
}

/// The first ticks of a schedule after its cursor and up to now, to be said in this order; none: it is on time. So
/// many late ones have `fired` already since it was on time last.
pub(super) fn steps(
    policy: Missed,
    timetable: &Timetable,
    mut cursor_ms: u64,
    now_ms: u64,
    fired: u64,
) -> Vec<Step> {
    let each = if policy == Missed::All { ALL_MAX.saturating_sub(fired) } else { 0 };
    let each = usize::try_from(each).unwrap_or(STEPS_MAX).min(STEPS_MAX);
    let late = times(timetable, cursor_ms).take_while(|at_ms| is_late(*at_ms, now_ms)).take(each);
    let mut steps: Vec<Step> = late.map(|at_ms| Step { at_ms, missed: 0, fires: true }).collect();
    cursor_ms = steps.last().map_or(cursor_ms, |step| step.at_ms);
    if steps.len() < STEPS_MAX
        && let Some(at_ms) = newest_late(timetable, cursor_ms, now_ms)
    {
        let fires = policy != Missed::Skip;
        let passed = times(timetable, cursor_ms).take_while(|passed_ms| *passed_ms < at_ms);
        let passed = u64::try_from(passed.take(COUNTED_MAX).count()).unwrap_or_default();
        steps.push(Step { at_ms, missed: passed.saturating_add(u64::from(!fires)), fires });
        cursor_ms = at_ms;
    }
    let room = STEPS_MAX.saturating_sub(steps.len());
    let punctual = times(timetable, cursor_ms).take_while(|at_ms| *at_ms <= now_ms).take(room);
    steps.extend(punctual.map(|at_ms| Step { at_ms, missed: 0, fires: true }));
    steps
}

fn times(timetable: &Timetable, cursor_ms: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(timetable.after(cursor_ms), |at_ms| timetable.after(*at_ms))
}

/// The last time after the cursor that was missed, found by halves: however many there are, some dozens are looked at.
fn newest_late(timetable: &Timetable, cursor_ms: u64, now_ms: u64) -> Option<u64> {
    let late_after = |ms| timetable.after(ms).filter(|at_ms| is_late(*at_ms, now_ms));
    let mut newest_ms = late_after(cursor_ms)?;
    // None is late behind `end_ms`.
    let mut end_ms = now_ms;
    while newest_ms < end_ms {
        let middle_ms = newest_ms.midpoint(end_ms);
        match late_after(middle_ms) {
            Some(at_ms) => newest_ms = at_ms,
            None => end_ms = middle_ms,
        }
    }
    Some(newest_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;
    /// A whole hour.
    const BEGIN_MS: u64 = 1_800_000_000_000;

    /// What is said in all rounds.
    fn planned(policy: Missed, expression: &str, passed_ms: u64) -> Vec<Step> {
        let timetable = Timetable::parse(expression, "").unwrap();
        let now_ms = BEGIN_MS + passed_ms;
        let (mut all, mut cursor_ms, mut fired) = (Vec::<Step>::new(), BEGIN_MS, 0);
        loop {
            let round = steps(policy, &timetable, cursor_ms, now_ms, fired);
            assert!(round.len() <= STEPS_MAX, "{round:?}");
            let Some(last) = round.last() else { return all };
            assert!(last.at_ms > cursor_ms);
            cursor_ms = last.at_ms;
            fired += round.iter().filter(|step| step.fires && is_late(step.at_ms, now_ms)).count() as u64;
            all.extend(round);
        }
    }

    const fn fires(minutes: u64, missed: u64) -> Step {
        Step { at_ms: BEGIN_MS + minutes * MINUTE_MS, missed, fires: true }
    }

    #[test]
    fn a_time_that_has_just_come_fires() {
        for policy in [Missed::Skip, Missed::Once, Missed::All] {
            assert_eq!(planned(policy, "* * * * *", MINUTE_MS - 1), []);
            assert_eq!(planned(policy, "* * * * *", MINUTE_MS), [fires(1, 0)]);
            let seconds = planned(policy, "* * * * * *", 3000);
            assert_eq!(seconds.len(), 3, "a leader that was gone for three seconds");
            assert!(seconds.iter().all(|step| step.fires && step.missed == 0));
        }
    }

    #[test]
    fn what_was_missed_goes_by_what_was_asked_for() {
        let late = 10 * MINUTE_MS + 1;
        let skipped = Step { at_ms: BEGIN_MS + 9 * MINUTE_MS, missed: 9, fires: false };
        assert_eq!(planned(Missed::Skip, "* * * * *", late), [skipped, fires(10, 0)]);
        assert_eq!(planned(Missed::Once, "* * * * *", late), [fires(9, 8), fires(10, 0)]);
        let all: Vec<_> = (1..=10).map(|minute| fires(minute, 0)).collect();
        assert_eq!(planned(Missed::All, "* * * * *", late), all);
        let day = planned(Missed::Once, "0 * * * *", 24 * 60 * MINUTE_MS + 30 * MINUTE_MS);
        assert_eq!(day, [fires(24 * 60, 23)], "the newest, though it is late");
    }

    #[test]
    fn all_is_a_hundred_and_then_one_that_says_what_was_left_out() {
        let planned = planned(Missed::All, "* * * * *", 202 * MINUTE_MS + 1);
        let last = &planned[98..];
        assert_eq!(last, [fires(99, 0), fires(100, 0), fires(201, 100), fires(202, 0)]);
        let told: u64 = planned.iter().map(|step| step.missed + u64::from(step.fires)).sum();
        assert_eq!(told, 202, "each is fired or counted");
    }

    #[test]
    fn the_newest_of_however_many_is_found_and_at_least_some_are_counted() {
        let planned = planned(Missed::Once, "* * * * * *", 10 * 365 * 24 * 60 * MINUTE_MS + 500);
        let late_ms = BEGIN_MS + (10 * 365 * 24 * 60 - 1) * MINUTE_MS;
        assert_eq!(planned[0], Step { at_ms: late_ms, missed: 1000, fires: true });
        assert_eq!(planned.len(), 1 + 60, "and the last minute");
        // A burst that is long over.
        let burst = self::planned(Missed::Skip, "* * 3 * * *", 24 * 60 * MINUTE_MS);
        let midnight_ms = BEGIN_MS / (24 * 60 * MINUTE_MS) * 24 * 60 * MINUTE_MS;
        let last_ms = midnight_ms + 24 * 60 * MINUTE_MS + 4 * 60 * MINUTE_MS - 1000;
        assert_eq!(burst, [Step { at_ms: last_ms, missed: 1001, fires: false }]);
    }
}

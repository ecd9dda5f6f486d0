//! What a schedule has to do by now: which of its times fire, and which are left out.

use crate::cron::Timetable;
use crate::model::Missed;

/// A time that is older was missed: elections and restarts are over sooner.
pub(super) const LATE_MS: u64 = 60_000;
/// Missed times that fire of a schedule which wants all of them.
const ALL_MAX: u64 = 100;
/// Times that are looked at for one schedule at once: a day of seconds. What is left is looked at next.
const TIMES_MAX: u32 = 100_000;

/// One tick to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Unix milliseconds.
    pub(super) at_ms: u64,
    /// Times that are left out with it: before it, and itself where it does not fire.
    pub(super) missed: u64,
    /// Whether it fires.
    pub(super) fires: bool,
}

/// The ticks of a schedule after its cursor and up to now, to be said in this order.
pub(super) fn steps(policy: Missed, timetable: &Timetable, cursor_ms: u64, now_ms: u64) -> Vec<Step> {
    let late_ms = now_ms.saturating_sub(LATE_MS);
    let (mut steps, mut left_out, mut newest) = (Vec::new(), 0, None);
    let mut fired = 0;
    let times = std::iter::successors(timetable.after(cursor_ms), |at_ms| timetable.after(*at_ms));
    let mut times = times.take(TIMES_MAX as usize).take_while(|at_ms| *at_ms <= now_ms);
    let mut on_time = None;
    for at_ms in times.by_ref() {
        if at_ms >= late_ms {
            on_time = Some(at_ms);
            break;
        }
        if policy == Missed::All && fired < ALL_MAX {
            fired += 1;
            steps.push(Step { at_ms, missed: 0, fires: true });
        } else {
            left_out += 1;
            newest = Some(at_ms);
        }
    }
    if let Some(at_ms) = newest {
        // Where not all were looked at, the newest of them is not known yet.
        let fires = policy != Missed::Skip && fired + left_out < u64::from(TIMES_MAX);
        steps.push(Step { at_ms, missed: left_out - u64::from(fires), fires });
    }
    let punctual = on_time.into_iter().chain(times);
    steps.extend(punctual.map(|at_ms| Step { at_ms, missed: 0, fires: true }));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;
    /// A whole hour.
    const BEGIN_MS: u64 = 1_800_000_000_000;

    fn planned(policy: Missed, expression: &str, passed_ms: u64) -> Vec<Step> {
        let timetable = Timetable::parse(expression, "").unwrap();
        steps(policy, &timetable, BEGIN_MS, BEGIN_MS + passed_ms)
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
    fn what_is_too_much_for_once_goes_on_where_it_ended() {
        let timetable = Timetable::parse("* * * * * *", "").unwrap();
        let now_ms = BEGIN_MS + 150_000_500;
        let (mut cursor_ms, mut told, mut fired) = (BEGIN_MS, 0, 0);
        for _ in 0..3 {
            for step in steps(Missed::Once, &timetable, cursor_ms, now_ms) {
                assert!(step.at_ms > cursor_ms);
                cursor_ms = step.at_ms;
                told += step.missed + u64::from(step.fires);
                fired += u64::from(step.fires);
            }
        }
        assert_eq!((told, cursor_ms), (150_000, BEGIN_MS + 150_000_000));
        assert_eq!(fired, 1 + 60, "the newest that was missed, and the last minute");
    }
}

//! The time by which schedules fire: that of the group's clocks, run by this process's own steady one. It never goes
//! back, and a clock that jumps does not take it along.
//!
//! A jump is followed at twice the speed forwards and at half the speed backwards, so that each time in between comes
//! once and in its order: none is passed over, and none comes twice. One forwards that is no small one and stays is
//! a clock that was set right, or a machine that slept: it is taken, and what was missed goes by what was asked for.

use std::time::Duration;

use super::plan::LATE_MS;

/// A clock that is set right as it goes may go on by so much. What is more is a jump.
const STEP_MAX_MS: u64 = 1000;
/// What is further away than what counts as late, for so long, stays: others have been asked some times by then.
const STAYS_AFTER: Duration = Duration::from_secs(5);

/// The time, as it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// By the steady clock.
    at: Duration,
    now_ms: u64,
    apart: Option<Apart>,
}

/// The clocks show something else by more than what counts as late.
#[derive(Debug, Clone, Copy)]
struct Apart {
    /// By the steady clock.
    since: Duration,
    ahead: bool,
    told: bool,
}

/// What is worth a warning: the clocks have stayed far away, by so many milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Jump {
    /// They are ahead, and their time is taken.
    Ahead(u64),
    /// They are behind, and are waited for at half the speed.
    Behind(u64),
}

impl Pace {
    /// From what the clocks say.
    pub(super) const fn from(at: Duration, unix_ms: u64) -> Self {
        Self { at, now_ms: unix_ms, apart: None }
    }

    /// Goes on to where the steady clock is, towards what the clocks say. The time, Unix milliseconds, and what is to
    /// be told, once.
    pub(super) fn advance(&mut self, at: Duration, unix_ms: u64) -> (u64, Option<Jump>) {
        let passed_ms = millis(at.saturating_sub(self.at));
        let steady_ms = self.now_ms.saturating_add(passed_ms);
        let jump = self.notice(at, steady_ms, unix_ms);
        let next_ms = if unix_ms < steady_ms {
            self.now_ms.saturating_add(passed_ms / 2).max(unix_ms)
        } else if unix_ms - steady_ms <= STEP_MAX_MS || matches!(jump, Some(Jump::Ahead(_))) {
            unix_ms
        } else {
            steady_ms.saturating_add(passed_ms).min(unix_ms)
        };
        // A part of a millisecond is counted when it is one.
        self.at = self.at.saturating_add(Duration::from_millis(passed_ms));
        self.now_ms = self.now_ms.max(next_ms);
        (self.now_ms, jump)
    }

    fn notice(&mut self, at: Duration, steady_ms: u64, unix_ms: u64) -> Option<Jump> {
        let (off_ms, ahead) = (unix_ms.abs_diff(steady_ms), unix_ms > steady_ms);
        if off_ms <= LATE_MS {
            self.apart = None;
            return None;
        }
        let known = self.apart.filter(|apart| apart.ahead == ahead);
        let mut apart = known.unwrap_or(Apart { since: at, ahead, told: false });
        let stays = at.saturating_sub(apart.since) >= STAYS_AFTER;
        let jump = if ahead { Jump::Ahead(off_ms) } else { Jump::Behind(off_ms) };
        let told = (stays && !apart.told).then_some(jump);
        apart.told |= stays;
        // What is taken is over.
        self.apart = Some(apart).filter(|apart| !(apart.ahead && apart.told));
        told
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN_MS: u64 = 1_800_000_000_000;
    const HOUR_MS: u64 = 3_600_000;

    /// What a time is after so many seconds, asked four times a second, where a clock shows `wall` milliseconds more
    /// or less.
    fn run(pace: &mut Pace, from_s: u64, seconds: u64, off_ms: i64) -> Vec<u64> {
        let one = |quarter: u64| {
            let at = Duration::from_millis(from_s * 1000 + quarter * 250);
            pace.advance(at, (BEGIN_MS + millis(at)).saturating_add_signed(off_ms)).0
        };
        (1..=seconds * 4).map(one).collect()
    }

    fn is_gentle(times: &[u64]) -> bool {
        times.windows(2).all(|two| two[1] > two[0] && two[1] - two[0] <= 500)
    }

    #[test]
    fn it_goes_with_a_clock_that_is_right() {
        let mut pace = Pace::from(Duration::ZERO, BEGIN_MS);
        assert_eq!(run(&mut pace, 0, 60, 0).last(), Some(&(BEGIN_MS + 60_000)));
        assert_eq!(run(&mut pace, 60, 1, 400).last(), Some(&(BEGIN_MS + 61_400)), "a clock is set right");
        let behind = run(&mut pace, 61, 2, 0);
        assert!(behind.windows(2).all(|two| two[0] <= two[1]), "and never goes back: {behind:?}");
        assert_eq!(behind.last(), Some(&(BEGIN_MS + 63_000)));
    }

    #[test]
    fn a_jump_that_does_not_stay_passes_over_nothing_and_repeats_nothing() {
        let mut pace = Pace::from(Duration::ZERO, BEGIN_MS);
        let hour = i64::try_from(HOUR_MS).unwrap();
        let forwards = run(&mut pace, 0, 5, hour);
        assert!(is_gentle(&forwards), "{forwards:?}");
        assert_eq!(forwards.last(), Some(&(BEGIN_MS + 10_000)), "twice as fast, and no faster");
        let back = run(&mut pace, 5, 15, 0);
        assert!(is_gentle(&back), "{back:?}");
        assert_eq!(back.last(), Some(&(BEGIN_MS + 20_000)), "they have met");
        let backwards = run(&mut pace, 20, 30, -hour);
        assert!(is_gentle(&backwards), "{backwards:?}");
        assert_eq!(backwards.last(), Some(&(BEGIN_MS + 35_000)), "half as fast");
    }

    #[test]
    fn an_hour_forwards_that_stays_is_taken_and_told_once() {
        let mut pace = Pace::from(Duration::ZERO, BEGIN_MS);
        let mut told = Vec::new();
        for second in 1..=60 {
            let at = Duration::from_secs(second);
            let (now_ms, jump) = pace.advance(at, BEGIN_MS + millis(at) + HOUR_MS);
            assert_eq!(now_ms >= BEGIN_MS + HOUR_MS, second >= 6, "at {second}: {now_ms}");
            told.extend(jump);
        }
        assert_eq!(told, [Jump::Ahead(HOUR_MS - 5000)]);
        for second in 61..=120 {
            let at = Duration::from_secs(second);
            told.extend(pace.advance(at, BEGIN_MS + millis(at)).1);
        }
        assert!(matches!(told[..], [_, Jump::Behind(_)]), "{told:?}");
    }

    #[test]
    fn a_clock_that_was_set_right_is_reached() {
        let mut pace = Pace::from(Duration::ZERO, BEGIN_MS - 50_000);
        let times = run(&mut pace, 0, 51, 0);
        assert!(times.windows(2).all(|two| two[1] > two[0] && two[1] - two[0] <= 250 + STEP_MAX_MS));
        assert_eq!(times.last(), Some(&(BEGIN_MS + 51_000)));
    }
}

//! When a child that ended is started again: pure, time is an argument.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::exit::Exit;

/// Between an end and the next start, so that a child that ends at once does not fill a core. A restart
/// is promised within a second.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);
/// So many crashes within [`WINDOW`] are no accident.
pub(crate) const CRASHES_MAX: usize = 5;
/// See [`CRASHES_MAX`]. A child that lived as long has recovered.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// Between tries, then.
pub(crate) const BACK_OFF: Duration = Duration::from_secs(30);

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It could not even be started.
    NotStarted,
}

impl Ended {
    /// The child heard that the cluster has removed this node.
    pub(crate) fn is_removed(self) -> bool {
        self == Self::Code(Exit::Removed as i32)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with {code}"),
            Self::Signal(signal) => write!(f, "was killed by signal {signal}"),
            Self::NotStarted => write!(f, "could not be started"),
        }
    }
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start it again.
    Start {
        /// After this long.
        after: Duration,
        /// Whether someone should look.
        alarm: bool,
    },
    /// Starting it again would end the same way: someone must change something first.
    GiveUp,
}

/// The recent crashes of one child.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    recent: VecDeque<Duration>,
    alarm: bool,
}

impl Restarts {
    /// A child ended unasked at `now`, counted from any fixed moment, after it had `lived` so long.
    pub(crate) fn after(&mut self, ended: Ended, now: Duration, lived: Duration) -> Next {
        if ended == Ended::Code(Exit::Config as i32) || ended.is_removed() {
            return Next::GiveUp;
        }
        self.lived(lived);
        self.recent.retain(|crash| now.saturating_sub(*crash) < WINDOW);
        self.recent.push_back(now);
        // Once it backs off, crashes come too slowly to fill the window: only a long life ends the alarm.
        self.alarm |= self.recent.len() >= CRASHES_MAX;
        Next::Start { after: if self.alarm { BACK_OFF } else { PAUSE }, alarm: self.alarm }
    }

    /// A child lives so long now: whether that ends an alarm.
    pub(crate) fn lived(&mut self, so_long: Duration) -> bool {
        if so_long < WINDOW {
            return false;
        }
        self.recent.clear();
        std::mem::take(&mut self.alarm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: Ended = Ended::Signal(11);
    const BRIEF: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn calm() -> Next {
        Next::Start { after: PAUSE, alarm: false }
    }

    fn alarmed() -> Next {
        Next::Start { after: BACK_OFF, alarm: true }
    }

    #[test]
    fn a_crash_is_followed_by_a_start_within_a_second() {
        assert_eq!(Restarts::default().after(CRASH, at(0), BRIEF), calm());
        assert!(PAUSE < Duration::from_secs(1));
    }

    #[test]
    fn the_fifth_crash_in_a_minute_backs_off_until_it_lives_a_minute() {
        let mut restarts = Restarts::default();
        for second in 0..4 {
            assert_eq!(restarts.after(CRASH, at(second), BRIEF), calm(), "crash at {second}");
        }
        assert_eq!(restarts.after(CRASH, at(4), BRIEF), alarmed());
        assert_eq!(restarts.after(CRASH, at(35), BRIEF), alarmed(), "the next try crashed too");
        assert_eq!(restarts.after(CRASH, at(66), BRIEF), alarmed(), "and the next");
        assert_eq!(restarts.after(CRASH, at(160), WINDOW), calm(), "it had lived long enough");
    }

    #[test]
    fn a_child_that_lives_on_ends_the_alarm() {
        let mut restarts = Restarts::default();
        assert!((0..5).any(|second| restarts.after(CRASH, at(second), BRIEF) == alarmed()));
        assert!(!restarts.lived(BRIEF), "too early");
        assert!(restarts.lived(WINDOW));
        assert!(!restarts.lived(WINDOW), "once");
        assert_eq!(restarts.after(CRASH, at(100), BRIEF), calm());
    }

    #[test]
    fn slow_crashes_never_alarm() {
        let mut restarts = Restarts::default();
        for minute in 0..20 {
            assert_eq!(restarts.after(CRASH, at(minute * 20), at(20)), calm());
        }
    }

    #[test]
    fn a_bad_configuration_is_not_started_again() {
        assert_eq!(Restarts::default().after(Ended::Code(78), at(0), BRIEF), Next::GiveUp);
        assert_eq!(Restarts::default().after(Ended::Code(79), at(0), BRIEF), Next::GiveUp, "removed");
        assert_eq!(
            Restarts::default().after(Ended::Code(0), at(0), BRIEF),
            calm(),
            "an unasked end is a crash"
        );
    }
}

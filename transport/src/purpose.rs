//! What a connection is for, and how one for that is kept.

use std::time::Duration;

use crate::calls;

/// Who does not accept for so long, inside one machine room, is down or cut off.
const CONNECT_NEAR: Duration = Duration::from_secs(1);
/// The same where nothing is lost by waiting: over the slowest of networks, or beside a machine that is busy.
const CONNECT_FAR: Duration = Duration::from_secs(2);
/// Where the caller bounds the connection and the first answer together: its own bound, which knows what to say of whoever is
/// silent, ends first. They must not tie (callers assert it, by [`Purpose::connect_max`]).
const CONNECT_BACKSTOP: Duration = Duration::from_secs(5);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Calls of functions, to another node's data plane.
    Calls,
    /// One artifact, from another node's data plane.
    Artifact,
    /// A stream to a controller that lasts as long as both: the watch, a node's reports.
    Following,
    /// Whatever a controller has to say to another process, now and then.
    Shared,
    /// Questions to a store, some of which wait there until something happens.
    Store,
    /// What blobs are made of, to and from a store.
    Chunks,
    /// What a function printed, told by a data plane for as long as somebody reads.
    Logs,
    /// An upload that a controller passes on to a data plane.
    Upload,
    /// One command of the command line.
    Command,
    /// Short questions: each is answered within that time or given up. A connection that is made before has a bound of its own.
    Question(Duration),
    /// Messages of Raft.
    Raft,
}

/// How a connection is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Profile {
    /// It is made by then, or not at all.
    pub(crate) connect: Duration,
    /// Each request on it is answered by then. Streams have no such bound.
    pub(crate) answer: Option<Duration>,
    /// How it is noticed that the other end is silent.
    pub(crate) alive: Option<Alive>,
    /// HTTP/2's own 64 KiB, where none are named.
    pub(crate) windows: Option<Windows>,
}

/// A ping after so long without anything, and the end without an answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alive {
    pub(crate) every: Duration,
    pub(crate) within: Duration,
    /// Also while no request is open.
    pub(crate) idle: bool,
}

/// Bytes that may come before they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Windows {
    pub(crate) stream: u32,
    pub(crate) connection: u32,
}

impl Purpose {
    /// A connection is made by then, or given up. Who bounds it together with what comes after it stays below this.
    #[must_use]
    pub const fn connect_max(self) -> Duration {
        self.profile().connect
    }

    pub(crate) const fn profile(self) -> Profile {
        match self {
            // Pings of its own say sooner that a worker is silent. A connection on which nothing comes for so long is closed,
            // whoever still holds a stream of it: a worker that was stopped and goes on sees that nobody is there.
            Self::Calls => Profile {
                windows: Some(Windows {
                    stream: calls::ANSWER_WINDOW_BYTES,
                    connection: calls::CONNECTION_WINDOW_BYTES,
                }),
                ..kept(CONNECT_NEAR, busy(5, 10))
            },
            // One stream in flight fills a fast network with these windows.
            Self::Artifact => Profile {
                windows: Some(Windows { stream: 4 << 20, connection: 8 << 20 }),
                ..kept(CONNECT_FAR, busy(5, 5))
            },
            // A controller that is stopped is noticed within this and the next, though it has nothing to tell.
            Self::Following => kept(CONNECT_NEAR, always(2, 2)),
            Self::Shared => kept(CONNECT_NEAR, busy(2, 2)),
            // A store that is stopped is noticed while the leases of what it gave out still last.
            Self::Store => kept(CONNECT_NEAR, busy(2, 2)),
            // Whoever reads a blob slowly leaves its stream's window full, and must hold up no other stream. One that is open
            // for a slow sender is no sign of a store's health, so pings are.
            Self::Chunks => Profile {
                windows: Some(Windows {
                    stream: calls::ANSWER_WINDOW_BYTES,
                    connection: calls::CONNECTION_WINDOW_BYTES,
                }),
                ..kept(CONNECT_NEAR, busy(2, 2))
            },
            // Finds a worker that is stopped but still connected: what it would have said is named as a gap then.
            Self::Logs => kept(CONNECT_FAR, busy(2, 2)),
            // Finds a worker that is stopped, or cut off, while it is sent to. A machine that is busy compiling answers later
            // than usual.
            Self::Upload => kept(CONNECT_BACKSTOP, busy(1, 4)),
            // Streams last for minutes, of logs for days.
            Self::Command => kept(CONNECT_BACKSTOP, busy(5, 5)),
            Self::Question(within) => {
                Profile { connect: CONNECT_FAR, answer: Some(within), alive: None, windows: None }
            }
            Self::Raft => kept(CONNECT_NEAR, always(1, 2)),
        }
    }
}

const fn kept(connect: Duration, alive: Alive) -> Profile {
    Profile { connect, answer: None, alive: Some(alive), windows: None }
}

/// While requests are open. In seconds.
const fn busy(every: u64, within: u64) -> Alive {
    Alive { every: Duration::from_secs(every), within: Duration::from_secs(within), idle: false }
}

/// Whether requests are open or not. In seconds.
const fn always(every: u64, within: u64) -> Alive {
    Alive { every: Duration::from_secs(every), within: Duration::from_secs(within), idle: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who changes how a connection is kept changes it here too, and sees beside what it stands.
    #[test]
    fn each_purpose_is_kept_as_it_was_decided() {
        let answers = Duration::from_millis(700);
        let (no, calls) = (None, Some((256 << 10, (1 << 31) - 1)));
        // To connect; to answer; a ping after, the end without an answer to it, also at rest; windows.
        for (purpose, connect, answer, alive, windows) in [
            (Purpose::Calls, 1, no, Some((5, 10, false)), calls),
            (Purpose::Artifact, 2, no, Some((5, 5, false)), Some((4 << 20, 8 << 20))),
            (Purpose::Following, 1, no, Some((2, 2, true)), None),
            (Purpose::Shared, 1, no, Some((2, 2, false)), None),
            (Purpose::Store, 1, no, Some((2, 2, false)), None),
            (Purpose::Chunks, 1, no, Some((2, 2, false)), calls),
            (Purpose::Logs, 2, no, Some((2, 2, false)), None),
            (Purpose::Upload, 5, no, Some((1, 4, false)), None),
            (Purpose::Command, 5, no, Some((5, 5, false)), None),
            (Purpose::Question(answers), 2, Some(answers), None, None),
            (Purpose::Raft, 1, no, Some((1, 2, true)), None),
        ] {
            let seconds = Duration::from_secs;
            let alive = alive.map(|(every, within, idle)| Alive {
                every: seconds(every),
                within: seconds(within),
                idle,
            });
            let windows = windows.map(|(stream, connection)| Windows { stream, connection });
            let expected = Profile { connect: seconds(connect), answer, alive, windows };
            assert_eq!(purpose.profile(), expected, "{purpose:?}");
            assert_eq!(purpose.connect_max(), expected.connect, "{purpose:?}");
        }
    }
}

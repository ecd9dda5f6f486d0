//! The places of a port. Who comes is let in; whoever has waited longest with nothing asked makes room.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::usage::{Shown, Usage};
use crate::{network, now};

/// A connection that was told to make room has its socket until its task sees it. Where so many parts of all wait for
/// that, whoever comes is turned away: sockets beyond the bound are others' files.
const LEAVING_PART: usize = 8;
const LEAVING_MIN: usize = 16;

/// For a connection's first bytes, before anybody needs its place.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// For its first request.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// For its next one: longer than nodes keep connections to each other that they do not use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// How many connections a port takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of all.
    pub all: usize,
    /// Of one address (an IPv4 address, or an IPv6 network of 64 bits).
    pub peer: usize,
}

impl Bounds {
    /// So many, half of them of one address: others find as many.
    #[must_use]
    pub fn halves(all: usize) -> Self {
        Self { all: all.max(1), peer: all.div_ceil(2).max(1) }
    }
}

/// Why there is no place: all that could make room are being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All are taken, so many.
    All(usize),
    /// The address has as many as one may have.
    Peer(usize),
}

/// Where the places of a port are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: Bounds,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// Each caller's in the order in which they came; bounded by the places.
    callers: HashMap<IpAddr, BTreeMap<u64, Taker>>,
    count: usize,
    /// Told to go, and not gone.
    leaving: usize,
    last: u64,
}

#[derive(Debug)]
struct Taker {
    usage: Arc<Usage>,
    /// Dropping it ends the connection.
    _end: oneshot::Sender<()>,
}

/// A connection's place, free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    caller: IpAddr,
    number: u64,
    usage: Arc<Usage>,
}

impl Places {
    /// A port's, all of them free.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Inner { bounds, taken: Mutex::default() }))
    }

    /// How many there are.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.0.bounds
    }

    /// A place for an address, and what ends when somebody else needs it.
    ///
    /// # Errors
    /// [`Full`], where all that could make room are being answered.
    pub fn take(&self, peer: IpAddr) -> Result<(Place, oneshot::Receiver<()>), Full> {
        self.take_at(peer, now())
    }

    fn take_at(&self, peer: IpAddr, now: Instant) -> Result<(Place, oneshot::Receiver<()>), Full> {
        let caller = network(peer);
        let mut taken = self.taken();
        taken.make_room(caller, self.0.bounds, now)?;
        taken.last += 1;
        taken.count += 1;
        let (number, (end, ended)) = (taken.last, oneshot::channel());
        let usage = Arc::new(Usage::default());
        let taker = Taker { usage: Arc::clone(&usage), _end: end };
        taken.callers.entry(caller).or_default().insert(number, taker);
        drop(taken);
        Ok((Place { places: self.clone(), caller, number, usage }, ended))
    }

    /// Whether whoever comes next, from an address that has none, is turned away.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let taken = self.taken();
        let bounds = self.0.bounds;
        taken.count >= bounds.all && (taken.is_crowded(bounds) || taken.longest(now(), |_, _| true).is_none())
    }

    /// How many are taken.
    #[must_use]
    pub fn count(&self) -> usize {
        self.taken().count
    }

    /// Ends connections that have waited too long, whether or not anybody needs their places.
    pub(crate) fn sweep(&self) {
        let now = now();
        let mut taken = self.taken();
        let mut late = Vec::new();
        for (caller, takers) in &taken.callers {
            let waits = |taker: &Taker| {
                taker.usage.waits(now).is_some_and(|(shown, since)| is_late(shown, since, now))
            };
            late.extend(
                takers.iter().filter(|(_, taker)| waits(taker)).map(|(number, _)| (*caller, *number)),
            );
        }
        for (caller, number) in late {
            taken.end(caller, number);
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_late(shown: Shown, since: Instant, now: Instant) -> bool {
    let patience = match shown {
        Shown::Nothing => GREETING_TIMEOUT,
        Shown::Greeting => FIRST_REQUEST_TIMEOUT,
        Shown::Requests => IDLE_TIMEOUT,
    };
    now.saturating_duration_since(since) > patience
}

impl Taken {
    fn make_room(&mut self, caller: IpAddr, bounds: Bounds, now: Instant) -> Result<(), Full> {
        let its = self.callers.get(&caller).map_or(0, BTreeMap::len);
        let full = if its >= bounds.peer {
            Full::Peer(bounds.peer)
        } else if self.count >= bounds.all {
            Full::All(bounds.all)
        } else {
            return Ok(());
        };
        if self.is_crowded(bounds) {
            return Err(full);
        }
        let longest = match full {
            Full::Peer(_) => self.longest(now, |one, _| one == caller),
            Full::All(_) => {
                // Whoever has most of all gives one up. Its own are all being answered: then anybody's that is not.
                let most = self.callers.values().map(BTreeMap::len).max();
                self.longest(now, |_, its| Some(its) == most).or_else(|| self.longest(now, |_, _| true))
            }
        };
        let (caller, number) = longest.ok_or(full)?;
        self.end(caller, number);
        Ok(())
    }

    /// Whether too many have not gone yet that were told to.
    const fn is_crowded(&self, bounds: Bounds) -> bool {
        let part = bounds.all / LEAVING_PART;
        self.leaving >= if part > LEAVING_MIN { part } else { LEAVING_MIN }
    }

    /// The connection that makes room first, of the callers that are asked for by address and by how many they have.
    fn longest(&self, now: Instant, is_asked: impl Fn(IpAddr, usize) -> bool) -> Option<(IpAddr, u64)> {
        let callers = self.callers.iter().filter(|(caller, takers)| is_asked(**caller, takers.len()));
        let mut longest: Option<((Shown, Instant), (IpAddr, u64))> = None;
        for (caller, takers) in callers {
            for (number, taker) in takers {
                let Some(waits) = taker.usage.waits(now) else { continue };
                if longest.is_none_or(|(most, _)| waits < most) {
                    longest = Some((waits, (*caller, *number)));
                }
                // They stand in the order in which they came: the first that has shown nothing has waited longest.
                if waits.0 == Shown::Nothing {
                    break;
                }
            }
        }
        longest.map(|(_, place)| place)
    }

    fn end(&mut self, caller: IpAddr, number: u64) {
        if self.remove(caller, number) {
            self.leaving += 1;
        }
    }

    fn remove(&mut self, caller: IpAddr, number: u64) -> bool {
        let Some(takers) = self.callers.get_mut(&caller) else { return false };
        let there = takers.remove(&number).is_some();
        if takers.is_empty() {
            self.callers.remove(&caller);
        }
        self.count -= usize::from(there);
        there
    }
}

impl Place {
    /// What its connection is used for.
    #[must_use]
    pub fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if !taken.remove(self.caller, self.number) {
            taken.leaving = taken.leaving.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    const BOUNDS: Bounds = Bounds { all: 128, peer: 64 };

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn is_ended(ended: &mut oneshot::Receiver<()>) -> bool {
        ended.try_recv() == Err(TryRecvError::Closed)
    }

    #[test]
    fn whoever_waited_longest_makes_room_for_its_own_and_then_for_others() {
        let places = Places::new(BOUNDS);
        let mut first: Vec<_> = (0..BOUNDS.peer).map(|_| places.take(peer(1)).unwrap()).collect();
        // The oldest is being answered: the next one goes.
        let asking = first[0].0.usage().begin();
        let one_more = places.take(peer(1)).unwrap();
        let ended: Vec<_> = first.iter_mut().map(|(_, ended)| is_ended(ended)).collect();
        assert_eq!(ended[..3], [false, true, false]);
        // Others take what is left, and then from whoever has most.
        let others: Vec<_> = (0..BOUNDS.all - BOUNDS.peer)
            .map(|number| places.take(peer(2 + u8::try_from(number % 4).unwrap())).unwrap())
            .collect();
        assert_eq!(places.count(), BOUNDS.all);
        let last = places.take(peer(9)).unwrap();
        assert!(is_ended(&mut first[2].1));
        assert_eq!((places.count(), places.taken().leaving), (BOUNDS.all, 2));
        drop((asking, first, others, one_more, last));
        let taken = places.taken();
        assert_eq!((taken.count, taken.leaving, taken.callers.len()), (0, 0, 0));
    }

    #[test]
    fn nobody_who_is_answered_is_sent_away() {
        let places = Places::new(BOUNDS);
        let taken: Vec<_> = (0..BOUNDS.peer).map(|_| places.take(peer(1)).unwrap().0).collect();
        let mut asking: Vec<_> = taken.iter().map(|place| place.usage().begin()).collect();
        assert_eq!(places.take(peer(1)).unwrap_err(), Full::Peer(64), "of one address");
        let mapped = IpAddr::V6(std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        assert_eq!(places.take(mapped).unwrap_err(), Full::Peer(64), "the same one in other clothes");
        let others: Vec<_> = (0..BOUNDS.peer).map(|_| places.take(peer(2)).unwrap().0).collect();
        assert!(!places.is_full(), "some of the others may make room");
        asking.extend(others.iter().map(|place| place.usage().begin()));
        assert!(places.is_full());
        assert_eq!(places.take(peer(3)).unwrap_err(), Full::All(128));
        asking.clear();
        assert!(places.take(peer(1)).is_ok());
    }

    /// Strangers who only connect go before a node of the cluster that is silent for a moment.
    #[test]
    fn who_has_shown_least_goes_first() {
        let places = Places::new(Bounds { all: 3, peer: 3 });
        let (node, mut node_ended) = places.take(peer(1)).unwrap();
        drop(node.usage().begin());
        let (greeter, mut greeter_ended) = places.take(peer(1)).unwrap();
        greeter.usage().greet();
        let (_stranger, mut stranger_ended) = places.take(peer(1)).unwrap();
        let mut ended = || [&mut node_ended, &mut greeter_ended, &mut stranger_ended].map(is_ended);
        let later = now() + Duration::from_secs(1);
        let (next, _its_end) = places.take_at(peer(1), later).unwrap();
        assert_eq!(ended(), [false, false, true]);
        next.usage().greet();
        let _asking = next.usage().begin();
        let _another = places.take_at(peer(1), later).unwrap();
        assert_eq!(ended(), [false, true, true]);
    }

    /// A crowd that was answered once and stays does not set those who come against each other.
    #[test]
    fn who_came_just_now_may_speak_first() {
        let places = Places::new(Bounds { all: 2, peer: 2 });
        let (answered, mut ended) = places.take(peer(1)).unwrap();
        drop(answered.usage().begin());
        let _first = places.take(peer(2)).unwrap();
        let _second = places.take(peer(3)).unwrap();
        assert!(is_ended(&mut ended));
    }

    #[test]
    fn those_that_do_not_go_are_no_room() {
        let places = Places::new(Bounds { all: 4, peer: 4 });
        let mut held: Vec<_> = (0..4 + LEAVING_MIN).map(|_| places.take(peer(1)).unwrap()).collect();
        assert_eq!(places.take(peer(1)).unwrap_err(), Full::Peer(4), "their sockets are open still");
        assert!(places.is_full());
        held.remove(0);
        assert!(!places.is_full());
        assert!(places.take(peer(1)).is_ok());
    }

    #[test]
    fn each_has_its_time() {
        let since = now();
        let at = |shown, seconds| is_late(shown, since, since + Duration::from_secs(seconds));
        assert_eq!([at(Shown::Nothing, 4), at(Shown::Nothing, 6)], [false, true]);
        assert_eq!([at(Shown::Greeting, 29), at(Shown::Greeting, 31)], [false, true]);
        assert_eq!([at(Shown::Requests, 899), at(Shown::Requests, 901)], [false, true]);
    }
}

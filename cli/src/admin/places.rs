//! Who may be connected to the admin port: so many, and so many of one address. Who comes is let in; whoever has waited
//! longest with nothing asked makes room.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Places of all. Scrapers and probes have a few each, and each costs the supervisor a file and some kilobytes.
const ALL_MAX: usize = 128;
/// Places of one address: half, so that others find as many.
const PEER_MAX: usize = ALL_MAX / 2;

/// Where the places are.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    /// In the order in which they came.
    places: BTreeMap<u64, Taker>,
    last: u64,
}

#[derive(Debug)]
struct Taker {
    peer: IpAddr,
    /// Its requests that are being answered.
    asked: u32,
    /// Dropping it ends the connection.
    _end: oneshot::Sender<()>,
}

/// A connection's place, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    number: u64,
}

/// A request whose answer is being made: nobody takes its connection away. While the answer is written somebody may.
#[derive(Debug)]
pub(super) struct Asking<'p>(&'p Place);

impl Places {
    /// A place for an address, and what ends when somebody else needs it. None where all that could make room are being
    /// answered.
    pub(super) fn take(&self, peer: IpAddr) -> Option<(Place, oneshot::Receiver<()>)> {
        let peer = peer.to_canonical();
        let mut taken = self.taken();
        if !taken.make_room(peer) {
            return None;
        }
        taken.last += 1;
        let (number, (end, ended)) = (taken.last, oneshot::channel());
        taken.places.insert(number, Taker { peer, asked: 0, _end: end });
        Some((Place { places: self.clone(), number }, ended))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn make_room(&mut self, peer: IpAddr) -> bool {
        let mut of_peer = HashMap::<IpAddr, usize>::new();
        for taker in self.places.values() {
            *of_peer.entry(taker.peer).or_default() += 1;
        }
        let crowded = if of_peer.get(&peer).is_some_and(|its| *its >= PEER_MAX) {
            peer
        } else if self.places.len() < ALL_MAX {
            return true;
        } else {
            // Whoever has most of all gives one up.
            of_peer.into_iter().max_by_key(|(_, its)| *its).map_or(peer, |(peer, _)| peer)
        };
        let oldest = self.places.iter().find(|(_, taker)| taker.peer == crowded && taker.asked == 0);
        let Some(number) = oldest.map(|(number, _)| *number) else { return false };
        self.places.remove(&number);
        true
    }
}

impl Place {
    /// A request has come whole.
    pub(super) fn asking(&self) -> Asking<'_> {
        self.count(|asked| asked + 1);
        Asking(self)
    }

    fn count(&self, change: impl Fn(u32) -> u32) {
        if let Some(taker) = self.places.taken().places.get_mut(&self.number) {
            taker.asked = change(taker.asked);
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.count(|asked| asked.saturating_sub(1));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn whoever_waited_longest_makes_room_for_its_own_and_then_for_others() {
        let places = Places::default();
        let mut first: Vec<_> = (0..PEER_MAX).map(|_| places.take(peer(1)).unwrap()).collect();
        // The oldest is being answered: the next one goes.
        let (oldest, rest) = first.split_at_mut(1);
        let asking = oldest[0].0.asking();
        let one_more = places.take(peer(1)).unwrap();
        assert!(rest[0].1.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        assert!(rest[1].1.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        // Others take what is left, and then from whoever has most.
        let others: Vec<_> = (0..ALL_MAX - PEER_MAX)
            .map(|number| places.take(peer(2 + u8::try_from(number % 4).unwrap())).unwrap())
            .collect();
        assert_eq!(places.taken().places.len(), ALL_MAX);
        let last = places.take(peer(9)).unwrap();
        assert_eq!(places.taken().places.len(), ALL_MAX);
        drop(asking);
        drop((first, others, one_more, last));
        assert!(places.taken().places.is_empty());
    }

    #[test]
    fn nobody_who_is_answered_is_sent_away() {
        let places = Places::default();
        let taken: Vec<_> = (0..PEER_MAX).map(|_| places.take(peer(1)).unwrap().0).collect();
        let asking: Vec<_> = taken.iter().map(Place::asking).collect();
        assert!(places.take(peer(1)).is_none(), "of one address");
        assert!(places.take(peer(2)).is_some(), "another one");
        let mapped = IpAddr::V6(std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        assert!(places.take(mapped).is_none(), "the same one in other clothes");
        drop(asking);
        assert!(places.take(peer(1)).is_some());
    }
}

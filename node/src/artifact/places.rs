//! Places for transfers, of which no namespace has all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_proto::id::Namespace;

/// Of four places, how many one namespace may have at most: a burst of one leaves some for others.
const SHARE_OF_FOUR: usize = 3;

/// So many at once.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    taken: Mutex<BTreeMap<Namespace, usize>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    namespace: Namespace,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: Mutex::default() })
    }

    /// A place, or how many there may be of those that are taken.
    pub(super) fn take(self: &Arc<Self>, namespace: &Namespace) -> Result<Place, Full> {
        let mut taken = self.taken();
        let share = (self.max * SHARE_OF_FOUR).div_ceil(4);
        if taken.values().sum::<usize>() >= self.max {
            return Err(Full { max: self.max, of_namespace: false });
        }
        let own = taken.entry(namespace.clone()).or_default();
        if *own >= share {
            return Err(Full { max: share, of_namespace: true });
        }
        *own += 1;
        drop(taken);
        Ok(Place { places: Arc::clone(self), namespace: namespace.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<Namespace, usize>> {
        // Each change is one step that cannot end half-done.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) max: usize,
    /// Others would have one.
    pub(super) of_namespace: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(own) = taken.get_mut(&self.namespace) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_namespace_has_all_places_and_each_is_given_back() {
        let places = Places::new(4);
        let [a, b] = ["a", "b"].map(|name| name.parse::<Namespace>().unwrap());
        let of_a: Vec<_> = (0..3).map(|_| places.take(&a).unwrap()).collect();
        assert_eq!(places.take(&a).unwrap_err(), Full { max: 3, of_namespace: true });
        let of_b = places.take(&b).unwrap();
        assert_eq!(places.take(&b).unwrap_err(), Full { max: 4, of_namespace: false });
        drop((of_a, of_b));
        assert!(places.taken().is_empty());
        assert!(places.take(&b).is_ok());
    }
}

//! Values as a plain map has them: what the model is compared with.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::{Change, Effect, Effected, Reason, Write};

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) version: u64,
    pub(crate) data: Bytes,
    expires_ms: Option<u64>,
}

/// One bucket.
#[derive(Debug, Clone)]
pub(crate) struct KvOracle {
    pub(crate) cells: BTreeMap<Bytes, Cell>,
    pub(crate) keys_max: u64,
    pub(crate) bytes_max: u64,
    pub(crate) sequence: u64,
}

impl KvOracle {
    pub(crate) fn new(keys_max: u64, bytes_max: u64) -> Self {
        Self { cells: BTreeMap::new(), keys_max, bytes_max, sequence: 0 }
    }

    pub(crate) fn live(&self, now_ms: u64) -> impl Iterator<Item = (&Bytes, &Cell)> {
        self.cells.iter().filter(move |(_, cell)| cell.expires_ms.is_none_or(|at_ms| now_ms < at_ms))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.cells.iter().map(|(key, cell)| (key.len() + cell.data.len()) as u64).sum()
    }

    pub(crate) fn perform(&mut self, effects: &[Effect], now_ms: u64) -> Result<Vec<Effected>, Reason> {
        let (before, mut empty) = (self.clone(), Self::new(self.keys_max, self.bytes_max));
        let mut done = Vec::new();
        for effect in effects {
            let Effect::Write(write) = effect else { panic!("{effect:?} is no write") };
            match self.write(write, now_ms) {
                Ok(effected) => done.push(effected),
                Err(reason) => {
                    *self = before;
                    // What an empty bucket has no room for is refused for good.
                    let full = matches!(reason, Reason::BucketFullKeys | Reason::BucketFullBytes);
                    let never = full && effects.iter().any(|effect| empty.overflows(effect, reason));
                    return Err(if never { Reason::NeverFits } else { reason });
                }
            }
        }
        Ok(done)
    }

    /// As if there were no bounds: whether there is more then than there may be.
    fn overflows(&mut self, effect: &Effect, reason: Reason) -> bool {
        let Effect::Write(write) = effect else { panic!("{effect:?} is no write") };
        let data = match &write.change {
            Change::Set { data, .. } | Change::CompareAndSet { data, .. } => Some(data.clone()),
            Change::Increment { .. } => Some(Bytes::from_static(b"0")),
            Change::Delete => None,
        };
        match data {
            Some(data) => self.cells.insert(write.key.clone(), Cell { version: 0, data, expires_ms: None }),
            None => self.cells.remove(&write.key),
        };
        match reason {
            Reason::BucketFullKeys => self.cells.len() as u64 > self.keys_max,
            _ => self.bytes() > self.bytes_max,
        }
    }

    pub(crate) fn sweep(&mut self, steps: usize, now_ms: u64) -> usize {
        let mut due: Vec<_> = self
            .cells
            .iter()
            .filter_map(|(key, cell)| Some((cell.expires_ms.filter(|at_ms| *at_ms <= now_ms)?, key.clone())))
            .collect();
        due.sort();
        due.truncate(steps);
        for (_, key) in &due {
            self.cells.remove(key);
        }
        due.len()
    }

    fn write(&mut self, write: &Write, now_ms: u64) -> Result<Effected, Reason> {
        let old = self.live(now_ms).find(|(key, _)| **key == write.key).map(|(_, cell)| cell.clone());
        let expires = |ttl_ms: &Option<u64>| ttl_ms.map(|ttl_ms| now_ms + ttl_ms);
        let (data, expires_ms, number) = match &write.change {
            Change::Delete => {
                self.cells.remove(&write.key);
                return Ok(Effected::Deleted { existed: old.is_some() });
            }
            Change::Set { data, ttl_ms } => (data.clone(), expires(ttl_ms), None),
            Change::CompareAndSet { expected, data, ttl_ms } => {
                if old.map(|cell| cell.version) != *expected {
                    return Err(Reason::Mismatch);
                }
                (data.clone(), expires(ttl_ms), None)
            }
            Change::Increment { by } => {
                let text =
                    old.as_ref().map_or_else(|| "0".into(), |cell| String::from_utf8_lossy(&cell.data));
                let number: i64 = text.parse().map_err(|_| Reason::NotANumber)?;
                let sum = number.checked_add(*by).ok_or(Reason::Overflow)?;
                let expires_ms = old.as_ref().and_then(|cell| cell.expires_ms);
                (sum.to_string().into(), expires_ms, Some(sum))
            }
        };
        self.put(&write.key, Cell { version: self.sequence + 1, data, expires_ms }, number)
    }

    fn put(&mut self, key: &Bytes, cell: Cell, number: Option<i64>) -> Result<Effected, Reason> {
        let (keys, bytes) = (self.cells.len() as u64, self.bytes());
        self.sequence = cell.version;
        let version = cell.version;
        self.cells.insert(key.clone(), cell);
        if self.cells.len() as u64 > self.keys_max.max(keys) {
            return Err(Reason::BucketFullKeys);
        }
        if self.bytes() > self.bytes_max.max(bytes) {
            return Err(Reason::BucketFullBytes);
        }
        Ok(Effected::Written { version, number })
    }
}

//! A state machine for tests: keys and values, and who watched them change.

use std::sync::Mutex;

use bytes::Bytes;
use coracle_raft::{Applied, Change, Halt, Observer, Position, RestoreError, StateMachine};
use imbl::OrdMap;

/// Commands are `KEY=VALUE`; the value `refuse` is refused, a command that begins with `!` is of the future.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kv(pub(crate) OrdMap<Bytes, Bytes>);

impl StateMachine for Kv {
    fn restore(records: &mut dyn Iterator<Item = (Bytes, Bytes)>) -> Result<Self, RestoreError> {
        Ok(Self(records.collect()))
    }

    fn apply(&mut self, position: Position, command: &[u8]) -> Result<Applied, Halt> {
        if command.starts_with(b"!") {
            return Err(Halt { reason: "format 2 of a command".to_owned() });
        }
        let at = command.iter().position(|byte| *byte == b'=').unwrap();
        let key = Bytes::copy_from_slice(&command[..at]);
        let value = Bytes::copy_from_slice(&command[at + 1..]);
        if &value[..] == b"refuse" {
            return Ok(Applied { reply: Bytes::from_static(b"refused"), changes: Vec::new() });
        }
        let value = (&value[..] != b"remove").then_some(value);
        match &value {
            Some(value) => drop(self.0.insert(key.clone(), value.clone())),
            None => drop(self.0.remove(&key)),
        }
        let reply = Bytes::from(position.index.to_string());
        Ok(Applied { reply, changes: vec![Change { key, value }] })
    }

    fn records(&self) -> Box<dyn Iterator<Item = (Bytes, Bytes)> + Send + '_> {
        Box::new(self.0.iter().map(|(key, value)| (key.clone(), value.clone())))
    }
}

/// Rebuilds the state from what it is told.
#[derive(Debug, Default)]
pub(crate) struct Mirror(pub(crate) Mutex<(Kv, usize)>);

impl Observer<Kv> for Mirror {
    fn applied(&self, state: &Kv, batch: &[(Position, Vec<Change>)]) {
        let mut mirror = self.0.lock().unwrap();
        for Change { key, value } in batch.iter().flat_map(|(_, changes)| changes) {
            match value {
                Some(value) => drop(mirror.0.0.insert(key.clone(), value.clone())),
                None => drop(mirror.0.0.remove(key)),
            }
        }
        assert_eq!(mirror.0, *state, "the changes add up to the state");
    }

    fn replaced(&self, _position: Position, state: &Kv) {
        let mut mirror = self.0.lock().unwrap();
        *mirror = (state.clone(), mirror.1 + 1);
    }
}

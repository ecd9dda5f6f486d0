//! The memory of what was published: the same id of the same source is taken once within a day.

use bytes::Bytes;

use super::super::fault::{Fault, unreadable};
use super::super::keys;
use super::super::limits::{DEDUP_MS, DEDUPS_MAX};
use super::super::op::Publish;
use super::super::record::Dedup;
use super::super::refusal::{Reason, Refusal};
use super::desk::Desk;
use super::memory::Memory;
use super::publish::Coming;

/// Ids that one publish forgets at most: more than it adds, so that the memory shrinks as ids grow old.
const FORGOTTEN_AT_ONCE: usize = 2;
/// The source of what tells a message from others beside its id: no sender has it.
const NOBODY: &str = "";

/// By what a message is known as one that came before.
fn names(publish: &Publish) -> impl Iterator<Item = (&str, &str)> {
    let own = (&publish.source[..], &publish.id[..]);
    [own, (NOBODY, &publish.also[..])].into_iter().filter(|(_, id)| !id.is_empty())
}

impl Desk<'_, '_> {
    /// What was made of this id before; a refusal when it was used for another request. Where none was given it is new.
    pub(super) fn repeated(&self, publish: &Publish) -> Result<Option<Dedup>, Fault> {
        let Some(known) = self.known(publish)? else { return Ok(None) };
        let (one, other) = (&known.fingerprint, &publish.fingerprint);
        if !one.is_empty() && !other.is_empty() && one != other {
            let subject = format!("id '{}' of queue '{}'", publish.id, self.place);
            return Err(Refusal::of(Reason::OtherRequest, subject).into());
        }
        Ok(Some(known))
    }

    /// By its id, or by what else tells it from others.
    fn known(&self, publish: &Publish) -> Result<Option<Dedup>, Fault> {
        for (source, id) in names(publish) {
            let known: Option<Dedup> = self.edit.get(&keys::dedup(self.place, source, id))?;
            if let Some(known) = known.filter(|known| self.now_ms() < known.until_ms) {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    /// Remembers what it was told by, and forgets some that is too old or too much.
    pub(super) fn remember(&mut self, coming: &Coming<'_>, message: u64) -> Result<(), Fault> {
        let Coming { publish, .. } = *coming;
        if names(publish).next().is_none() {
            return self.forget();
        }
        names(publish).try_for_each(|name| self.remember_name(coming, message, name))
    }

    fn remember_name(
        &mut self,
        coming: &Coming<'_>,
        message: u64,
        (source, id): (&str, &str),
    ) -> Result<(), Fault> {
        let Coming { publish, invocation, .. } = *coming;
        let first = self.counts.dedups == 0;
        let key = keys::dedup(self.place, source, id);
        if let Some(old) = self.edit.get::<Dedup>(&key)? {
            self.edit.remove(&keys::dedup_order(self.place, old.message, source, id));
            self.counts.dedups = self.counts.dedups.saturating_sub(1);
        }
        let until_ms = self.now_ms().saturating_add(DEDUP_MS);
        if first {
            self.remind(Memory::Ids, until_ms);
        }
        let fingerprint = publish.fingerprint.clone();
        self.edit.put(key, &Dedup { message, until_ms, invocation, fingerprint });
        self.edit.mark(keys::dedup_order(self.place, message, source, id));
        self.counts.dedups += 1;
        self.forget()
    }

    fn forget(&mut self) -> Result<(), Fault> {
        let range = keys::dedup_range(self.place, self.counts.dedups_from);
        let rows = self.edit.keys(&range, FORGOTTEN_AT_ONCE)?;
        self.forget_ids(rows)
    }

    /// Forgets those of the oldest ids that are too old or too many.
    pub(super) fn forget_ids(&mut self, oldest: Vec<Bytes>) -> Result<(), Fault> {
        for row in oldest {
            let (message, key) = keys::dedup_of_order(&row).ok_or_else(|| unreadable("a remembered id"))?;
            self.counts.dedups_from = message;
            let until_ms = self.edit.get::<Dedup>(&key)?.map_or(0, |known| known.until_ms);
            let old = until_ms <= self.now_ms();
            if !old && self.counts.dedups <= DEDUPS_MAX {
                break;
            }
            self.counts.forgotten += u64::from(!old);
            self.forget_id(&row)?;
        }
        Ok(())
    }

    /// Forgets the id of this row.
    pub(super) fn forget_id(&mut self, row: &Bytes) -> Result<(), Fault> {
        let (_, key) = keys::dedup_of_order(row).ok_or_else(|| unreadable("a remembered id"))?;
        self.counts.dedups = self.counts.dedups.saturating_sub(1);
        self.edit.remove(&key);
        self.edit.remove(row);
        Ok(())
    }
}

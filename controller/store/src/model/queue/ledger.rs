//! The records of a queue's invocations: each begins when its message is taken in, is told of attempts, ends with the
//! message, and is forgotten a day later.

use bytes::Bytes;
use coracle_proto::id::InvocationId;

use super::super::fault::{Fault, unreadable};
use super::super::keys;
use super::super::limits::{RECORD_MS, RECORDS_MAX, REPORTS_MAX};
use super::super::record::{Answer, Delivery, Ended, How, Invocation, Report, State};
use super::super::refusal::{Reason, Refusal};
use super::desk::Desk;
use super::memory::Memory;
use super::publish::Coming;

/// Records that one end forgets at most: more than it adds, so that they become fewer as they grow old.
const FORGOTTEN_AT_ONCE: usize = 2;

/// What is told at the end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Told {
    /// Where and how it ran.
    pub(in super::super) report: Option<Report>,
    /// What was answered.
    pub(in super::super) answer: Option<Answer>,
}

impl Desk<'_, '_> {
    /// Something was accepted. Two messages with one record could not be told apart.
    pub(super) fn begin(&mut self, coming: &Coming<'_>, message: u64) -> Result<(), Fault> {
        let Coming { publish, invocation, kind } = *coming;
        let key = keys::invocation(invocation);
        if self.edit.get::<Invocation>(&key)?.is_some() {
            let sentence = format!("there is an invocation {invocation} already");
            return Err(Refusal::of(Reason::Invalid, sentence).into());
        }
        let accepted_ms = self.now_ms();
        let record = Invocation {
            queue: self.place.clone(),
            message,
            function: self.queue.target.clone(),
            kind: kind.to_owned(),
            accepted_ms,
            trace_id: publish.attributes.get("traceparent").map(|it| trace_id(it)).unwrap_or_default(),
            reports: Vec::new(),
            answered: false,
            ended: None,
        };
        self.edit.put(key, &record);
        self.edit.mark(keys::listed(&self.place.namespace, accepted_ms, invocation));
        Ok(())
    }

    /// An attempt ended. What an earlier one was answered is not the answer any more.
    pub(super) fn report(&mut self, delivery: &Delivery, told: Told) -> Result<(), Fault> {
        let id = delivery.invocation;
        let mut record = self.record(id)?;
        if let Some(report) = told.report {
            let over = (record.reports.len() + 1).saturating_sub(REPORTS_MAX);
            record.reports.drain(..over);
            record.reports.push(Report { attempt: delivery.attempts, ..report.kept() });
            // Who takes the queue's messages may be another one by now.
            record.function = self.queue.target.clone().or(record.function);
        }
        self.keep_answer(id, &mut record, told.answer)?;
        self.edit.put(keys::invocation(id), &record);
        Ok(())
    }

    /// It ended with its message, or as a dead letter, whose record stays as long as the letter.
    pub(super) fn finish(&mut self, delivery: &Delivery, how: How) -> Result<(), Fault> {
        let id = delivery.invocation;
        let record = self.record(id)?;
        let at_ms = self.now_ms();
        let burial = match delivery.state {
            State::Dead(burial) => Some(burial),
            State::Ready | State::Delayed { .. } | State::Behind { .. } | State::Claimed(_) => None,
        };
        let until_ms = match (how, burial) {
            (How::Dead, Some(burial)) => burial.until_ms,
            (How::Dead, None) | (How::Succeeded | How::Cancelled | How::Dropped, _) => {
                at_ms.saturating_add(RECORD_MS)
            }
        };
        let (attempts, last_error) = (delivery.attempts, delivery.last_error.clone());
        let cause = burial.map(|burial| burial.cause);
        let ended = Some(Ended { how, at_ms, until_ms, attempts, last_error, cause });
        self.edit.put(keys::invocation(id), &Invocation { ended, ..record });
        if how == How::Dead {
            return Ok(());
        }
        self.edit.mark(keys::ended(self.place, at_ms, id));
        if self.counts.records == 0 {
            self.remind(Memory::Records, at_ms.saturating_add(RECORD_MS));
        }
        self.counts.records += 1;
        let range = keys::ended_range(self.place, self.counts.records_from_ms);
        let rows = self.edit.keys(&range, FORGOTTEN_AT_ONCE)?;
        self.forget_records(rows)
    }

    /// A dead letter has another life: what it was answered before is not its answer any more.
    pub(super) fn reopen(&mut self, delivery: &Delivery) -> Result<(), Fault> {
        let id = delivery.invocation;
        let mut record = self.record(id)?;
        self.drop_answer(id, &mut record)?;
        self.edit.put(keys::invocation(id), &Invocation { ended: None, ..record });
        Ok(())
    }

    fn record(&self, id: InvocationId) -> Result<Invocation, Fault> {
        let record = self.edit.get(&keys::invocation(id))?;
        Ok(record.ok_or_else(|| unreadable("a message without a record"))?)
    }

    /// Forgets those of the oldest records that are too old or too many.
    pub(super) fn forget_records(&mut self, oldest: Vec<Bytes>) -> Result<(), Fault> {
        for row in oldest {
            let (at_ms, id) = keys::ended_parts(&row).ok_or_else(|| unreadable("a row of what ended"))?;
            self.counts.records_from_ms = at_ms;
            let old = at_ms.saturating_add(RECORD_MS) <= self.now_ms();
            if !old && self.counts.records <= RECORDS_MAX {
                break;
            }
            self.forget_record(&row, id)?;
            self.counts.records_forgotten += u64::from(!old);
        }
        Ok(())
    }

    /// Forgets one that has ended, whose row is this.
    pub(super) fn forget_record(&mut self, row: &Bytes, id: InvocationId) -> Result<(), Fault> {
        let mut record = self.record(id)?;
        self.drop_answer(id, &mut record)?;
        self.edit.remove(row);
        self.edit.remove(&keys::invocation(id));
        self.edit.remove(&keys::listed(&self.place.namespace, record.accepted_ms, id));
        self.counts.records = self.counts.records.saturating_sub(1);
        Ok(())
    }
}

/// The trace of a `traceparent` (W3C Trace Context); empty: it has none.
fn trace_id(traceparent: &str) -> String {
    let id = traceparent.split('-').nth(1).unwrap_or_default();
    let good = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if good && id.bytes().any(|byte| byte != b'0') { id.to_owned() } else { String::new() }
}

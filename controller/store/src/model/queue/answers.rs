//! What invocations of a queue were answered: kept beside their records, within a bound of all of them.

use coracle_proto::id::InvocationId;

use super::super::fault::Fault;
use super::super::keys;
use super::super::limits::ANSWERS_BYTES_MAX;
use super::super::record::{Answer, Invocation};
use super::desk::Desk;

impl Desk<'_, '_> {
    /// This is what it was answered; what an earlier attempt was is not any more. Where the queue's answers would have too many bytes the
    /// body is not kept, and where even its headers would be too many those are not either.
    pub(super) fn keep_answer(
        &mut self,
        id: InvocationId,
        record: &mut Invocation,
        answer: Option<Answer>,
    ) -> Result<(), Fault> {
        self.drop_answer(id, record)?;
        let Some(mut answer) = answer.map(Answer::kept) else { return Ok(()) };
        let room = ANSWERS_BYTES_MAX.saturating_sub(self.counts.answer_bytes);
        if answer.weight() > room {
            answer.body.clear();
        }
        if answer.weight() > room {
            answer.headers.clear();
        }
        self.counts.answer_bytes = self.counts.answer_bytes.saturating_add(answer.weight());
        self.edit.put(keys::answer(id), &answer);
        record.answered = true;
        Ok(())
    }

    /// It was answered nothing, or nobody is to know it any more.
    pub(super) fn drop_answer(&mut self, id: InvocationId, record: &mut Invocation) -> Result<(), Fault> {
        if !record.answered {
            return Ok(());
        }
        let key = keys::answer(id);
        let weight = self.edit.get::<Answer>(&key)?.map_or(0, |answer| answer.weight());
        self.counts.answer_bytes = self.counts.answer_bytes.saturating_sub(weight);
        self.edit.remove(&key);
        record.answered = false;
        Ok(())
    }
}

//! What a manifest does not name is deleted, where that is asked for.

use coracle_proto::id::FunctionId;
use coracle_proto::pb;

use super::present::messages;
use super::unnamed::{Unnamed, What};
use crate::command::events::Events;
use crate::command::kv::buckets;
use crate::command::queue::name::QueueId;
use crate::command::queue::{self, drop_queue, name};
use crate::command::{schedule, topic, webhook};
use crate::exit::{Exit, Failure};
use crate::output::Talk;

/// It is to be deleted.
#[derive(Debug, Clone, Copy)]
pub(in crate::command::deploy) struct Prune {
    /// Also what has messages or values, or calls functions that are not of the manifest.
    pub(in crate::command::deploy) force: bool,
    /// Without being asked.
    pub(in crate::command::deploy) yes: bool,
}

impl Prune {
    /// Looks, before anything is deployed: what is in use needs force.
    pub(super) fn may(self, unnamed: &[Unnamed]) -> Result<(), Failure> {
        let in_use: Vec<_> = unnamed.iter().filter_map(Unnamed::in_use).collect();
        if !self.force && !in_use.is_empty() {
            let sentence = if in_use.len() == 1 {
                "is in use; --force deletes it"
            } else {
                "are in use; --force deletes them"
            };
            let all = in_use.join(", ");
            return Err(Failure::new(Exit::Conflict, format!("--prune: {all} {sentence} all the same")));
        }
        Ok(())
    }

    /// Asks whether it is meant.
    pub(super) fn ask(self, unnamed: &[Unnamed], talk: Talk) -> Result<(), Failure> {
        if unnamed.is_empty() {
            return Ok(());
        }
        let all: Vec<_> = unnamed.iter().map(ToString::to_string).collect();
        talk.confirm(&format!("Delete what the manifest does not name: {}?", all.join(", ")), self.yes)
    }

    pub(super) async fn delete(self, unnamed: &Unnamed, events: &mut Events) -> Result<(), Failure> {
        match self.attempt(unnamed, events).await {
            // Somebody else has done it.
            Err(failure) if failure.exit == Exit::NotFound => Ok(()),
            done => done,
        }
    }

    async fn attempt(self, unnamed: &Unnamed, events: &mut Events) -> Result<(), Failure> {
        match &unnamed.what {
            What::Schedule(id) => schedule::drop_schedule(events, id).await,
            What::Subscriber(id, function, queue) => {
                self.look(unnamed, queue, events).await?;
                topic::leave(events, id, function).await?;
                self.delete_left(unnamed, queue, events).await
            }
            What::Watcher(id, function, queue) => {
                self.look(unnamed, queue, events).await?;
                buckets::end(events, id, function).await?;
                self.delete_left(unnamed, queue, events).await
            }
            What::Webhook(id, queue) => {
                self.look(unnamed, queue, events).await?;
                webhook::drop_webhook(events, id).await?;
                self.delete_left(unnamed, queue, events).await
            }
            What::Queue(id) => self.delete_queue(unnamed, id, events).await,
            What::Left(id) => self.delete_left(unnamed, id, events).await,
            What::Topic(id) => topic::drop_topic(events, id, self.force).await,
            What::Bucket(id, _) => {
                let all = buckets::all(events, &id.namespace).await?;
                let found = all.iter().find(|it| it.bucket == id.name.as_str());
                self.still(unnamed, found.map_or(0, |it| it.keys))?;
                buckets::drop_bucket(events, id, self.force).await
            }
        }
    }

    /// Whether it may go as it is now; none is there where somebody has deleted it.
    async fn look(self, unnamed: &Unnamed, id: &QueueId, events: &mut Events) -> Result<(), Failure> {
        match name::get(events, "queue", id).await {
            Ok(found) => self.still(unnamed, messages(&found)),
            Err(failure) if failure.exit == Exit::NotFound => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Nobody fills it any more: what is not in it now will not be.
    async fn delete_left(self, unnamed: &Unnamed, id: &QueueId, events: &mut Events) -> Result<(), Failure> {
        self.look(unnamed, id, events).await?;
        drop_queue(events, id, true).await.map(|_| ())
    }

    /// Its function is no reason to keep it; a message is, also one that comes just now: so it goes unforced, when nobody
    /// takes its messages any more.
    async fn delete_queue(
        self,
        unnamed: &Unnamed,
        id: &FunctionId,
        events: &mut Events,
    ) -> Result<(), Failure> {
        let own = QueueId { namespace: id.namespace.clone(), queue: id.name.to_string() };
        if self.force {
            return drop_queue(events, &own, true).await.map(|_| ());
        }
        let found = name::get(events, "queue", &own).await?;
        self.still(unnamed, messages(&found))?;
        let (spec, has_function) = (found.spec.unwrap_or_default(), !found.function.is_empty());
        if has_function {
            let nobody = pb::QueueSpec { function: String::new(), ..spec.clone() };
            queue::put(events, id, &nobody, false).await?;
        }
        let done = drop_queue(events, &own, false).await.map(|_| ());
        match done {
            Err(failure) if failure.exit == Exit::Conflict => {
                if has_function {
                    let before = pb::QueueSpec { function: found.function, ..spec };
                    queue::put(events, id, &before, false).await?;
                }
                Err(failure.during(format!("--prune: {unnamed} stays")))
            }
            done => done,
        }
    }

    fn still(self, unnamed: &Unnamed, holds: u64) -> Result<(), Failure> {
        if holds == 0 || self.force {
            return Ok(());
        }
        let now = Unnamed { holds, ..unnamed.clone() }.in_use().unwrap_or_default();
        Err(Failure::new(Exit::Conflict, format!("--prune: {now} is not empty any more, and stays")))
    }
}

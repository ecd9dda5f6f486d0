//! What the stores keep for a manifest: looked at before anything is deployed, made and changed when it is its turn, and what
//! the manifest does not name any more.

mod check;
mod facts;
mod loops;
mod present;
mod prune;
mod thing;
mod unnamed;

use std::collections::BTreeSet;
use std::time::Duration;

use coracle_proto::id::Namespace;

use self::facts::changed;
use self::present::Present;
pub(super) use self::prune::Prune;
use self::thing::Thing;
use self::unnamed::Unnamed;
use super::view::Planned;
use crate::client::Client;
use crate::command::events::Events;
use crate::command::granted::Grants;
use crate::exit::Failure;
use crate::manifest::{Manifest, QueueEntry};
use crate::output::Talk;

/// How long a deploy waits for what it only tells.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// Everything of a manifest that stores keep, and what they have of its namespaces.
#[derive(Debug)]
pub(super) struct Kept<'m> {
    manifest: &'m Manifest,
    present: Present,
    unnamed: Vec<Unnamed>,
    prune: Option<Prune>,
    talk: Talk,
}

impl<'m> Kept<'m> {
    /// Looks at it, and refuses what could not be made; none where there is nothing to be kept, and no store is asked.
    pub(super) async fn look(
        manifest: &'m Manifest,
        (prune, dry_run): (Option<Prune>, bool),
        client: Client,
        talk: Talk,
    ) -> Result<(Option<Self>, Client), Failure> {
        if !keeps(manifest) && prune.is_none() {
            return Ok((None, client));
        }
        let mut events = Events::of(client)?;
        let present = Present::look(&namespaces(manifest), &mut events).await?;
        check::check(manifest, &present, &mut events).await?;
        loops::warnings(manifest).iter().for_each(|it| talk.warn(it));
        // Flags name one function, and say nothing of the rest.
        let mut unnamed = if manifest.is_file() { unnamed::unnamed(manifest, &present) } else { Vec::new() };
        if let Some(prune) = prune {
            for namespace in namespaces(manifest).into_iter().filter(|_| !prune.force) {
                let grants = Grants::look(&mut events, &namespace).await?;
                unnamed::add_granted(&mut unnamed, manifest, &grants);
            }
            prune.may(&unnamed)?;
            if !dry_run {
                prune.ask(&unnamed, talk)?;
            }
        }
        Ok((Some(Self { manifest, present, unnamed, prune, talk }), events.into_client()))
    }

    /// What functions may need as soon as they are there.
    pub(super) async fn before_functions(&self, client: Client) -> Result<Client, Failure> {
        self.make(self.needed(), client).await
    }

    fn needed(&self) -> impl Iterator<Item = Thing<'m>> + use<'m> {
        let manifest = self.manifest;
        let Manifest { buckets, queues, topics, .. } = manifest;
        let buckets = buckets.iter().map(Thing::Bucket);
        let queues = replied_to_first(queues).into_iter();
        let queues = queues.map(|queue| Thing::Queue(queue, thing::has_function(manifest, queue)));
        buckets.chain(topics.iter().map(Thing::Topic)).chain(queues)
    }

    fn calling(&self) -> impl Iterator<Item = Thing<'m>> + use<'m> {
        let Manifest { schedules, webhooks, .. } = self.manifest;
        let triggers = thing::triggers(self.manifest).into_iter();
        triggers.chain(webhooks.iter().map(Thing::Webhook)).chain(schedules.iter().map(Thing::Schedule))
    }

    /// What would be made, changed and deleted.
    pub(super) async fn planned(&self, client: Client) -> Result<Vec<Planned>, Failure> {
        let mut events = Events::of(client)?;
        let mut planned = Vec::new();
        for thing in self.needed().chain(self.calling()) {
            let wanted = thing.wanted(&self.present).await?;
            planned.push(match thing.before(&self.present, &mut events).await? {
                Some(before) if before == wanted => Planned::new(&thing, "unchanged"),
                Some(before) => Planned::new(&thing, "change").of(changed(&before, &wanted)),
                None => Planned::new(&thing, "make"),
            });
        }
        match self.prune {
            Some(_) => planned.extend(self.unnamed.iter().map(|it| Planned::new(it, "delete"))),
            None => tell(&self.unnamed, self.talk),
        }
        Ok(planned)
    }

    /// What calls functions, and then what is to go.
    pub(super) async fn after_functions(&self, client: Client) -> Result<Client, Failure> {
        let client = self.make(self.calling(), client).await?;
        let mut events = Events::of(client)?;
        match self.prune {
            Some(prune) => {
                for unnamed in &self.unnamed {
                    prune.delete(unnamed, &mut events).await?;
                    self.talk.say(self.talk.done(&format!("{unnamed} is deleted")));
                }
            }
            None => tell(&self.unnamed, self.talk),
        }
        Ok(events.into_client())
    }

    /// Of a manifest that keeps nothing: what it does not name any more.
    pub(super) async fn tell_left(
        manifest: &Manifest,
        client: Client,
        talk: Talk,
    ) -> Result<Client, Failure> {
        let mut events = Events::of(client)?;
        tell(&left(manifest, &mut events).await, talk);
        Ok(events.into_client())
    }

    /// Makes them and changes them, and tells what it did.
    async fn make(&self, things: impl Iterator<Item = Thing<'m>>, client: Client) -> Result<Client, Failure> {
        let mut events = Events::of(client)?;
        for thing in things {
            let wanted = thing.wanted(&self.present).await?;
            let done = match thing.before(&self.present, &mut events).await? {
                Some(before) if before == wanted => {
                    self.talk.say(self.talk.done(&format!("{thing} is unchanged")));
                    continue;
                }
                Some(before) => format!("{thing} is changed: {}", changed(&before, &wanted).join(", ")),
                None => format!("{thing} is made"),
            };
            let more = thing.make(&self.present, &mut events).await?;
            self.talk.say(self.talk.done(&format!("{done}{more}")));
        }
        Ok(events.into_client())
    }
}

fn tell(unnamed: &[Unnamed], talk: Talk) {
    unnamed::notes(unnamed).iter().for_each(|it| talk.say(&format!("note: {it}")));
}

/// What a manifest that keeps nothing does not name any more. It is only told: where no store answers soon nothing is.
async fn left(manifest: &Manifest, events: &mut Events) -> Vec<Unnamed> {
    if !manifest.is_file() {
        return Vec::new();
    }
    let look = async {
        match events.keeps_anything().await? {
            true => Present::look(&namespaces(manifest), events).await,
            false => Ok(Present::default()),
        }
    };
    match tokio::time::timeout(LOOK_MAX, look).await {
        Ok(Ok(present)) => unnamed::unnamed(manifest, &present),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// Whether stores are needed.
fn keeps(manifest: &Manifest) -> bool {
    let Manifest { functions, addresses: _, path: _, buckets, queues, topics, triggers, schedules, webhooks } =
        manifest;
    functions.iter().any(|it| it.spec.has_state())
        || !(buckets.is_empty()
            && queues.is_empty()
            && topics.is_empty()
            && triggers.is_empty()
            && schedules.is_empty()
            && webhooks.is_empty())
}

/// All that the manifest names.
fn namespaces(manifest: &Manifest) -> BTreeSet<Namespace> {
    let Manifest { functions, addresses: _, path: _, buckets, queues, topics, triggers, schedules, webhooks } =
        manifest;
    let ids = functions.iter().map(|it| &it.id).chain(buckets.iter().map(|it| &it.id));
    let ids = ids.chain(queues.iter().map(|it| &it.id)).chain(topics.iter().map(|it| &it.id));
    let ids = ids.chain(triggers.iter().map(|it| &it.function)).chain(schedules.iter().map(|it| &it.id));
    let ids = ids.chain(webhooks.iter().map(|it| &it.id));
    ids.map(|id| id.namespace.clone()).collect()
}

/// Where answers of one queue go to another one, that is made before; of those that answer each other in a circle the first as it stands.
fn replied_to_first(queues: &[QueueEntry]) -> Vec<&QueueEntry> {
    let (mut left, mut ordered): (Vec<_>, Vec<&QueueEntry>) = (queues.iter().collect(), Vec::new());
    while !left.is_empty() {
        let waits_for = |it: &QueueEntry, other: &QueueEntry| {
            let reply = it.settings.delivery.reply.as_deref();
            it.id != other.id
                && it.id.namespace == other.id.namespace
                && reply == Some(other.id.name.as_str())
        };
        let ready = left.iter().position(|it| !left.iter().any(|other| waits_for(it, other)));
        ordered.push(left.remove(ready.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests;

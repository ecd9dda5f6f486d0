//! Which functions may use a queue, a topic or a bucket: it is not taken from them unasked.

use coracle_proto::id::{FunctionId, Namespace};
use coracle_proto::pb;
use coracle_proto::spec::BucketGrant;

use super::events::Events;
use crate::client::Admin;
use crate::exit::{Exit, Failure};
use crate::manifest::Holds;

/// What functions are granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Queue,
    Topic,
    /// Of values.
    Bucket,
    /// Of blobs.
    Blobs,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Topic => "topic",
            Self::Bucket | Self::Blobs => "bucket",
        }
    }

    /// Of a bucket.
    pub(super) const fn of(holds: Holds) -> Self {
        match holds {
            Holds::Values => Self::Bucket,
            Holds::Blobs => Self::Blobs,
        }
    }
}

/// Functions with what versions that are called, or will be, are granted.
#[derive(Debug, Clone, Default)]
pub(super) struct Grants(Vec<(FunctionId, Vec<pb::FunctionSpec>)>);

impl Grants {
    /// Those of a namespace.
    pub(super) async fn look(events: &mut Events, namespace: &Namespace) -> Result<Self, Failure> {
        let request = pb::ListFunctionsRequest { namespace: namespace.to_string(), stale: false };
        let list = async |mut admin: Admin| admin.list_functions(request.clone()).await;
        let mut found = Vec::new();
        for function in events.cluster("functions", list).await?.functions {
            // What has a name that this program does not know is left alone.
            let Ok(id) = FunctionId::parse(&function.namespace, &function.name) else { continue };
            match specs(events, &id).await {
                Ok(specs) => found.push((id, specs)),
                // It was deleted meanwhile.
                Err(failure) if failure.exit == Exit::NotFound => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(Self(found))
    }

    /// Those that may use it.
    pub(super) fn of(&self, id: &FunctionId, kind: Kind) -> impl Iterator<Item = &FunctionId> {
        let among = move |grants: &[String]| {
            grants.iter().any(|it| BucketGrant::stored(it).bucket() == id.name.as_str())
        };
        let may = move |spec: &pb::FunctionSpec| match kind {
            Kind::Queue | Kind::Topic => spec.publish.iter().any(|it| it == id.name.as_str()),
            Kind::Bucket => among(&spec.keyvalue),
            Kind::Blobs => among(&spec.blobs),
        };
        let mine = self.0.iter().filter(move |(function, _)| function.namespace == id.namespace);
        mine.filter(move |(_, specs)| specs.iter().any(may)).map(|(function, _)| function)
    }
}

/// Of the versions that have calls, or wait for them.
async fn specs(events: &mut Events, id: &FunctionId) -> Result<Vec<pb::FunctionSpec>, Failure> {
    let (namespace, name) = (id.namespace.to_string(), id.name.to_string());
    let request = pb::GetFunctionRequest { namespace, name, stale: false };
    let get = async |mut admin: Admin| admin.get_function(request.clone()).await;
    let pb::FunctionDetail { function, versions, .. } =
        events.cluster(&format!("function '{id}'"), get).await?;
    let pb::Function { traffic, next, .. } = function.unwrap_or_default();
    let called = |number| traffic.iter().chain(&next).any(|weight| weight.version == number);
    Ok(versions.into_iter().filter(|it| called(it.number)).filter_map(|it| it.spec).collect())
}

/// Refuses to have it deleted where functions may use it.
pub(super) async fn refuse(events: &mut Events, id: &FunctionId, kind: Kind) -> Result<(), Failure> {
    let grants = Grants::look(events, &id.namespace).await?;
    let all: Vec<_> = grants.of(id, kind).map(ToString::to_string).collect();
    if all.is_empty() {
        return Ok(());
    }
    let what = format!("{} '{id}' is granted to {}", kind.name(), all.join(", "));
    let sentence = "what they do with it would be refused; --force deletes it all the same";
    Err(Failure::new(Exit::Conflict, format!("{what}: {sentence}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::client::fake::{Fake, FakeStore, Kept, Script, queue};
    use crate::command::{Session, Shared, Verb, dispatch};
    use crate::config::Environment;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        verb: Verb,
        #[command(flatten)]
        shared: Shared,
    }

    async fn run(line: &str, node: &Fake) -> Result<(), Failure> {
        let address = node.address.to_string();
        let words = ["coracle", "--yes", "--quiet", "--address", &address];
        let line = Line::try_parse_from(words.into_iter().chain(line.split(' '))).unwrap();
        let environment = Environment::default();
        dispatch(line.verb, &Session::new(&line.shared, &environment), clap::Command::default).await
    }

    #[tokio::test]
    async fn each_verb_that_deletes_asks_for_it() {
        let bucket = pb::KvBucket { bucket: "images".to_owned(), ..pb::KvBucket::default() };
        let holds = pb::KvHolds::Blobs.into();
        let uploads = pb::KvBucket { bucket: "uploads".to_owned(), holds, ..pb::KvBucket::default() };
        let topic = pb::TopicDetail { topic: "news".to_owned(), ..pb::TopicDetail::default() };
        let (queues, topics, buckets) = (vec![queue("jobs", "")], vec![topic], vec![bucket, uploads]);
        let store = FakeStore::start(Kept { queues, topics, buckets, ..Kept::default() }).await;
        let spec = pb::FunctionSpec {
            keyvalue: vec!["images".to_owned()],
            blobs: vec!["uploads".to_owned()],
            publish: vec!["jobs".to_owned(), "news".to_owned()],
            ..pb::FunctionSpec::default()
        };
        let granted = vec![("there".to_owned(), spec)];
        let stores = vec![store.address.clone()];
        let node = Fake::start(Script { granted, stores, ..Script::default() }).await;
        for line in ["queue delete jobs", "topic delete news", "kv drop images", "blob drop uploads"] {
            let failure = run(line, &node).await.unwrap_err();
            assert!(
                failure.exit == Exit::Conflict && failure.message.contains("granted to there"),
                "{failure}"
            );
            assert!(store.with(|kept| kept.log.is_empty()), "{line}");
            run(&format!("{line} --force"), &node).await.unwrap();
            assert_eq!(store.with(|kept| std::mem::take(&mut kept.log)).len(), 1, "{line}");
        }
    }

    #[tokio::test]
    async fn what_functions_are_granted_is_not_deleted() {
        let spec = pb::FunctionSpec {
            keyvalue: vec!["images:read".to_owned()],
            publish: vec!["jobs".to_owned()],
            ..pb::FunctionSpec::default()
        };
        let granted = vec![("there".to_owned(), spec), ("other".to_owned(), pb::FunctionSpec::default())];
        let node = Fake::start(Script { granted, ..Script::default() }).await;
        let mut events = Events::of(node.client().await).unwrap();
        for (name, kind, refused) in [
            ("jobs", Kind::Queue, Some("queue 'jobs' is granted to there: ")),
            ("jobs", Kind::Topic, Some("topic 'jobs' is granted to there: ")),
            ("images", Kind::Bucket, Some("bucket 'images' is granted to there: ")),
            ("images", Kind::Queue, None),
            ("jobs", Kind::Bucket, None),
            ("shop/jobs", Kind::Queue, None),
        ] {
            let done = refuse(&mut events, &name.parse().unwrap(), kind).await;
            match refused {
                None => assert_eq!(done, Ok(()), "{name}"),
                Some(said) => {
                    let failure = done.unwrap_err();
                    assert!(failure.exit == Exit::Conflict && failure.message.starts_with(said), "{failure}");
                    assert!(failure.message.contains("--force"), "{failure}");
                }
            }
        }
    }
}

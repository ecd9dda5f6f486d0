//! How people name a queue: their own by its name, those that the platform makes by theirs, which have a slash.

use std::fmt;
use std::str::FromStr;

use coracle_proto::id::{FunctionId, FunctionName, IdError, Namespace};
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};

use crate::client::Queues;
use crate::command::events::{Events, queue_of};
use crate::exit::{Exit, Failure};

/// Before the name of a function's queue.
const FUNCTION: &str = "function";
/// Before the name of a webhook's queue.
const WEBHOOK: &str = "webhook";
/// Before the name of one of people's, where a function has that name too.
const OWN: &str = "queue";
/// Before the names of what has subscribers, whose queues these are.
const OF_SUBSCRIBERS: [&str; 2] = ["topic", "bucket"];

/// A queue of a namespace: `jobs`, `function/cart`, `topic/news/mail`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::command) struct QueueId {
    pub(in crate::command) namespace: Namespace,
    pub(in crate::command) queue: String,
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            Namespace::DEFAULT => f.write_str(&self.queue),
            namespace => write!(f, "{namespace}/{}", self.queue),
        }
    }
}

impl FromStr for QueueId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split('/').collect();
        let (namespace, parts) = match parts.as_slice() {
            [kind, _, _] if OF_SUBSCRIBERS.contains(kind) => ("", parts.as_slice()),
            [namespace, rest @ ..] if rest.len() > 1 => (*namespace, rest),
            [first, name] if ![FUNCTION, OWN, WEBHOOK].contains(first) => {
                (*first, std::slice::from_ref(name))
            }
            all => ("", all),
        };
        let good = match parts {
            [name] => Ok(vec![*name]),
            [OWN, name] => Ok(vec![*name]),
            [FUNCTION | WEBHOOK, _] => Ok(parts.to_vec()),
            [kind, _, _] if OF_SUBSCRIBERS.contains(kind) => Ok(parts.to_vec()),
            _ => {
                let names = "NAME, function/NAME, webhook/NAME, topic/NAME/FUNCTION or bucket/NAME/FUNCTION";
                Err(format!("a queue is {names}"))
            }
        };
        let parts = good.map_err(|expected| format!("{expected}, with its namespace before it"))?;
        for name in parts.iter().skip(usize::from(parts.len() > 1)) {
            name.parse::<FunctionName>().map_err(|error| error.to_string())?;
        }
        let namespace = match namespace {
            "" => Namespace::default(),
            namespace => namespace.parse().map_err(|error: IdError| error.to_string())?,
        };
        Ok(Self { namespace, queue: parts.join("/") })
    }
}

/// A queue, or a function whose own is meant: a name alone may be that of either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) enum Which {
    /// `NAME`, or `NAMESPACE/NAME`.
    Either(FunctionId),
    /// It says which.
    Queue(QueueId),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Either(id) => id.fmt(f),
            Self::Queue(id) => id.fmt(f),
        }
    }
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id: QueueId = text.parse()?;
        // Said as a name alone, it may be a function's.
        match text.parse::<FunctionId>() {
            Ok(either) if either.name.as_str() == id.queue && either.namespace == id.namespace => {
                Ok(Self::Either(either))
            }
            Ok(_) | Err(_) => Ok(Self::Queue(id)),
        }
    }
}

impl Which {
    /// Those that it may be: a function's before one of people's.
    fn candidates(&self) -> Vec<QueueId> {
        match self {
            Self::Queue(id) => vec![id.clone()],
            Self::Either(id) => [queue_of(id), id.name.to_string()]
                .map(|queue| QueueId { namespace: id.namespace.clone(), queue })
                .to_vec(),
        }
    }

    /// Whether a record is of such a queue.
    pub(in crate::command) fn has(&self, namespace: &Namespace, queue: &str) -> bool {
        self.candidates().iter().any(|id| id.namespace == *namespace && id.queue == queue)
    }

    /// The one that there is.
    pub(in crate::command) async fn resolve(
        &self,
        events: &mut Events,
        what: &str,
    ) -> Result<QueueId, Failure> {
        let mut found = Vec::new();
        for id in self.candidates() {
            match get(events, what, &id).await {
                Ok(_) => found.push(id),
                Err(failure) if failure.exit == Exit::NotFound => {}
                Err(failure) => return Err(failure),
            }
        }
        match (found.pop(), found.pop()) {
            (Some(id), None) => Ok(id),
            (Some(own), Some(of_function)) => {
                let ways = format!("say '{of_function}' or '{}'", own.unmistakable());
                Err(Failure::usage(format!("'{self}' is a queue, and a function's queue: {ways}")))
            }
            (None, _) => {
                let sentence = match self {
                    Self::Either(id) => {
                        format!("there is no queue '{id}', and no function of that name was ever called so")
                    }
                    Self::Queue(id) => format!("there is no queue '{id}'"),
                };
                Err(Refusal::new(Code::QueueNotFound, sentence).into())
            }
        }
    }
}

impl QueueId {
    /// As it is understood where a function has that name too.
    fn unmistakable(&self) -> Self {
        Self { namespace: self.namespace.clone(), queue: format!("{OWN}/{}", self.queue) }
    }
}

/// One of them, as it is.
pub(in crate::command) async fn get(
    events: &mut Events,
    what: &str,
    id: &QueueId,
) -> Result<pb::QueueDetail, Failure> {
    let get = async |mut service: Queues, place| {
        service.get(pb::GetQueueRequest { place: Some(place), queue: id.queue.clone() }).await
    };
    let found = events.queues(what, &id.namespace, get).await?;
    let missing = || Refusal::new(Code::QueueNotFound, format!("there is no queue '{id}'"));
    Ok(found.queue.ok_or_else(missing)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_named_as_it_is_shown() {
        for (text, namespace, queue) in [
            ("jobs", "default", "jobs"),
            ("shop/jobs", "shop", "jobs"),
            ("function/cart", "default", "function/cart"),
            ("shop/function/cart", "shop", "function/cart"),
            ("webhook/hub", "default", "webhook/hub"),
            ("shop/webhook/hub", "shop", "webhook/hub"),
            ("topic/news/mail", "default", "topic/news/mail"),
            ("shop/topic/news/mail", "shop", "topic/news/mail"),
            ("bucket/images/thumb", "default", "bucket/images/thumb"),
            ("queue/cart", "default", "cart"),
            ("shop/queue/cart", "shop", "cart"),
            ("topic/jobs", "topic", "jobs"),
        ] {
            let id: QueueId = text.parse().unwrap();
            assert_eq!((id.namespace.as_str(), id.queue.as_str()), (namespace, queue), "{text}");
        }
        for bad in ["", "/", "Jobs", "a/b/c", "a/b/c/d", "topic/x/y/z", "function/", "a/topic/B/c"] {
            assert!(bad.parse::<QueueId>().is_err(), "{bad}");
        }
        let shown: QueueId = "shop/topic/news/mail".parse().unwrap();
        assert_eq!(shown.to_string(), "shop/topic/news/mail");
        assert_eq!("default/jobs".parse::<QueueId>().unwrap().to_string(), "jobs");
    }

    #[test]
    fn a_name_alone_may_be_a_functions_or_a_queues() {
        let which = |text: &str| text.parse::<Which>().unwrap();
        assert_eq!(which("shop/cart"), Which::Either("shop/cart".parse().unwrap()));
        let candidates: Vec<_> = which("cart").candidates().iter().map(ToString::to_string).collect();
        assert_eq!(candidates, ["function/cart", "cart"]);
        assert_eq!(which("function/cart"), Which::Queue("function/cart".parse().unwrap()));
        assert_eq!(which("queue/cart"), Which::Queue("queue/cart".parse().unwrap()));
        assert!(which("cart").has(&Namespace::default(), "function/cart"));
        assert!(!which("queue/cart").has(&Namespace::default(), "function/cart"));
    }
}

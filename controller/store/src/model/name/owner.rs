//! Whose a queue is: its name says it. People's have no '/' in theirs.

use super::{Name, NameError, Place};

const FUNCTION: &str = "function/";
const TOPIC: &str = "topic/";
const BUCKET: &str = "bucket/";
const WEBHOOK: &str = "webhook/";

/// Who makes a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Somebody, by hand or with a manifest.
    People,
    /// The first asynchronous call of a function.
    Function,
    /// Who has a function subscribe to a topic.
    Topic(Heard),
    /// Who has a function watch a bucket.
    Bucket(Heard),
    /// Who makes a webhook: this one.
    Webhook(Place),
}

/// What a function hears by a queue of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The topic, or the bucket.
    pub place: Place,
    /// The function, of the same namespace.
    pub function: Name,
}

impl Place {
    /// The queue in which a function of the topic's namespace gets what is published to it.
    ///
    /// # Errors
    /// When that is longer than a name may be.
    pub fn of_subscriber(topic: &Self, function: &Name) -> Result<Self, NameError> {
        topic.heard_by(TOPIC, function)
    }

    /// The queue in which a function of the bucket's namespace gets its changes.
    ///
    /// # Errors
    /// When that is longer than a name may be.
    pub fn of_watcher(bucket: &Self, function: &Name) -> Result<Self, NameError> {
        bucket.heard_by(BUCKET, function)
    }

    /// The queue of a webhook.
    ///
    /// # Errors
    /// When that is longer than a name may be.
    pub fn of_webhook(webhook: &Self) -> Result<Self, NameError> {
        let name = Name::parse(&format!("{WEBHOOK}{}", webhook.name))?;
        Ok(Self { namespace: webhook.namespace.clone(), name })
    }

    fn heard_by(&self, kind: &str, function: &Name) -> Result<Self, NameError> {
        let name = Name::parse(&format!("{kind}{}/{function}", self.name))?;
        Ok(Self { namespace: self.namespace.clone(), name })
    }

    /// Whose queue it is, if it is one.
    #[must_use]
    pub fn owner(&self) -> Owner {
        let name = self.name.as_str();
        if name.starts_with(FUNCTION) {
            return Owner::Function;
        }
        if let Some(name) = name.strip_prefix(WEBHOOK).and_then(|rest| Name::parse(rest).ok()) {
            return Owner::Webhook(Self { namespace: self.namespace.clone(), name });
        }
        if let Some(heard) = name.strip_prefix(TOPIC).and_then(|rest| self.heard(rest)) {
            return Owner::Topic(heard);
        }
        match name.strip_prefix(BUCKET).and_then(|rest| self.heard(rest)) {
            Some(heard) => Owner::Bucket(heard),
            None => Owner::People,
        }
    }

    /// Functions have no '/' in their names; what a bucket may be called was not always asked.
    fn heard(&self, rest: &str) -> Option<Heard> {
        let (name, function) = rest.rsplit_once('/')?;
        let place = Self { namespace: self.namespace.clone(), name: Name::parse(name).ok()? };
        Some(Heard { place, function: Name::parse(function).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Place::parse("shop", name).unwrap()
    }

    #[test]
    fn a_name_says_whose_queue_it_is() {
        let function = Name::parse("f").unwrap();
        let heard = |name| Heard { place: place(name), function: function.clone() };
        for (name, owner) in [
            ("orders", Owner::People),
            ("function/f", Owner::Function),
            ("topic/done/f", Owner::Topic(heard("done"))),
            ("bucket/a/b/f", Owner::Bucket(heard("a/b"))),
            ("webhook/w", Owner::Webhook(place("w"))),
            ("webhook/", Owner::People),
            ("topic/f", Owner::People),
            ("bucket//f", Owner::People),
        ] {
            assert_eq!(place(name).owner(), owner, "{name}");
        }
        assert_eq!(Place::of_subscriber(&place("done"), &function), Ok(place("topic/done/f")));
        assert_eq!(Place::of_watcher(&place("a/b"), &function), Ok(place("bucket/a/b/f")));
        assert_eq!(Place::of_webhook(&place("w")), Ok(place("webhook/w")));
        assert!(Place::of_watcher(&place(&"a".repeat(250)), &function).is_err());
    }
}

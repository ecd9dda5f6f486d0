//! What a function may do with what its namespace keeps: with values of buckets, and with queues and topics.

use std::fmt;
use std::str::FromStr;

use super::{Draft, FunctionSpec, SpecError};
use crate::id::check_name;

/// Buckets of one function.
pub const KEYVALUE_MAX: usize = 20;
/// Buckets of blobs of one function.
pub const BLOBS_MAX: usize = 20;
/// Queues and topics to which one function publishes.
pub const PUBLISH_MAX: usize = 20;

/// What stands behind a bucket that is only read.
const READ: &str = ":read";

/// What a function may do with one bucket of its namespace, of values or of blobs. Written as `BUCKET`, or `BUCKET:read`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketGrant {
    bucket: String,
    writes: bool,
}

impl BucketGrant {
    /// One that was let in before: the name is taken as it stands.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        let (bucket, writes) = text.strip_suffix(READ).map_or((text, true), |bucket| (bucket, false));
        Self { bucket: bucket.to_owned(), writes }
    }

    fn parse(field: &str, text: &str) -> Result<Self, SpecError> {
        let grant = Self::stored(text);
        let wrong = |error| SpecError::new(field, format!("{error}; expected BUCKET or BUCKET:read"));
        check_name("bucket name", &grant.bucket).map_err(wrong)?;
        Ok(grant)
    }

    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Whether what it holds may be changed too.
    #[must_use]
    pub const fn may_write(&self) -> bool {
        self.writes
    }
}

impl fmt::Display for BucketGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.bucket, if self.writes { "" } else { READ })
    }
}

impl FromStr for BucketGrant {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::parse("keyvalue", text)
    }
}

impl FunctionSpec {
    /// Buckets of its namespace that it may use.
    #[must_use]
    pub fn keyvalue(&self) -> &[BucketGrant] {
        &self.keyvalue
    }

    /// Buckets of blobs of its namespace that it may use.
    #[must_use]
    pub fn blobs(&self) -> &[BucketGrant] {
        &self.blobs
    }

    /// Queues and topics of its namespace to which it may publish.
    #[must_use]
    pub fn publish(&self) -> &[String] {
        &self.publish
    }

    /// Whether it is granted anything of what its namespace keeps.
    #[must_use]
    pub fn has_state(&self) -> bool {
        !self.keyvalue.is_empty() || !self.blobs.is_empty() || !self.publish.is_empty()
    }

    /// The same with nobody whom it may call, and nothing of what its namespace keeps.
    #[must_use]
    pub fn without_grants(self) -> Self {
        Self { hosts: Vec::new(), keyvalue: Vec::new(), blobs: Vec::new(), publish: Vec::new(), ..self }
    }
}

/// Checks what a function is granted of its namespace's state.
pub(super) fn check(draft: &Draft) -> Result<(), SpecError> {
    buckets("keyvalue", &draft.keyvalue, KEYVALUE_MAX)?;
    buckets("blobs", &draft.blobs, BLOBS_MAX)?;
    count("publish", "queues and topics", draft.publish.len(), PUBLISH_MAX)?;
    for (at, name) in draft.publish.iter().enumerate() {
        check_name("name of a queue or topic", name)
            .map_err(|error| SpecError::new("publish", error.to_string()))?;
        if draft.publish.iter().take(at).any(|known| known == name) {
            return Err(SpecError::new("publish", format!("'{name}' stands twice")));
        }
    }
    Ok(())
}

fn buckets(field: &str, texts: &[String], max: usize) -> Result<(), SpecError> {
    count(field, "buckets", texts.len(), max)?;
    let mut known: Vec<BucketGrant> = Vec::with_capacity(texts.len());
    for text in texts {
        let grant = BucketGrant::parse(field, text)?;
        if known.iter().any(|known| known.bucket == grant.bucket) {
            return Err(SpecError::new(field, format!("the bucket '{}' stands twice", grant.bucket)));
        }
        known.push(grant);
    }
    Ok(())
}

fn count(field: &str, what: &str, found: usize, max: usize) -> Result<(), SpecError> {
    if found > max {
        return Err(SpecError::new(field, format!("{found} {what}, at most {max}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(keyvalue: &[&str], publish: &[&str]) -> String {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let draft = Draft { keyvalue: owned(keyvalue), publish: owned(publish), ..Draft::default() };
        check(&draft).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_grant_says_which_bucket_and_whether_to_write() {
        let read = |text: &str| text.parse::<BucketGrant>().map(|it| (it.bucket.clone(), it.writes));
        assert_eq!(read("images"), Ok(("images".to_owned(), true)));
        assert_eq!(read("images:read"), Ok(("images".to_owned(), false)));
        for text in ["images", "images:read"] {
            assert_eq!(text.parse::<BucketGrant>().unwrap().to_string(), text);
        }
        for bad in ["", "Images", ":read", "a:write", "a:read:read", "a/b"] {
            let error = bad.parse::<BucketGrant>().unwrap_err().to_string();
            assert!(error.starts_with("keyvalue: ") && error.contains("BUCKET:read"), "{error}");
        }
    }

    #[test]
    fn each_bound_names_itself() {
        let many: Vec<String> = (0..=KEYVALUE_MAX).map(|number| format!("b{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(over(&many, &[]), "keyvalue: 21 buckets, at most 20");
        assert_eq!(over(&[], &many), "publish: 21 queues and topics, at most 20");
        assert_eq!(over(&many[1..], &many[1..]), "");
        assert_eq!(over(&["a", "a:read"], &[]), "keyvalue: the bucket 'a' stands twice");
        let blobs = |texts: &[&str]| {
            let blobs = texts.iter().map(|text| (*text).to_owned()).collect();
            check(&Draft { blobs, ..Draft::default() }).unwrap_err().to_string()
        };
        assert_eq!(blobs(&many), "blobs: 21 buckets, at most 20");
        assert_eq!(blobs(&["a", "a:read"]), "blobs: the bucket 'a' stands twice");
        assert!(blobs(&["A"]).starts_with("blobs: "));
        assert_eq!(over(&[], &["a", "a"]), "publish: 'a' stands twice");
        assert!(over(&[], &["topic/a"]).starts_with("publish: 'topic/a' is not a name of a queue or topic"));
    }
}

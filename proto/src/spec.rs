//! What a function was granted and how it is bounded: a [`FunctionSpec`] cannot be out of bounds.

mod state;

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

pub use self::state::{BLOBS_MAX, BucketGrant, KEYVALUE_MAX, PUBLISH_MAX};

/// A bound with its default, its least and its greatest value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The key in a manifest.
    pub name: &'static str,
    /// Taken where nothing is given.
    pub default: u64,
    /// The least.
    pub min: u64,
    /// The greatest.
    pub max: u64,
}

const MIB: u64 = 1 << 20;
const QUARTER_HOUR_MS: u64 = 15 * 60 * 1000;

/// Linear memory of one call, bytes.
pub const MEMORY: Bound = Bound { name: "memory", default: 128 * MIB, min: MIB, max: 4096 * MIB };
/// Time to the response's head, milliseconds.
pub const TIMEOUT: Bound = Bound { name: "timeout", default: 30_000, min: 1, max: QUARTER_HOUR_MS };
/// Time between two body chunks in either direction, milliseconds. Streams have no total limit.
pub const IDLE_TIMEOUT: Bound = Bound { name: "idle-timeout", default: 60_000, min: 1, max: QUARTER_HOUR_MS };
/// CPU time of the whole call, milliseconds.
pub const CPU_TIME: Bound = Bound { name: "cpu-time", default: 10_000, min: 1, max: QUARTER_HOUR_MS };
/// Calls of one function at once on one node.
pub const CONCURRENCY: Bound = Bound { name: "concurrency", default: 100, min: 1, max: 1000 };
/// Nodes that hold the function ready. The default gives high availability wherever there are two nodes.
pub const REPLICAS: Bound = Bound { name: "replicas", default: 2, min: 1, max: 100 };

/// Calls that one instance serves, one after the other, where instances are used again.
pub const REUSE_CALLS: Bound = Bound { name: "reuse.calls", default: 1000, min: 1, max: 1_000_000 };
/// How old an instance is at most when it begins a call, milliseconds.
pub const REUSE_AGE: Bound = Bound { name: "reuse.age", default: 60_000, min: 1000, max: 60 * 60 * 1000 };

/// Environment variables of one function.
pub const ENV_MAX: usize = 100;
/// Bytes of the environment and the arguments together: specs are kept in memory by every controller.
pub const ENV_BYTES_MAX: usize = 32 << 10;
/// Arguments of one function.
pub const ARGS_MAX: usize = 100;
/// Hosts that one function may call.
pub const HOSTS_MAX: usize = 100;
/// Routes of one function.
pub const ROUTES_MAX: usize = 50;
/// Namespaces that one function lets have routes below its own.
pub const ROUTE_GRANTS_MAX: usize = 100;
/// Bytes of a route's host (RFC 1035) and of its path.
pub const ROUTE_HOST_MAX: usize = 253;
/// Bytes of a route's path.
pub const ROUTE_PATH_MAX: usize = 1024;
/// Bytes of a request or response body that has to be buffered (commands).
pub const BUFFERED_BODY_MAX: usize = 6 << 20;
/// Bytes of an artifact.
pub const ARTIFACT_SIZE_MAX: u64 = 256 * MIB;

/// Why a spec is refused; the field is named as in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {reason}")]
pub struct SpecError {
    /// The key in the manifest.
    pub field: String,
    /// What is wrong with it, and what is allowed.
    pub reason: String,
}

impl SpecError {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

impl Bound {
    const fn or_default(&self, value: u64) -> u64 {
        if value == 0 { self.default } else { value }
    }

    /// The value, or the default for zero.
    ///
    /// # Errors
    /// When it is out of bounds.
    pub fn check(&self, value: u64) -> Result<u64, SpecError> {
        let value = self.or_default(value);
        if (self.min..=self.max).contains(&value) {
            return Ok(value);
        }
        Err(SpecError::new(self.name, format!("{value} is not between {} and {}", self.min, self.max)))
    }
}

/// When a call may be sent to another worker after it was sent to one (design, decision 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retry {
    /// Methods that HTTP calls idempotent (RFC 9110, 9.2.2), or with an `Idempotency-Key`.
    #[default]
    Idempotent,
    /// Never.
    Never,
}

/// What a function was granted and how it is bounded. Made by [`FunctionSpec::new`], and read back where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionSpec {
    env: BTreeMap<String, String>,
    args: Vec<String>,
    hosts: Vec<String>,
    limits: Limits,
    replicas: u32,
    retry: Retry,
    reuse: Option<Reuse>,
    keyvalue: Vec<BucketGrant>,
    blobs: Vec<BucketGrant>,
    publish: Vec<String>,
}

/// For how long an instance serves one call after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reuse {
    /// So many calls at most.
    pub calls: u32,
    /// None begins in one that is older.
    pub age: Duration,
}

/// The bounds of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, bytes.
    pub memory_bytes: u64,
    /// Time to the response's head.
    pub timeout: Duration,
    /// Time between two body chunks, either direction.
    pub idle_timeout: Duration,
    /// CPU time of the whole call.
    pub cpu_time: Duration,
    /// Calls at once on one node.
    pub concurrency: u32,
}

/// A [`FunctionSpec`] before its bounds were checked; zero and empty mean the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// Environment of the guest.
    pub env: BTreeMap<String, String>,
    /// Arguments of the guest, after its name.
    pub args: Vec<String>,
    /// Hosts that the guest may call: `HOST` or `HOST:PORT`.
    pub hosts: Vec<String>,
    /// Bytes.
    pub memory_bytes: u64,
    /// Milliseconds.
    pub timeout_ms: u64,
    /// Milliseconds.
    pub idle_timeout_ms: u64,
    /// Milliseconds.
    pub cpu_time_ms: u64,
    /// Calls at once on one node.
    pub concurrency: u32,
    /// Nodes.
    pub replicas: u32,
    /// Whether a sent call may be sent again.
    pub retry: Retry,
    /// Whether an instance serves more than one call.
    pub reuse: Option<ReuseDraft>,
    /// Buckets that it may use: `BUCKET`, or `BUCKET:read`.
    pub keyvalue: Vec<String>,
    /// Buckets of blobs that it may use: `BUCKET`, or `BUCKET:read`.
    pub blobs: Vec<String>,
    /// Queues and topics to which it may publish.
    pub publish: Vec<String>,
}

/// A [`Reuse`] before its bounds were checked; zero means the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReuseDraft {
    /// Calls of one instance.
    pub calls: u32,
    /// Milliseconds.
    pub age_ms: u64,
}

impl FunctionSpec {
    /// One that was let in before: bounds of today are not asked of it.
    #[must_use]
    pub fn stored(draft: Draft) -> Self {
        let limits = Limits {
            memory_bytes: MEMORY.or_default(draft.memory_bytes),
            timeout: Duration::from_millis(TIMEOUT.or_default(draft.timeout_ms)),
            idle_timeout: Duration::from_millis(IDLE_TIMEOUT.or_default(draft.idle_timeout_ms)),
            cpu_time: Duration::from_millis(CPU_TIME.or_default(draft.cpu_time_ms)),
            concurrency: narrow(CONCURRENCY.or_default(draft.concurrency.into())),
        };
        let replicas = narrow(REPLICAS.or_default(draft.replicas.into()));
        let reuse = draft.reuse.map(|ReuseDraft { calls, age_ms }| Reuse {
            calls: narrow(REUSE_CALLS.or_default(calls.into())),
            age: Duration::from_millis(REUSE_AGE.or_default(age_ms)),
        });
        let buckets = |texts: &[String]| texts.iter().map(|text| BucketGrant::stored(text)).collect();
        let (keyvalue, blobs) = (buckets(&draft.keyvalue), buckets(&draft.blobs));
        let Draft { env, args, hosts, retry, publish, .. } = draft;
        Self { env, args, hosts, limits, replicas, retry, reuse, keyvalue, blobs, publish }
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first field that is out of its bounds.
    pub fn new(draft: Draft) -> Result<Self, SpecError> {
        check_env(&draft.env, &draft.args)?;
        if draft.hosts.len() > HOSTS_MAX {
            return Err(SpecError::new("hosts", format!("{} hosts, at most {HOSTS_MAX}", draft.hosts.len())));
        }
        for host in &draft.hosts {
            check_host(host)?;
        }
        MEMORY.check(draft.memory_bytes)?;
        TIMEOUT.check(draft.timeout_ms)?;
        IDLE_TIMEOUT.check(draft.idle_timeout_ms)?;
        CPU_TIME.check(draft.cpu_time_ms)?;
        CONCURRENCY.check(draft.concurrency.into())?;
        REPLICAS.check(draft.replicas.into())?;
        if let Some(ReuseDraft { calls, age_ms }) = draft.reuse {
            REUSE_CALLS.check(calls.into())?;
            REUSE_AGE.check(age_ms)?;
        }
        state::check(&draft)?;
        Ok(Self::stored(draft))
    }

    /// Environment of the guest.
    #[must_use]
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// Arguments of the guest, after its name.
    #[must_use]
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// Hosts that the guest may call: `HOST` or `HOST:PORT`, lower case.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The bounds of one call.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Nodes that hold it ready.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.replicas
    }

    /// Whether a sent call may be sent again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// For how long an instance serves one call after another; `None`: each call has a fresh one.
    #[must_use]
    pub const fn reuse(&self) -> Option<Reuse> {
        self.reuse
    }
}

/// Both came as numbers of 32 bits, and no default is greater.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn check_env(env: &BTreeMap<String, String>, args: &[String]) -> Result<(), SpecError> {
    if env.len() > ENV_MAX {
        return Err(SpecError::new("env", format!("{} variables, at most {ENV_MAX}", env.len())));
    }
    if args.len() > ARGS_MAX {
        return Err(SpecError::new("args", format!("{} arguments, at most {ARGS_MAX}", args.len())));
    }
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(SpecError::new(
                format!("env.{name}"),
                "a name has no '=', and neither has a zero byte",
            ));
        }
    }
    if args.iter().any(|arg| arg.contains('\0')) {
        return Err(SpecError::new("args", "an argument has no zero byte"));
    }
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        + args.iter().map(String::len).sum::<usize>();
    if bytes > ENV_BYTES_MAX {
        return Err(SpecError::new(
            "env",
            format!("{bytes} bytes with the arguments, at most {ENV_BYTES_MAX}"),
        ));
    }
    Ok(())
}

fn check_host(text: &str) -> Result<(), SpecError> {
    let wrong = |reason: &str| Err(SpecError::new("hosts", format!("'{text}': {reason}")));
    if text.contains("://") || text.contains('/') {
        return wrong("expected HOST or HOST:PORT, without scheme or path");
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') => (host, Some(port)),
        _ => (text, None),
    };
    if host.is_empty()
        || host.len() > ROUTE_HOST_MAX
        || host.bytes().any(|byte| byte.is_ascii_uppercase() || byte <= b' ')
    {
        return wrong("expected a host name in lower case, or an address");
    }
    match port {
        Some(port) if port.parse::<u16>().is_err() => wrong("the port is not a number up to 65535"),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_means_the_default() {
        let spec = FunctionSpec::new(Draft::default()).unwrap();
        assert_eq!(spec.limits().memory_bytes, 128 << 20);
        assert_eq!(spec.limits().timeout, Duration::from_secs(30));
        assert_eq!(spec.replicas(), 2);
    }

    #[test]
    fn each_bound_names_itself() {
        let over = |draft| FunctionSpec::new(draft).unwrap_err().to_string();
        assert_eq!(
            over(Draft { memory_bytes: 5 << 30, ..Draft::default() }),
            "memory: 5368709120 is not between 1048576 and 4294967296"
        );
        assert!(over(Draft { timeout_ms: 900_001, ..Draft::default() }).starts_with("timeout: "));
        assert!(over(Draft { cpu_time_ms: 900_001, ..Draft::default() }).starts_with("cpu-time: "));
        assert!(over(Draft { concurrency: 1001, ..Draft::default() }).starts_with("concurrency: "));
        assert!(over(Draft { replicas: 101, ..Draft::default() }).starts_with("replicas: "));
        assert!(over(Draft { hosts: vec!["http://a".into()], ..Draft::default() }).starts_with("hosts: "));
        let reuse = |calls, age_ms| Draft { reuse: Some(ReuseDraft { calls, age_ms }), ..Draft::default() };
        assert!(over(reuse(1_000_001, 0)).starts_with("reuse.calls: "));
        assert!(over(reuse(0, 999)).starts_with("reuse.age: "));
        let env = BTreeMap::from([("A=B".to_owned(), String::new())]);
        assert!(over(Draft { env, ..Draft::default() }).starts_with("env.A=B: "));
    }

    #[test]
    fn hosts_may_have_ports() {
        for good in ["api.example.org", "localhost:8080", "127.0.0.1:1", "[::1]:80"] {
            assert!(check_host(good).is_ok(), "{good}");
        }
        for bad in ["", "a:b", "a/b", "A.org", ":80"] {
            assert!(check_host(bad).is_err(), "{bad}");
        }
    }
}

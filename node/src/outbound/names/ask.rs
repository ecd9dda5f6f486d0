//! The door to the resolver library: asks the name servers that a `resolv.conf` names for both kinds of addresses.

use std::net::IpAddr;
use std::time::Duration;

use futures::future::{Either, select};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use tokio::time::timeout;

use super::{ADDRESSES_MAX, LOOKUP_TIMEOUT};

/// Name servers that are used, as in the C library.
const SERVERS_MAX: usize = 3;
/// Domains in which a short name is sought, as the C library had it for long.
const SEARCH_MAX: usize = 6;
/// Names that lead to each other, as in the library.
const CHAIN_MAX: usize = 8;
/// How long one attempt may take, within which a silent server is asked three times.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often all name servers are tried.
const ATTEMPTS_MAX: usize = 2;
const _: () =
    assert!(ATTEMPT_TIMEOUT.as_millis() as usize * ATTEMPTS_MAX < LOOKUP_TIMEOUT.as_millis() as usize);
/// When addresses of one kind are there, how long those of the other kind are waited for: some name servers never answer
/// for IPv6.
const OTHER_KIND_TIMEOUT: Duration = Duration::from_millis(300);

/// What the name servers said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Addresses, and for how long.
    Addresses(Vec<IpAddr>, Duration),
    /// That there are none, and for how long.
    Nothing(Duration),
    /// Nothing at all in time.
    Silence,
    /// Something else.
    Failure(String),
}

/// Asks.
#[derive(Debug)]
pub(super) struct Asker {
    resolver: TokioResolver,
    search: Vec<Name>,
    /// A name with fewer dots is sought in `search` first.
    dots_min: usize,
    /// For messages.
    servers: String,
}

impl Asker {
    /// As a `resolv.conf` says. Lines that nobody understands are passed over.
    ///
    /// # Errors
    /// When it names no name server, or has a domain that is no name.
    pub(super) fn parse(resolv_conf: &[u8]) -> Result<Self, String> {
        let (config, options) = parse_resolv_conf(resolv_conf).map_err(|error| error.to_string())?;
        Self::new(config, options)
    }

    pub(super) fn new(mut config: ResolverConfig, mut options: ResolverOpts) -> Result<Self, String> {
        config.name_servers.truncate(SERVERS_MAX);
        config.search.truncate(SEARCH_MAX);
        // What is remembered, and what stands in files, is our own business: it is bounded elsewhere.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.preserve_intermediates = true;
        options.timeout = options.timeout.clamp(Duration::from_secs(1), ATTEMPT_TIMEOUT);
        // The library counts those after the first.
        options.attempts = options.attempts.clamp(1, ATTEMPTS_MAX) - 1;
        let servers: Vec<_> = config.name_servers.iter().map(|server| server.ip.to_string()).collect();
        let (search, dots_min) = (config.search.clone(), options.ndots);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build().map_err(|error| error.to_string())?;
        Ok(Self { resolver, search, dots_min, servers: servers.join(", ") })
    }

    /// Whom it asks.
    pub(super) fn servers(&self) -> &str {
        &self.servers
    }

    /// Asks for a name, as it is and in each domain that is searched.
    pub(super) async fn ask(&self, host: &str) -> Heard {
        let Ok(name) = Name::from_ascii(host) else {
            return Heard::Failure("not a name".to_owned());
        };
        let (mut kept, mut failed) = (Duration::MAX, None);
        for candidate in self.candidates(name) {
            match self.both(candidate).await {
                found @ Heard::Addresses(..) => return found,
                Heard::Nothing(ttl) => kept = kept.min(ttl),
                failure @ (Heard::Silence | Heard::Failure(_)) => failed = failed.or(Some(failure)),
            }
        }
        failed.unwrap_or(Heard::Nothing(kept))
    }

    /// Whole names in the order in which they are asked for.
    fn candidates(&self, name: Name) -> Vec<Name> {
        if name.is_fqdn() {
            return vec![name];
        }
        let mut found: Vec<_> =
            self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
        let first = if usize::from(name.num_labels()) > self.dots_min { 0 } else { found.len() };
        let mut whole = name;
        whole.set_fqdn(true);
        found.insert(first, whole);
        found
    }

    /// Asks for addresses of both kinds at once.
    async fn both(&self, name: Name) -> Heard {
        let v4 = Box::pin(self.kind(name.clone(), RecordType::A));
        let v6 = Box::pin(self.kind(name, RecordType::AAAA));
        let (first, other) = match select(v4, v6).await {
            Either::Left((first, other)) | Either::Right((first, other)) => (first, other),
        };
        let second = if matches!(first, Heard::Addresses(..)) {
            timeout(OTHER_KIND_TIMEOUT, other).await.unwrap_or(Heard::Silence)
        } else {
            other.await
        };
        both(first, second)
    }

    async fn kind(&self, name: Name, kind: RecordType) -> Heard {
        match self.resolver.lookup(name.clone(), kind).await {
            Ok(lookup) => addresses(&name, lookup.answers()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                Heard::Nothing(seconds(none.negative_ttl.unwrap_or(0)))
            }
            Err(NetError::Timeout) => Heard::Silence,
            Err(error) => Heard::Failure(error.to_string()),
        }
    }
}

/// Of two answers for one name.
fn both(first: Heard, second: Heard) -> Heard {
    match (first, second) {
        (Heard::Addresses(some, ttl), Heard::Addresses(others, other_ttl)) => {
            Heard::Addresses(mixed(some.into_iter().chain(others)), ttl.min(other_ttl))
        }
        (Heard::Addresses(found, ttl), Heard::Nothing(_))
        | (Heard::Nothing(_), Heard::Addresses(found, ttl)) => Heard::Addresses(mixed(found), ttl),
        // Half of an answer is asked for again soon.
        (Heard::Addresses(found, _), Heard::Silence | Heard::Failure(_))
        | (Heard::Silence | Heard::Failure(_), Heard::Addresses(found, _)) => {
            Heard::Addresses(mixed(found), Duration::ZERO)
        }
        (Heard::Nothing(ttl), Heard::Nothing(other_ttl)) => Heard::Nothing(ttl.min(other_ttl)),
        (failure @ (Heard::Silence | Heard::Failure(_)), _)
        | (Heard::Nothing(_), failure @ (Heard::Silence | Heard::Failure(_))) => failure,
    }
}

/// Of both kinds in turn, IPv4 first: few are tried, and where one kind does not work the other one must be among them.
fn mixed(found: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = found.into_iter().partition(IpAddr::is_ipv4);
    let (mut v4, mut v6) = (v4.into_iter(), v6.into_iter());
    let mut mixed = Vec::new();
    while mixed.len() < ADDRESSES_MAX {
        let pair = [v4.next(), v6.next()];
        if pair == [None, None] {
            break;
        }
        mixed.extend(pair.into_iter().flatten());
    }
    mixed.truncate(ADDRESSES_MAX);
    mixed
}

/// The addresses of a name in an answer, or of that to which it leads there. An answer may have records of any name.
fn addresses(name: &Name, records: &[Record]) -> Heard {
    let (mut name, mut ttl) = (name, u32::MAX);
    for _ in 0..CHAIN_MAX {
        let leads = records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *name => Some((&target.0, record.ttl)),
            _ => None,
        });
        let Some((target, its)) = leads else { break };
        (name, ttl) = (target, ttl.min(its));
    }
    let mut found = Vec::new();
    for record in records.iter().filter(|record| record.name == *name) {
        if let Some(address) = record.data.ip_addr() {
            found.push(address);
            ttl = ttl.min(record.ttl);
        }
    }
    if found.is_empty() { Heard::Nothing(Duration::ZERO) } else { Heard::Addresses(found, seconds(ttl)) }
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(resolv_conf: &str) -> Asker {
        Asker::parse(resolv_conf.as_bytes()).unwrap()
    }

    #[test]
    fn a_short_name_is_sought_in_the_domains_first_and_a_long_one_last() {
        let asker = asker("nameserver 10.0.0.1\nsearch a.example b.example\noptions ndots:2\n");
        let candidates = |host| {
            let found = asker.candidates(Name::from_ascii(host).unwrap());
            found.iter().map(Name::to_ascii).collect::<Vec<_>>()
        };
        assert_eq!(candidates("db.x"), ["db.x.a.example.", "db.x.b.example.", "db.x."]);
        assert_eq!(candidates("db.x.y"), ["db.x.y.", "db.x.y.a.example.", "db.x.y.b.example."]);
        assert_eq!(candidates("db.x."), ["db.x."], "a dot at the end says that it is whole");
    }

    #[test]
    fn a_resolv_conf_names_servers_within_bounds_or_is_none() {
        let four: String = (1..=4).map(|number| format!("nameserver 10.0.0.{number}\n")).collect();
        assert_eq!(asker(&four).servers(), "10.0.0.1, 10.0.0.2, 10.0.0.3");
        let asker = asker("nonsense here\n\u{0}\nnameserver ::1\noptions timeout:900 attempts:900\n");
        assert_eq!(asker.servers(), "::1");
        assert!(asker.resolver.options().timeout <= ATTEMPT_TIMEOUT && asker.resolver.options().attempts < 2);
        for none in ["", "search example\n", "nameserver nowhere\n", "\u{0}\u{0}\n"] {
            assert!(Asker::parse(none.as_bytes()).is_err(), "{none:?}");
        }
        assert!(Asker::parse(&[0xff, 0xfe, b'\n']).is_err());
    }

    #[test]
    fn both_kinds_are_among_those_that_are_tried() {
        let v4 = (1..=20).map(|number| IpAddr::from([10, 0, 0, number]));
        let v6 = (1..=20).map(|number| IpAddr::from([0, 0, 0, 0, 0, 0, 0, number]));
        let mixed = mixed(v6.chain(v4));
        assert_eq!(mixed.len(), ADDRESSES_MAX);
        assert!(mixed[0].is_ipv4() && mixed[1].is_ipv6() && mixed[2].is_ipv4(), "{mixed:?}");
    }

    #[test]
    fn half_an_answer_is_not_kept_and_no_failure_is_taken_for_nothing() {
        let found = |ttl| Heard::Addresses(vec![IpAddr::from([10, 0, 0, 1])], seconds(ttl));
        assert_eq!(both(found(60), Heard::Nothing(seconds(5))), found(60));
        assert_eq!(both(Heard::Silence, found(60)), found(0));
        assert_eq!(both(Heard::Nothing(seconds(5)), Heard::Nothing(seconds(3))), Heard::Nothing(seconds(3)));
        assert_eq!(both(Heard::Nothing(seconds(5)), Heard::Silence), Heard::Silence);
        let failure = || Heard::Failure("refused".to_owned());
        assert_eq!(both(failure(), Heard::Nothing(seconds(5))), failure());
    }
}

//! Specs and routes to and from their wire form.

use std::collections::BTreeMap;

use super::{DecodeError, Door, InField};
use crate::pb;
use crate::route::{Match, RouteGrant, RouteSpec};
use crate::spec::{Draft, FunctionSpec, ROUTE_GRANTS_MAX, ROUTES_MAX, Retry, ReuseDraft};

/// Reads a spec; zero and empty mean the default.
///
/// # Errors
/// When a bound is not kept, by the door of the API.
pub fn spec_from_wire(wire: pb::FunctionSpec, door: Door) -> Result<FunctionSpec, DecodeError> {
    let retry = match wire.retry() {
        pb::Retry::Unspecified | pb::Retry::Idempotent => Retry::Idempotent,
        pb::Retry::Never => Retry::Never,
    };
    let env: BTreeMap<String, String> = wire.env.into_iter().collect();
    let draft = Draft {
        env,
        args: wire.args,
        hosts: wire.hosts,
        memory_bytes: wire.memory_bytes,
        timeout_ms: wire.timeout_ms,
        idle_timeout_ms: wire.idle_timeout_ms,
        cpu_time_ms: wire.cpu_time_ms,
        concurrency: wire.concurrency,
        replicas: wire.replicas,
        retry,
        reuse: wire.reuse.map(|pb::Reuse { calls, age_ms }| ReuseDraft { calls, age_ms }),
        keyvalue: wire.keyvalue,
        blobs: wire.blobs,
        publish: wire.publish,
    };
    match door {
        Door::Api => FunctionSpec::new(draft).in_field("spec"),
        Door::Disk => Ok(FunctionSpec::stored(draft)),
    }
}

/// Writes a spec.
#[must_use]
pub fn spec_to_wire(spec: &FunctionSpec) -> pb::FunctionSpec {
    let limits = spec.limits();
    let retry = match spec.retry() {
        Retry::Idempotent => pb::Retry::Idempotent,
        Retry::Never => pb::Retry::Never,
    };
    pb::FunctionSpec {
        env: spec.env().iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        args: spec.args().to_vec(),
        hosts: spec.hosts().to_vec(),
        memory_bytes: limits.memory_bytes,
        timeout_ms: millis(limits.timeout),
        idle_timeout_ms: millis(limits.idle_timeout),
        cpu_time_ms: millis(limits.cpu_time),
        concurrency: limits.concurrency,
        replicas: spec.replicas(),
        retry: retry.into(),
        reuse: spec.reuse().map(|reuse| pb::Reuse { calls: reuse.calls, age_ms: millis(reuse.age) }),
        keyvalue: spec.keyvalue().iter().map(ToString::to_string).collect(),
        publish: spec.publish().to_vec(),
        blobs: spec.blobs().iter().map(ToString::to_string).collect(),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Reads the routes of one function.
///
/// # Errors
/// When one is no route, stands twice, or, by the door of the API, there are too many.
pub fn routes_from_wire(wire: Vec<pb::RouteSpec>, door: Door) -> Result<Vec<RouteSpec>, DecodeError> {
    if wire.len() > ROUTES_MAX && door == Door::Api {
        return Err(DecodeError::new("routes", format!("{} routes, at most {ROUTES_MAX}", wire.len())));
    }
    let mut routes = Vec::with_capacity(wire.len());
    for part in wire {
        let route = route(&part, door)?;
        if routes.contains(&route) {
            return Err(DecodeError::new("routes", format!("'{route}' stands twice")));
        }
        routes.push(route);
    }
    Ok(routes)
}

/// Reads whom a function lets have routes that take calls from its own.
///
/// # Errors
/// When one is no namespace, or, by the door of the API, stands twice or there are too many.
pub fn route_grants_from_wire(wire: &[String], door: Door) -> Result<Vec<RouteGrant>, DecodeError> {
    const FIELD: &str = "route_grants";
    let mut grants = Vec::with_capacity(wire.len());
    for text in wire {
        let grant = match door {
            Door::Api => text.parse::<RouteGrant>(),
            Door::Disk => RouteGrant::stored(text),
        }
        .in_field(FIELD)?;
        if door == Door::Api && grants.contains(&grant) {
            return Err(DecodeError::new(FIELD, format!("'{grant}' stands twice")));
        }
        grants.push(grant);
    }
    if grants.len() > ROUTE_GRANTS_MAX && door == Door::Api {
        return Err(DecodeError::new(
            FIELD,
            format!("{} namespaces, at most {ROUTE_GRANTS_MAX}", grants.len()),
        ));
    }
    Ok(grants)
}

/// Writes them.
#[must_use]
pub fn route_grants_to_wire(grants: &[RouteGrant]) -> Vec<String> {
    grants.iter().map(ToString::to_string).collect()
}

fn route(wire: &pb::RouteSpec, door: Door) -> Result<RouteSpec, DecodeError> {
    let matching = match wire.r#match() {
        pb::RouteMatch::Unspecified => return Err(DecodeError::missing("match")),
        pb::RouteMatch::Exact => Match::Exact,
        pb::RouteMatch::Prefix => Match::Prefix,
    };
    // The prefix of everything is kept as an empty path.
    let path = if wire.path.is_empty() { "/" } else { &wire.path };
    match door {
        Door::Api => RouteSpec::new(&wire.host, path, matching),
        Door::Disk => RouteSpec::stored(&wire.host, path, matching),
    }
    .in_field("route")
}

/// A route that stands somewhere: [`Door::Disk`].
impl TryFrom<pb::RouteSpec> for RouteSpec {
    type Error = DecodeError;

    fn try_from(wire: pb::RouteSpec) -> Result<Self, DecodeError> {
        route(&wire, Door::Disk)
    }
}

impl From<&RouteSpec> for pb::RouteSpec {
    fn from(route: &RouteSpec) -> Self {
        let matching = match route.matching() {
            Match::Exact => pb::RouteMatch::Exact,
            Match::Prefix => pb::RouteMatch::Prefix,
        };
        Self { host: route.host().to_owned(), path: route.path().to_owned(), r#match: matching.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::id::FunctionId;
    use crate::key::Key;
    use crate::record::{Record, Route};

    #[test]
    fn specs_and_routes_round_trip() {
        let spec =
            FunctionSpec::new(Draft { retry: Retry::Never, memory_bytes: 1 << 21, ..Draft::default() })
                .unwrap();
        let reuse = Some(ReuseDraft { calls: 7, age_ms: 2000 });
        let reusing = FunctionSpec::new(Draft { reuse, ..Draft::default() }).unwrap();
        let (keyvalue, publish) = (vec!["a".into(), "b:read".into()], vec!["c".into()]);
        let blobs = vec!["d".into(), "e:read".into()];
        let keeping = FunctionSpec::new(Draft { keyvalue, blobs, publish, ..Draft::default() }).unwrap();
        for door in [Door::Api, Door::Disk] {
            for spec in [&spec, &reusing, &keeping] {
                assert_eq!(spec_from_wire(spec_to_wire(spec), door).unwrap(), *spec);
            }
        }
        for text in ["/a", "/a/*", "/*", "/", "shop.example/a/b/*"] {
            let route: RouteSpec = text.parse().unwrap();
            assert_eq!(RouteSpec::try_from(pb::RouteSpec::from(&route)).unwrap(), route);
        }
    }

    /// Each deploy and each restart reads routes again: one that changed would meet another function's then.
    #[test]
    fn any_route_stays_the_same_however_often_it_is_read() {
        let slashes = RouteSpec::new("", "/a///", Match::Prefix).unwrap();
        assert_eq!(slashes.to_string(), "/a/*");
        let path = "(/{1,3}|/{1,2}[a-cA-C.%~]{0,3}){1,4}/{0,4}";
        let matching = vec![pb::RouteMatch::Exact, pb::RouteMatch::Prefix];
        // A failure shows the route itself: no file is needed to find it again.
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(host in "([A-Za-z0-9.-]{0,8}|[äÄ]{1,2})", path in path, matching in select(matching))| {
            let wire = pb::RouteSpec { host, path, r#match: matching.into() };
            let once = RouteSpec::try_from(wire).unwrap();
            let record = Record::Route(Route { spec: once, function: FunctionId::parse("", "f").unwrap() });
            let again = Record::try_from(pb::Record::from(&record)).unwrap();
            prop_assert_eq!(&again, &record);
            prop_assert_eq!(record.key().to_string().parse::<Key>().unwrap(), record.key());
        });
    }

    #[test]
    fn a_route_twice_is_refused() {
        let wire = pb::RouteSpec::from(&"/a".parse::<RouteSpec>().unwrap());
        assert!(routes_from_wire(vec![wire.clone(), wire], Door::Disk).is_err());
    }

    #[test]
    fn grants_round_trip_and_have_bounds() {
        let wire = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        for door in [Door::Api, Door::Disk] {
            let read = route_grants_from_wire(&wire(&["shop", "*"]), door).unwrap();
            assert_eq!(route_grants_to_wire(&read), ["shop", "*"]);
            let covered = |name: &str| read.iter().filter(|it| it.covers(&name.parse().unwrap())).count();
            assert_eq!((covered("shop"), covered("other")), (2, 1));
        }
        let over = vec!["a"; ROUTE_GRANTS_MAX + 1];
        for bad in [&["Shop"][..], &["a", "a"], &over] {
            assert!(route_grants_from_wire(&wire(bad), Door::Api).is_err(), "{bad:?}");
            assert!(route_grants_from_wire(&wire(bad), Door::Disk).is_ok(), "it was let in once: {bad:?}");
        }
    }

    #[test]
    fn what_was_let_in_once_is_read_whatever_the_bounds_are_now() {
        let spec = pb::FunctionSpec {
            args: vec!["a".repeat(40_000); 101],
            hosts: vec!["HTTP://x/".into()],
            replicas: 101,
            timeout_ms: 900_001,
            keyvalue: vec!["No name/:read".into(); 30],
            blobs: vec!["No name/:read".into(); 30],
            publish: vec!["No name".into()],
            ..pb::FunctionSpec::default()
        };
        assert!(spec_from_wire(spec.clone(), Door::Api).is_err());
        let read = spec_from_wire(spec, Door::Disk).unwrap();
        assert_eq!((read.replicas(), read.args().len()), (101, 101));
        assert_eq!((read.keyvalue().len(), read.publish().len()), (30, 1));
        assert!(read.keyvalue().iter().all(|it| it.bucket() == "No name/" && !it.may_write()));
        assert_eq!(read.limits().concurrency, 100, "zero is the default still");

        let routes: Vec<_> = (0..=ROUTES_MAX)
            .map(|number| pb::RouteSpec {
                host: "h".repeat(300),
                path: format!("/.coracle/{number}"),
                r#match: pb::RouteMatch::Exact.into(),
            })
            .collect();
        assert!(routes_from_wire(routes.clone(), Door::Api).is_err());
        for route in routes_from_wire(routes, Door::Disk).unwrap() {
            let key = Key::Route(route);
            assert_eq!(key.to_string().parse::<Key>().unwrap(), key);
        }
    }
}

//! Goal: the tree of routes finds what a scan of all routes would.

use coracle_proto::id::FunctionId;
use coracle_proto::record::Route;
use coracle_proto::route::{Match, RouteSpec};
use proptest::prelude::*;

use crate::view::Routes;

fn naive<'a>(routes: &'a [RouteSpec], host: &str, path: &str) -> Option<&'a RouteSpec> {
    routes.iter().filter(|spec| spec.matches(host, path)).max_by_key(|spec| spec.specificity())
}

fn sample(of: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(of)
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(sample(&["a", "b", "ab", ""]), 0..5)
        .prop_map(|segments| format!("/{}", segments.join("/")))
}

fn spec() -> impl Strategy<Value = RouteSpec> {
    let host = sample(&["", "h.example", "g.example"]);
    (host, path(), any::<bool>()).prop_map(|(host, path, exact)| {
        RouteSpec::new(host, &path, if exact { Match::Exact } else { Match::Prefix }).unwrap()
    })
}

proptest! {
    #[test]
    fn a_lookup_is_a_scan(
        mut specs in proptest::collection::vec(spec(), 0..30),
        removed in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
        hosts in proptest::collection::vec(sample(&["", "h.example", "g.example", "x.example"]), 20),
        paths in proptest::collection::vec(path(), 20),
    ) {
        let function: FunctionId = "f".parse().unwrap();
        let mut routes = Routes::default();
        specs.sort();
        specs.dedup();
        for spec in &specs {
            routes.put(Route { spec: spec.clone(), function: function.clone() });
        }
        for index in removed {
            if !specs.is_empty() {
                routes.remove(&specs.swap_remove(index.index(specs.len())));
            }
        }
        for (host, path) in hosts.iter().zip(&paths) {
            let found = routes.find(host, path).map(|route| &route.spec);
            prop_assert_eq!(found, naive(&specs, host, path), "{} {}", host, path);
        }
        prop_assert_eq!(routes.all().len(), specs.len());
        for spec in &specs {
            routes.remove(spec);
        }
        prop_assert!(routes.is_empty(), "{:?}", routes);
    }
}

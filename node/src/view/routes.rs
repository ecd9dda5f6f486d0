//! Finds the route of a request: a tree of path segments for each host.

use std::sync::Arc;

use coracle_proto::record::Route;
use coracle_proto::route::{Match, RouteSpec};
use imbl::OrdMap;

/// Every route. A lookup walks down the request's segments and stops where no route goes deeper; the last route
/// that it passed is the most specific one ([`RouteSpec::specificity`]).
#[derive(Debug, Clone, Default)]
pub struct Routes {
    hosts: OrdMap<Box<str>, Arc<Segment>>,
}

#[derive(Debug, Clone, Default)]
struct Segment {
    exact: Option<Arc<Route>>,
    prefix: Option<Arc<Route>>,
    below: OrdMap<Box<str>, Arc<Segment>>,
}

impl Routes {
    /// The most specific route of a host (lower case, no port) and a path.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        let path = path.strip_prefix('/')?;
        let of_host = if host.is_empty() { None } else { self.hosts.get(host) };
        of_host
            .and_then(|tree| tree.find(path))
            .or_else(|| self.hosts.get("").and_then(|tree| tree.find(path)))
    }

    /// Puts a route, in place of the one that stands there.
    pub fn put(&mut self, route: Route) {
        let spec = route.spec.clone();
        self.set(&spec, Some(Arc::new(route)));
    }

    /// Removes a route.
    pub fn remove(&mut self, spec: &RouteSpec) {
        self.set(spec, None);
    }

    /// Every route, by host and path.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Route>> {
        let mut found = Vec::new();
        self.hosts.values().for_each(|tree| tree.collect(&mut found));
        found
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether nothing was put or removed in between.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.hosts.ptr_eq(&other.hosts)
    }

    fn set(&mut self, spec: &RouteSpec, route: Option<Arc<Route>>) {
        let mut tree = self.hosts.get(spec.host()).map(|tree| Segment::clone(tree)).unwrap_or_default();
        match spec.path().strip_prefix('/') {
            Some(path) => tree.set(path.split('/'), spec.matching(), route),
            // The prefix of everything.
            None => tree.prefix = route,
        }
        if tree.is_empty() {
            self.hosts.remove(spec.host());
        } else {
            self.hosts.insert(spec.host().into(), Arc::new(tree));
        }
    }
}

impl Segment {
    fn find(&self, path: &str) -> Option<&Arc<Route>> {
        let mut here = self;
        let mut best = here.prefix.as_ref();
        for segment in path.split('/') {
            match here.below.get(segment) {
                Some(below) => here = below,
                None => return best,
            }
            best = here.prefix.as_ref().or(best);
        }
        here.exact.as_ref().or(best)
    }

    /// Routes have at most 1024 bytes, so this goes at most 1024 deep.
    fn set<'a>(
        &mut self,
        mut segments: impl Iterator<Item = &'a str>,
        matching: Match,
        route: Option<Arc<Route>>,
    ) {
        let Some(segment) = segments.next() else {
            match matching {
                Match::Exact => self.exact = route,
                Match::Prefix => self.prefix = route,
            }
            return;
        };
        let mut below = self.below.get(segment).map(|below| Self::clone(below)).unwrap_or_default();
        // A trait object: each level would be a type of its own otherwise.
        let rest: &mut dyn Iterator<Item = &'a str> = &mut segments;
        below.set(rest, matching, route);
        if below.is_empty() {
            self.below.remove(segment);
        } else {
            self.below.insert(segment.into(), Arc::new(below));
        }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_none() && self.prefix.is_none() && self.below.is_empty()
    }

    fn collect(&self, found: &mut Vec<Arc<Route>>) {
        found.extend(self.exact.iter().chain(&self.prefix).cloned());
        self.below.values().for_each(|below| below.collect(found));
    }
}

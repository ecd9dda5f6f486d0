//! Whose calls a new route would take: a subtree belongs to the namespace that has its root, until it grants it.

use coracle_proto::id::{FunctionId, Namespace};
use coracle_proto::record::Route;
use coracle_proto::route::{Match, RouteGrant, RouteSpec};

use super::ClusterState;
use super::function::answers_at;

/// A route that would take calls of another namespace's function, which has not granted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The new one.
    pub route: RouteSpec,
    /// Who has these calls now, and by which route.
    pub owner: Route,
}

impl ClusterState {
    /// The first of the function's routes that would take calls of another namespace. What the function has already it
    /// keeps: routes are looked at when they are new. Costs as much as there are routes without a host below a new one
    /// with a host; else as much as a path has segments.
    #[must_use]
    pub fn taken(&self, function: &FunctionId, own: &[RouteSpec]) -> Option<Taken> {
        let known = self.function(function);
        let has = known.and_then(|known| answers_at(function, &known.routes).ok()).unwrap_or_default();
        let asked = answers_at(function, own).unwrap_or_default();
        asked.difference(&has).find_map(|route| {
            let owner = self.owner(function, route)?.clone();
            Some(Taken { route: route.clone(), owner })
        })
    }

    /// Routes of other namespaces, to which nothing is granted, that get calls which the function's own ones would get
    /// without them: they were there before. In the order of routes. Looks at every route.
    #[must_use]
    pub fn kept_by_others(
        &self,
        function: &FunctionId,
        own: &[RouteSpec],
        grants: &[RouteGrant],
    ) -> Vec<&Route> {
        let own = answers_at(function, own).unwrap_or_default();
        let foreign = |namespace: &Namespace| {
            *namespace != function.namespace && !grants.iter().any(|grant| grant.covers(namespace))
        };
        self.routes()
            .filter(|route| foreign(&route.function.namespace))
            .filter(|route| own.iter().any(|own| route.spec.takes_from(own)))
            .collect()
    }

    /// Whoever has calls that a new route would take, and did not grant them.
    fn owner(&self, function: &FunctionId, new: &RouteSpec) -> Option<&Route> {
        let own = self.answering(new, new);
        let below =
            self.below_without_host(new).filter(|route| route.function.namespace != function.namespace);
        let below = below.filter_map(|route| {
            // A route of this host may have these calls already, and go further than the new one: nothing is taken then.
            self.answering(&route.spec.at_host(new.host()), new).filter(|route| route.spec.host().is_empty())
        });
        own.into_iter().chain(below).find(|route| !self.may_take(function, &route.function))
    }

    /// The route by which whatever is meant by `asked` is answered without `new`; none where parts of it are answered by
    /// several, or nothing is.
    fn answering(&self, asked: &RouteSpec, new: &RouteSpec) -> Option<&Route> {
        [asked.host(), ""].into_iter().find_map(|host| {
            let own = asked.at_host(host);
            let candidates = std::iter::once(own.clone()).chain(own.above());
            candidates.filter(|it| it != new).find_map(|it| self.route(&it))
        })
    }

    /// Where the route is a prefix of one host: what is at and below its path on every host.
    fn below_without_host(&self, new: &RouteSpec) -> impl Iterator<Item = &Route> {
        let every = new.at_host("");
        let wanted = !new.host().is_empty() && new.matching() == Match::Prefix;
        // No route is less than the exact one of that path, and none has an empty one.
        let first = RouteSpec::stored("", every.path(), Match::Exact).unwrap_or_else(|_| every.clone());
        let from = wanted.then(|| self.routes.range(first..)).into_iter().flatten();
        let here = from.map(|(_, kept)| &kept.record).take_while({
            let path = every.path().to_owned();
            move |route| route.spec.host().is_empty() && route.spec.path().starts_with(&path)
        });
        here.filter(move |route| every.matches("", route.spec.path()))
    }

    /// Whether `who` may have routes that take calls from those of `owner`.
    fn may_take(&self, who: &FunctionId, owner: &FunctionId) -> bool {
        let grants = self.function(owner).map(|owner| owner.route_grants.as_slice()).unwrap_or_default();
        who.namespace == owner.namespace || grants.iter().any(|grant| grant.covers(&who.namespace))
    }
}

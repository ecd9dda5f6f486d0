//! Routes.

use coracle_proto::pb;
use serde::Serialize;

use super::{function_name, route_text};
use crate::output::Row;

/// Which host and path belong to which function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RouteView {
    route: String,
    host: String,
    path: String,
    r#match: &'static str,
    function: String,
}

impl From<pb::Route> for RouteView {
    fn from(wire: pb::Route) -> Self {
        let spec = wire.spec.unwrap_or_default();
        Self {
            host: spec.host.clone(),
            path: spec.path.clone(),
            r#match: match spec.r#match() {
                pb::RouteMatch::Unspecified => "unknown",
                pb::RouteMatch::Exact => "exact",
                pb::RouteMatch::Prefix => "prefix",
            },
            route: route_text(spec),
            function: function_name(&wire.namespace, &wire.function),
        }
    }
}

impl Row for RouteView {
    const COLUMNS: &'static [&'static str] = &["ROUTE", "FUNCTION", "HOST", "PATH", "MATCH"];
    const WIDE_FROM: usize = 2;

    fn cells(&self) -> Vec<String> {
        let (host, path) = (self.host.clone(), self.path.clone());
        vec![self.route.clone(), self.function.clone(), host, path, self.r#match.to_owned()]
    }

    fn name(&self) -> String {
        self.route.clone()
    }
}

#[cfg(test)]
mod tests {
    use coracle_proto::route::RouteSpec;

    use super::*;

    #[test]
    fn a_route_is_shown_as_it_is_written() {
        let spec: RouteSpec = "shop.example/cart/*".parse().unwrap();
        let wire =
            pb::Route { spec: Some((&spec).into()), namespace: "shop".into(), function: "cart".into() };
        let view = RouteView::from(wire);
        assert_eq!(view.cells(), ["shop.example/cart/*", "shop/cart", "shop.example", "/cart", "prefix"]);
    }
}

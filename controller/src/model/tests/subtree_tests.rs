//! Goal: nobody takes a part of another namespace's subtree that was not granted, and nobody loses what is there.

use coracle_proto::record::Outcome;

use crate::model::samples::{Asked, deploy_at, deploy_granting, function};
use crate::model::{COMMAND_FORMAT, ClusterState, Command};

/// `NAME ROUTE OWNER OWNERS_ROUTE`, or nothing.
fn taken(state: &ClusterState, name: &str, routes: &[&str]) -> Option<String> {
    let routes: Vec<_> = routes.iter().map(|route| route.parse().unwrap()).collect();
    let taken = state.taken(&function(name), &routes)?;
    Some(format!("{} from {} of {}", taken.route, taken.owner.spec, taken.owner.function))
}

fn cluster(deploys: &[(&str, &[&str])]) -> Asked {
    let mut asked = Asked::cluster(1);
    asked.run(Command::RaiseFormat { format: COMMAND_FORMAT });
    for (name, routes) in deploys {
        let outcome = asked.run(deploy_at(name, 1, routes)).outcome;
        assert!(matches!(outcome, Outcome::Deployed { .. }), "{name}: {outcome:?}");
    }
    asked
}

#[test]
fn a_part_of_anothers_subtree_is_taken_by_whatever_is_more_specific() {
    let asked = cluster(&[("hello", &[]), ("site", &["/exact", "shop.example/x/*"])]);
    for (route, from) in [
        ("/hello/login/*", "/hello/*"),
        ("/hello/login", "/hello/*"),
        ("/hello", "/hello/*"),
        ("/hello/", "/hello/*"),
        ("shop.example/hello/*", "/hello/*"),
        ("shop.example/hello/a", "/hello/*"),
        ("shop.example/exact", "/exact"),
        ("shop.example/exact/*", "/exact"),
        ("shop.example/x/y/*", "shop.example/x/*"),
        ("other.example/*", "/exact"),
    ] {
        let owner = if from == "/hello/*" { "hello" } else { "site" };
        let expected = format!("{route} from {from} of {owner}");
        assert_eq!(taken(&asked.state, "mallory/m", &[route]), Some(expected), "{route}");
        assert_eq!(taken(&asked.state, "other", &[route]), None, "the namespace's own: {route}");
    }
    for free in ["/*", "/hell/*", "/helloo", "/exact/x", "/x/*", "other.example/free/*"] {
        assert_eq!(taken(&asked.state, "mallory/m", &[free]), None, "{free}");
    }
}

#[test]
fn the_route_that_a_name_makes_is_a_route_as_any_other() {
    let asked = cluster(&[("hello", &[])]);
    let expected = Some("/hello/world/* from /hello/* of hello".to_owned());
    assert_eq!(taken(&asked.state, "hello/world", &[]), expected);
    assert_eq!(taken(&asked.state, "shop/world", &[]), None);
    // The other way round nothing is taken: whoever comes later gets what is left, and is told.
    let asked = cluster(&[("hello/world", &[])]);
    assert_eq!(taken(&asked.state, "hello", &[]), None);
    let kept = asked.state.kept_by_others(&function("hello"), &[], &[]);
    assert_eq!(kept.iter().map(|route| route.spec.to_string()).collect::<Vec<_>>(), ["/hello/world/*"]);
}

#[test]
fn the_nearest_root_counts_and_what_is_granted_is_granted_on() {
    let mut asked = cluster(&[]);
    asked.run(deploy_granting("hello", &[], &["login"]));
    assert_eq!(taken(&asked.state, "login/l", &["/hello/login/*"]), None);
    let expected = Some("/hello/login/* from /hello/* of hello".to_owned());
    assert_eq!(taken(&asked.state, "mallory/m", &["/hello/login/*"]), expected);
    asked.run(deploy_at("login/l", 1, &["/hello/login/*"]));
    assert_eq!(taken(&asked.state, "login/deep", &["/hello/login/deep"]), None);
    let expected = Some("/hello/login/x from /hello/login/* of login/l".to_owned());
    assert_eq!(taken(&asked.state, "mallory/m", &["/hello/login/x"]), expected);
    assert_eq!(taken(&asked.state, "other", &["/hello/login/x"]), expected, "granted is granted");
    assert!(asked.state.kept_by_others(&function("hello"), &[], &["login".parse().unwrap()]).is_empty());
}

#[test]
fn everybody_can_be_granted_and_a_grant_that_ends_takes_nothing_back() {
    let mut asked = cluster(&[]);
    asked.run(deploy_granting("site", &["/*"], &["*"]));
    assert_eq!(taken(&asked.state, "shop/cart", &[]), None);
    asked.run(deploy_at("shop/cart", 1, &[]));
    let outcome = asked.run(deploy_at("site", 1, &["/*"])).outcome;
    assert!(matches!(outcome, Outcome::Deployed { unchanged: false, .. }), "grants are content: {outcome:?}");
    assert_eq!(taken(&asked.state, "shop/cart", &[]), None, "what it has it keeps");
    let expected = Some("/shop/other/* from /* of site".to_owned());
    assert_eq!(taken(&asked.state, "shop/other", &[]), expected);
}

#[test]
fn what_was_taken_before_the_rule_stays_and_is_deployed_again() {
    // Applied as any log has it: the rule is asked at the door only.
    let mut asked = cluster(&[("hello", &[]), ("mallory/m", &["/hello/login/*"])]);
    assert_eq!(taken(&asked.state, "mallory/m", &["/hello/login/*"]), None);
    let more = Some("/hello/more from /hello/* of hello".to_owned());
    assert_eq!(taken(&asked.state, "mallory/m", &["/hello/login/*", "/hello/more"]), more);
    asked.run(deploy_at("mallory/m", 2, &["/hello/login/*"]));
    let restored = ClusterState::restore(asked.state.records()).unwrap();
    assert_eq!(restored.hash(), asked.state.hash());
}

#[test]
fn a_host_takes_only_what_no_route_of_that_host_has() {
    let asked =
        cluster(&[("hello", &["/hello/*"]), ("mallory/m", &["h.example/hello/*"]), ("mallory/n", &["/n/*"])]);
    assert_eq!(taken(&asked.state, "mallory/o", &["h.example/*"]), None, "all below is its own there");
    let expected = Some("i.example/* from /hello/* of hello".to_owned());
    assert_eq!(taken(&asked.state, "mallory/o", &["i.example/*"]), expected);
    let kept = asked.state.kept_by_others(&function("hello"), &["/hello/*".parse().unwrap()], &[]);
    assert_eq!(kept.len(), 1, "{kept:?}");
}

#[test]
fn a_route_of_that_host_that_goes_further_keeps_what_it_has() {
    let mut asked = cluster(&[]);
    asked.run(deploy_granting("hello", &[], &["shop"]));
    asked.run(deploy_at("shop/s", 1, &["h.example/hello/*"]));
    assert_eq!(taken(&asked.state, "wide", &["h.example/*"]), None, "it is the wider one");
    // Nobody blocks a host by a narrow route of it, below a route that another one has without a host.
    let asked = cluster(&[("other/o", &["/x/y/*"]), ("mallory/m", &["k.example/z"])]);
    let expected = Some("k.example/* from /x/y/* of other/o".to_owned());
    assert_eq!(taken(&asked.state, "wide", &["k.example/*"]), expected);
    assert_eq!(taken(&asked.state, "wide", &["k.example/z/*"]), None);
}

#[test]
fn grants_are_commands_of_the_third_format() {
    assert_eq!(deploy_at("a", 1, &[]).format(), 1);
    assert_eq!(deploy_granting("a", &[], &["*"]).format(), 3);
}

//! Each call is counted once, and series are bounded.

use coracle_proto::id::{FunctionId, VersionNumber};

use super::*;

fn version(number: u64) -> VersionId {
    VersionId { function: FunctionId::parse("shop", "cart").unwrap(), number: VersionNumber::new(number) }
}

#[test]
fn a_call_is_counted_once_and_ends_when_dropped() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let mut running = metrics.begin(&metrics.series(&version(3)));
    metrics.answered(&mut running, "success", true, &Span::none());
    assert!(text(&registry).contains("coracle_calls_in_flight{function=\"shop/cart\"} 1"));
    drop(running);
    let text = text(&registry);
    let line =
        "coracle_calls_total{function=\"shop/cart\",version=\"3\",outcome=\"success\",start=\"cold\"} 1";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("coracle_calls_in_flight{function=\"shop/cart\"} 0"), "{text}");
    assert!(text.contains("coracle_call_duration_seconds_count{function=\"shop/cart\"} 1"), "{text}");
    assert!(!text.contains("# EOF"), "{text}");
}

#[test]
fn series_are_bounded() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    for number in 0..VERSIONS_MAX as u64 + 10 {
        let mut running = metrics.begin(&metrics.series(&version(number)));
        metrics.answered(&mut running, "success", false, &Span::none());
    }
    let text = text(&registry);
    assert_eq!(text.lines().filter(|line| line.starts_with("coracle_calls_total")).count(), VERSIONS_MAX + 1);
    let other =
        "coracle_calls_total{function=\"other\",version=\"other\",outcome=\"success\",start=\"warm\"} 10";
    assert!(text.contains(other), "{text}");
}

#[test]
fn versions_that_are_not_called_any_more_make_room() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let call = |number, outcome, cold| {
        let mut running = metrics.begin(&metrics.series(&version(number)));
        metrics.answered(&mut running, outcome, cold, &Span::none());
    };
    call(0, "node-lost", true);
    metrics.retain(|_| false, |_| false);
    assert!(text(&registry).contains("version=\"0\""), "there is room enough");
    let newest = VERSIONS_MAX as u64 * 2;
    for number in 0..newest {
        CLASSES.into_iter().for_each(|outcome| call(number, outcome, false));
        metrics.retain(|version| version.number.get() + 1 >= number, |_| true);
    }
    call(newest, "success", false);
    let text = text(&registry);
    assert!(text.contains(&format!("version=\"{newest}\"")) && !text.contains("other"), "{text}");
    assert!(!text.contains("version=\"0\""), "{text}");
    assert!(text.lines().count() < VERSIONS_MAX * 4, "{}", text.lines().count());
}

#[test]
fn a_function_that_is_gone_has_no_series() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    (0..VERSIONS_MAX as u64).for_each(|number| drop(metrics.begin(&metrics.series(&version(number)))));
    metrics.retain(|_| false, |_| false);
    assert!(!text(&registry).contains("shop/cart"), "{}", text(&registry));
}

/// A deploy makes a version gone while its function is called all the time.
#[test]
fn what_is_called_while_it_is_forgotten_is_counted_from_its_next_call_on() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let series: Vec<_> = (0..VERSIONS_MAX as u64).map(|number| metrics.series(&version(number))).collect();
    let call = |series| {
        let mut running = metrics.begin(series);
        metrics.answered(&mut running, "success", false, &Span::none());
    };
    let gone = metrics.take_uncalled(|_| false).unwrap();
    call(&series[0]);
    metrics.forget_all(&gone);
    call(&series[0]);
    let text = text(&registry);
    let count =
        "coracle_calls_total{function=\"shop/cart\",version=\"0\",outcome=\"success\",start=\"warm\"} 1";
    assert!(text.contains(count), "{text}");
    assert!(text.contains("coracle_call_duration_seconds_count{function=\"shop/cart\"} 1"), "{text}");
}

//! Goal: lists have what is wanted in their order, a bounded page at a time.

use std::collections::BTreeSet;

use super::bench::{Bench, place};
use super::queue_bench::{invocation_of, published, put, submit};
use super::record_bench::{TRACE, bury, names};
use crate::model::{
    Listing, Mark, Name, PAGE_MAX, Phase, Place, Publish, Settings, Wanted, invocations, queues,
};

fn bench() -> Bench {
    Bench::with_queue(Settings::DEFAULT)
}

fn numbers(ids: &[&str]) -> Vec<u128> {
    ids.iter().map(|id| invocation_of(id).get()).collect()
}

#[test]
fn a_list_has_the_newest_first_and_what_is_wanted() {
    let mut bench = bench();
    let begin_ms = bench.now_ms;
    for id in ["a", "b", "c"] {
        bench.now_ms += 10;
        bench.publish(published(id));
    }
    bench.now_ms += 10;
    let attributes = [("traceparent".to_owned(), format!("00-{TRACE}-00f067aa0ba902b7-01"))].into();
    bench.run(submit(Publish { attributes, ..published("d") }));
    bench.run(put(Place::parse("other", "q").unwrap(), Settings::DEFAULT));
    bench.publish(Publish { queue: Place::parse("other", "q").unwrap(), ..published("e") });
    bury(&mut bench);
    bench.claim_one();
    let list = |wanted: &Wanted| -> Vec<u128> {
        let listing = invocations(&bench.records, &place("q").namespace, wanted, None, 9).unwrap();
        assert_eq!(listing.after, None);
        names(&listing)
    };
    assert_eq!(list(&Wanted::ALL), numbers(&["d", "c", "b", "a"]));
    let phases = |phases: &[Phase]| Wanted { phases: phases.to_vec(), ..Wanted::ALL };
    assert_eq!(list(&phases(&[Phase::Dead])), numbers(&["a"]));
    assert_eq!(list(&phases(&[Phase::Running, Phase::Waiting])), numbers(&["d", "c", "b"]));
    let between = Wanted { since_ms: begin_ms + 20, until_ms: begin_ms + 40, ..Wanted::ALL };
    assert_eq!(list(&between), numbers(&["c", "b"]));
    assert_eq!(list(&Wanted { trace_id: TRACE.into(), ..Wanted::ALL }), numbers(&["d"]));
    let of = |name| Wanted { function: Some(Name::parse(name).unwrap()), ..Wanted::ALL };
    assert_eq!((list(&of("f")).len(), list(&of("g")).len()), (4, 0));
}

#[test]
fn a_list_comes_in_pages_that_look_at_so_many() {
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    let many = PAGE_MAX + 5;
    for number in 0..many {
        bench.now_ms += u64::from(number % 2 == 0);
        bench.publish(published(&number.to_string()));
    }
    let namespace = place("q").namespace;
    let page = |wanted: &Wanted, after| invocations(&bench.records, &namespace, wanted, after, 400).unwrap();
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let listing = page(&Wanted::ALL, after);
        found.extend(names(&listing));
        after = listing.after.map(|mark| Mark::from_wire(&mark.to_wire()).unwrap());
        pages += 1;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((pages, found.len(), found.iter().collect::<BTreeSet<_>>().len()), (3, many, many));
    let none = Wanted { phases: vec![Phase::Dead], ..Wanted::ALL };
    let first = page(&none, None);
    assert!(first.seen.is_empty() && first.after.is_some(), "it stops, and says where to go on");
    assert_eq!(page(&none, first.after), Listing { seen: Vec::new(), after: None });
    assert_eq!(Mark::from_wire(b"123"), None);
}

#[test]
fn queues_of_a_namespace_are_listed_by_name() {
    let mut bench = bench();
    bench.run(submit(published("b")));
    for other in ["shop-2", "a"] {
        bench.run(put(Place::parse(other, "q").unwrap(), Settings::DEFAULT));
    }
    let namespace = place("q").namespace;
    let names = |after: Option<&Name>| -> Vec<String> {
        let found = queues(&bench.records, &namespace, after, 9).unwrap();
        found.iter().map(|(place, _)| place.to_string()).collect()
    };
    assert_eq!(names(None), ["shop/function/f", "shop/q"]);
    assert_eq!(names(Some(&Name::parse("function/f").unwrap())), ["shop/q"]);
    assert_eq!(queues(&bench.records, &namespace, None, 1).unwrap().len(), 1);
}

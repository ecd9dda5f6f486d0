//! Goal: a request that its function cannot take is refused at the gateway.

use std::sync::Arc;

use coracle_proto::record::{Kind, Version};
use coracle_proto::spec::Draft;

use super::world::{Plan, full};
use crate::call::Call;
use crate::stores::tests::fake::Store;
use crate::worker::tests::{Guest, text, version};

/// By then somebody would wait for what never runs.
#[tokio::test]
async fn what_only_events_call_takes_no_request_now_or_later() {
    let guest = Guest::new(async |_: Call| Ok(text("ran")));
    let world = Plan::local(Arc::clone(&guest)).start().await;
    let store = Store::start().await;
    world.change(Store::records(&[&store]));
    let takes_events = Version { kind: Kind::EventComponent, ..(*version("g", Draft::default())).clone() };
    world.add(&Arc::new(takes_events), "/g");
    for prefer in ["", "respond-async"] {
        let request = world.request("POST", "/g").header("prefer", prefer).body(full("x")).unwrap();
        let answer = world.whole(request).await;
        assert_eq!((answer.status, answer.header("coracle-error")), (400, "bad-request"), "{prefer}");
        assert!(answer.text.contains("only events call the function"), "{}", answer.text);
    }
    assert_eq!((store.state().submits.len(), guest.calls()), (0, 0));
}

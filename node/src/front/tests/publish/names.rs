//! Goal: nobody is taken for somebody else, by a key or by a type, and nothing for what it is not.

use super::{EVENT, last, problem, publish, world};

#[tokio::test]
async fn a_key_is_of_one_body_and_of_whoever_gave_it() {
    let (world, store) = world().await;
    let keyed = [("idempotency-key", "k")];
    let first = publish(&world, "jobs", &keyed, "a").await;
    assert_eq!(first.status, 202);
    assert_eq!(problem(&publish(&world, "jobs", &keyed, "b").await), (422, "idempotency-conflict"));
    assert_eq!(publish(&world, "jobs", &keyed, "a").await.header("location"), first.header("location"));
    let own = [("idempotency-key", "k"), ("authorization", "Bearer 1")];
    let other = publish(&world, "jobs", &own, "b").await;
    assert_eq!(other.status, 202, "another caller's key is another one");
    assert_ne!(other.header("location"), first.header("location"));
    let (message, body) = last(&store);
    assert_eq!((message.fingerprint.len(), body.source.len()), (32, "//default/queue/jobs/".len() + 32));
    publish(&world, "jobs", &own[1..], "b").await;
    let (message, body) = last(&store);
    assert_eq!((message.fingerprint.len(), body.source.as_str()), (0, "//default/queue/jobs"));
}

#[tokio::test]
async fn a_key_beside_an_id_is_refused_by_name() {
    let (world, store) = world().await;
    let key = ("idempotency-key", "k");
    let json = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}";
    let structured = [key, ("content-type", "application/cloudevents+json")];
    let batch = [key, ("content-type", "application/cloudevents-batch+json")];
    let binary = [&EVENT[..], &[key]].concat();
    for (headers, body) in
        [(&binary[..], String::new()), (&structured, json.to_owned()), (&batch, format!("[{json},{json}]"))]
    {
        let whole = publish(&world, "jobs", headers, body).await;
        assert_eq!(problem(&whole), (400, "bad-request"));
        assert!(whole.text.contains("header 'idempotency-key': ") && whole.text.contains("an id of its own"));
    }
    assert_eq!(store.state().publishes.len(), 0);
}

#[tokio::test]
async fn nobody_says_in_a_publish_what_the_platform_says() {
    let (world, store) = world().await;
    let forged = [&EVENT[..3], &[("ce-type", "dev.coracle.kv.set")]].concat();
    let whole = publish(&world, "jobs", &forged, "").await;
    assert_eq!(problem(&whole), (400, "bad-request"));
    assert!(whole.text.contains("attribute 'type' is 'dev.coracle.kv.set'"), "{whole:?}");
    assert_eq!(store.state().publishes.len(), 0);
}

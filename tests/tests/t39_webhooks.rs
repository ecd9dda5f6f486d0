//! Goal: what a sender of webhooks signs is run once, what is not signed never is, and a function that wants many messages of a call gets them.

use std::time::Duration;

use bytes::Bytes;
use coracle_proto::pb;
use coracle_proto::pb::admin_client::AdminClient;
use coracle_proto::pb::queues_client::QueuesClient;
use coracle_proto::pb::secrets_client::SecretsClient;
use coracle_proto::pb::webhooks_client::WebhooksClient;
use coracle_tests::{Answer, Cluster, Options, guest, within};
use http::Method;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
const SOON: Duration = Duration::from_secs(10);
/// As GitHub's documentation has them.
const SECRET: &str = "It's a Secret to Everybody";
const BODY: &str = "Hello, World!";
const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

/// A cluster whose data group has begun, and its store.
struct World {
    cluster: Cluster,
    store: Channel,
    place: Option<pb::EventsPlace>,
}

impl World {
    async fn start() -> Self {
        let cluster = Cluster::with(PROGRAM, Options { nodes: 1, stores: true, ..Options::default() }).await;
        let _ = cluster.leading_store(1).await;
        let groups = cluster.run(&["cluster", "groups", "-o", "json"]).await.ok().json();
        let group = groups[0]["group"].as_u64().and_then(|group| u32::try_from(group).ok()).expect("a group");
        let admin = format!("http://{}", cluster.nodes[0].grpc);
        let mut admin = AdminClient::connect(admin).await.expect("a node");
        let cluster_id = admin.info(pb::InfoRequest {}).await.expect("an answer").into_inner().cluster_id;
        let endpoint = Endpoint::from_shared(format!("http://{}", cluster.nodes[0].store));
        let store = endpoint.expect("an address").timeout(SOON).connect_lazy();
        let namespace = "default".to_owned();
        Self { cluster, store, place: Some(pb::EventsPlace { cluster_id, group, namespace }) }
    }

    /// What comes to the webhook `hook` is for this function.
    async fn hook(&self, function: &str) {
        let (place, secret) = (self.place.clone(), "github".to_owned());
        let value = Bytes::from_static(SECRET.as_bytes());
        let put = pb::PutSecretRequest { place, secret: secret.clone(), value, ..Default::default() };
        SecretsClient::new(self.store.clone()).put(put).await.expect("a secret");
        let (function, verify) = (function.to_owned(), "github".to_owned());
        let spec = Some(pb::WebhookSpec { function, verify, secret, ..Default::default() });
        let (place, webhook) = (self.place.clone(), "hook".to_owned());
        let put = pb::PutWebhookRequest { place, webhook, spec, ..Default::default() };
        WebhooksClient::new(self.store.clone()).put(put).await.expect("a webhook");
    }

    async fn sends(&self, id: &str, signature: &str) -> Answer {
        let url = self.cluster.url(0, "/.coracle/webhook/hook");
        let headers = [
            ("x-hub-signature-256", signature),
            ("x-github-delivery", id),
            ("x-github-event", "ping"),
            ("content-type", "text/plain"),
        ];
        self.cluster.client.send(Method::POST, &url, &headers, Bytes::from(BODY)).await.expect("an answer")
    }

    /// Waits until so many invocations of the function have succeeded.
    async fn succeeded(&self, function: &str, count: usize) -> Vec<Value> {
        within(SOON, &format!("{count} of {function} have succeeded"), async || {
            let list = ["invocation", "list", "--function", function, "--limit", "1000", "-o", "json"];
            let all = self.cluster.run(&list).await.ok().json().as_array().expect("a list").clone();
            let done = all.iter().filter(|record| record["state"] == "succeeded").count();
            if done == count { Ok(all) } else { Err(format!("{done} have: {all:?}")) }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_is_run_once_and_what_is_not_never() {
    let world = World::start().await;
    world.cluster.deploy("http", &guest("c-http.component.wasm"), &[]).await;
    let unknown = world.sends("1", SIGNATURE).await;
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    world.hook("http").await;
    let first = world.sends("1", SIGNATURE).await;
    assert_eq!(first.status, 202, "{}", first.text());
    let again = world.sends("1", SIGNATURE).await;
    assert_eq!(again.status, 202, "{}", again.text());
    let told = |answer: &Answer| serde_json::from_str::<Value>(&answer.text()).expect("JSON");
    assert_eq!(told(&first)["invocation"], told(&again)["invocation"]);
    assert_eq!((&told(&first)["repeated"], &told(&again)["repeated"]), (&false.into(), &true.into()));
    assert_eq!(first.header("location"), again.header("location"));
    let replayed = world.sends("2", SIGNATURE).await;
    assert_eq!(told(&replayed)["invocation"], told(&first)["invocation"], "its sender's id is not signed");
    let forged = world.sends("3", &SIGNATURE.replace('7', "8")).await;
    assert_eq!(forged.status, 401, "{}", forged.text());
    assert_eq!(forged.header("coracle-error"), "webhook-refused");
    let all = world.succeeded("http", 1).await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((&all[0]["kind"], &all[0]["queue"]), (&"webhook".into(), &"webhook/hook".into()), "{all:?}");
    let get = pb::GetWebhookRequest { place: world.place.clone(), webhook: "hook".to_owned() };
    let shown = WebhooksClient::new(world.store.clone()).get(get).await.expect("a webhook").into_inner();
    let shown = shown.webhook.expect("a webhook");
    assert_eq!((shown.received, shown.refused), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_wants_many_messages_of_a_call_gets_them() {
    const MESSAGES: usize = 20;
    let world = World::start().await;
    world.cluster.deploy("http", &guest("c-http.component.wasm"), &[]).await;
    let delivery = pb::DeliverySpec {
        batch_max: u32::try_from(MESSAGES).expect("few"),
        batch_wait_ms: 5000,
        ..Default::default()
    };
    let spec = pb::QueueSpec { function: "http".to_owned(), delivery: Some(delivery), ..Default::default() };
    let (place, queue) = (world.place.clone(), "jobs".to_owned());
    let put = pb::PutQueueRequest { place, queue, spec: Some(spec), ..Default::default() };
    QueuesClient::new(world.store.clone()).put(put).await.expect("a queue");
    let event = |id: usize| serde_json::json!({"specversion": "1.0", "id": id.to_string(), "source": "/t", "type": "t", "data": id});
    let events = Value::from((0..MESSAGES).map(event).collect::<Vec<_>>()).to_string();
    let url = world.cluster.url(0, "/.coracle/publish/jobs");
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let answer = world.cluster.client.send(Method::POST, &url, &headers, Bytes::from(events)).await;
    assert_eq!(answer.expect("an answer").status, 202);
    let all = world.succeeded("http", MESSAGES).await;
    // Each message has its share of what its call took: all shares together are the answers of all calls.
    let mut answer = 0;
    for record in &all {
        // Only the first message of a call has what it answered.
        let id = record["id"].as_str().expect("an id");
        let url = world.cluster.url(0, &format!("/.coracle/invocations/{id}/result"));
        let told = world.cluster.client.get(&url).await.expect("an answer");
        if told.status == 200 {
            answer = told.body.len() as u64;
        }
    }
    let made = |record: &Value| record["reports"][0]["bytes_out"].as_u64().expect("bytes");
    let made: u64 = all.iter().map(made).sum();
    assert!(answer > 0 && made >= answer, "{all:?}");
    let calls = made / answer;
    assert!(calls <= 2, "{MESSAGES} messages were run by {calls} calls: {all:?}");
    assert!(all.iter().all(|record| record["attempts"] == 1), "{all:?}");
}

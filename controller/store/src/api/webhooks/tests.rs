//! Webhooks over a real group: made, shown, and what is sent to them let in once or refused by cause.

use bytes::Bytes;
use coracle_proto::id::{InvocationId, NodeId};
use coracle_proto::pb::{DeliverySpec, EventHeader, QueueSpec};

use super::super::bench::{refused, request};
use super::*;
use crate::hmac;
use crate::model::{Phase, waiting};
use crate::world::World;

fn spec(verify: &str, secret: &str) -> WebhookSpec {
    let (function, verify, secret) = ("f".to_owned(), verify.to_owned(), secret.to_owned());
    WebhookSpec { function, verify, secret, ..WebhookSpec::default() }
}

fn hex(code: [u8; 32]) -> String {
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As GitHub sends it.
fn github(secret: &[u8], id: &str, body: &'static [u8]) -> DeliverWebhookRequest {
    let headers = [
        ("x-hub-signature-256", format!("sha256={}", hex(hmac::sha256(secret, &[body])))),
        ("x-github-delivery", id.to_owned()),
        ("x-github-event", "push".to_owned()),
        ("content-type", "application/json".to_owned()),
    ];
    sent(headers.into(), body)
}

fn slack(secret: &[u8], at_s: u64, body: &'static [u8]) -> DeliverWebhookRequest {
    let at = at_s.to_string();
    let code = hmac::sha256(secret, &[b"v0:", at.as_bytes(), b":", body]);
    let headers = [("x-slack-signature", format!("v0={}", hex(code))), ("x-slack-request-timestamp", at)];
    sent(headers.into(), body)
}

fn sent(headers: Vec<(&str, String)>, body: &'static [u8]) -> DeliverWebhookRequest {
    let header = |(name, value): (&str, String)| EventHeader { name: name.to_owned(), value: value.into() };
    let headers = headers.into_iter().map(header).collect();
    let invocation = InvocationId::new(rand::random()).to_wire();
    DeliverWebhookRequest { invocation, headers, body: body.into(), ..DeliverWebhookRequest::default() }
}

impl World {
    fn webhooks(&self) -> WebhooksService {
        WebhooksService { context: self.context() }
    }

    async fn put_webhook(&self, spec: WebhookSpec, dry_run: bool) -> Result<Response<WebhookReply>, Status> {
        let (place, webhook) = (self.place(), "w".to_owned());
        let put = PutWebhookRequest { place, request: request(), webhook, spec: Some(spec), dry_run };
        self.webhooks().put(Request::new(put)).await
    }

    async fn deliver(
        &self,
        webhook: &str,
        sent: DeliverWebhookRequest,
    ) -> Result<Response<DeliverWebhookReply>, Status> {
        let (place, webhook) = (self.place(), webhook.to_owned());
        self.webhooks()
            .deliver(Request::new(DeliverWebhookRequest { place, request: request(), webhook, ..sent }))
            .await
    }

    async fn shown(&self) -> WebhookDetail {
        let get = GetWebhookRequest { place: self.place(), webhook: "w".into() };
        self.webhooks().get(Request::new(get)).await.unwrap().into_inner().webhook.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_told_shown_and_deleted() {
    let world = World::start().await;
    let (code, sentence) = refused(world.put_webhook(spec("github", "s"), false).await);
    assert_eq!((code, &sentence[..]), (Code::SecretNotFound, "there is no secret 'shop/s'"));
    world.put_secret("s", b"hush", None).await.unwrap();
    for (wrong, field) in [
        (spec("gitlab", "s"), "'spec.verify': 'gitlab' is none of github, stripe, slack, standard"),
        (WebhookSpec { function: "F".into(), ..spec("github", "s") }, "'spec.function'"),
        (spec("github", "S"), "'spec.secret'"),
        (WebhookSpec { tolerance_ms: u64::MAX, ..spec("github", "s") }, "tolerance_ms"),
    ] {
        let (code, sentence) = refused(world.put_webhook(wrong, true).await);
        assert!(code == Code::InvalidArgument && sentence.contains(field), "{sentence}");
    }
    let only_asked = world.put_webhook(spec("github", "s"), true).await.unwrap().into_inner();
    assert_eq!(only_asked.webhook, None);
    let delivery = Some(DeliverySpec { path: "/hook".into(), ..DeliverySpec::default() });
    let queue = Some(QueueSpec { attempts: 9, delivery, ..QueueSpec::default() });
    let told = WebhookSpec { queue, ..spec("stripe", "s") };
    let made = world.put_webhook(told, false).await.unwrap().into_inner().webhook.unwrap();
    assert_eq!(made, world.shown().await);
    let spec = made.spec.unwrap();
    assert_eq!((&spec.verify[..], &spec.secret[..], spec.tolerance_ms), ("stripe", "s", 300_000));
    let queue = spec.queue.unwrap();
    assert_eq!((queue.attempts, &queue.delivery.unwrap().path[..]), (9, "/hook"));
    assert_eq!((&made.queue[..], made.received, made.refused), ("webhook/w", 0, 0));
    let list = ListWebhooksRequest { place: world.place(), ..ListWebhooksRequest::default() };
    let listed = world.webhooks().list(Request::new(list)).await.unwrap().into_inner();
    assert_eq!((listed.webhooks.len(), &listed.after[..]), (1, ""));
    let delete = async || {
        let (place, webhook) = (world.place(), "w".to_owned());
        let delete = DeleteWebhookRequest { place, request: request(), webhook };
        world.webhooks().delete(Request::new(delete)).await
    };
    delete().await.unwrap();
    assert_eq!(refused(delete().await).0, Code::WebhookNotFound);
    assert_eq!(refused(world.deliver("w", github(b"hush", "1", b"{}")).await).0, Code::WebhookNotFound);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_is_kept_once_and_what_is_not_is_counted() {
    let world = World::start().await;
    world.put_secret("s", b"old", None).await.unwrap();
    world.put_webhook(spec("github", "s"), false).await.unwrap();
    world.put_secret("s", b"new", None).await.unwrap();
    let mut ids = Vec::new();
    let (one, two) = (b"{\"a\":1}", b"{\"a\":2}");
    // What was recorded is the same by another id, and by another secret.
    let all = [
        (&b"new"[..], "1", one),
        (b"old", "2", two),
        (b"new", "1", one),
        (b"old", "3", one),
        (b"new", "", two),
    ];
    for (secret, id, body) in all {
        let reply = world.deliver("w", github(secret, id, body)).await.unwrap().into_inner();
        ids.push((InvocationId::try_from(&reply.invocation[..]).unwrap(), reply.repeated));
    }
    assert_eq!((ids[2], ids[0].1, ids[1].1), ((ids[0].0, true), false, false));
    assert_eq!((ids[3], ids[4]), ((ids[0].0, true), (ids[1].0, true)));
    assert_eq!(world.phase(ids[0].0), Phase::Waiting);
    let queue = Place::parse("shop", "webhook/w").unwrap();
    let page = waiting(&world.served.replica.state(), &queue, 0, 9).unwrap();
    assert_eq!(page.messages.len(), 2);
    let body = &page.messages[0].body;
    assert_eq!((&body.kind[..], &body.source[..], &body.id[..]), ("webhook", "//shop/webhook/w", "1"));
    assert_eq!((&body.attributes["subject"][..], &body.data[..]), ("push", &b"{\"a\":1}"[..]));

    let (code, sentence) = refused(world.deliver("w", github(b"wrong", "3", b"{}")).await);
    assert_eq!(code, Code::WebhookRefused);
    assert!(sentence.starts_with("what came to webhook 'shop/w' is refused: none of its signatures"));
    let (code, sentence) = refused(world.deliver("w", sent(vec![], b"{}")).await);
    assert!(code == Code::WebhookRefused && sentence.contains("X-Hub-Signature-256"), "{sentence}");
    world.put_secret("s", b"newest", Some(0)).await.unwrap();
    assert_eq!(refused(world.deliver("w", github(b"new", "4", b"{}")).await).0, Code::WebhookRefused);
    let shown = world.shown().await;
    assert_eq!((shown.received, shown.refused), (2, 3));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_hears_its_challenge_and_its_time_is_the_groups() {
    let world = World::start().await;
    world.put_secret("s", b"hush", None).await.unwrap();
    world.put_webhook(spec("slack", "s"), false).await.unwrap();
    let now_s = world.served.clock.now_ms() / 1000;
    let asked = b"{\"type\":\"url_verification\",\"challenge\":\"3eZbr\"}";
    let reply = world.deliver("w", slack(b"hush", now_s, asked)).await.unwrap().into_inner();
    assert_eq!((&reply.answer[..], &reply.invocation[..]), (&b"3eZbr"[..], &b""[..]));
    assert_eq!(refused(world.deliver("w", slack(b"wrong", now_s, asked)).await).0, Code::WebhookRefused);
    assert_eq!(world.shown().await.received, 0, "nothing is run for it");
    for at_s in [now_s - 400, now_s + 400] {
        let (code, sentence) = refused(world.deliver("w", slack(b"hush", at_s, b"{}")).await);
        assert!(code == Code::WebhookRefused && sentence.contains("seconds a"), "{sentence}");
    }
    let event = b"{\"type\":\"event_callback\",\"event_id\":\"Ev1\"}";
    let first = world.deliver("w", slack(b"hush", now_s, event)).await.unwrap().into_inner();
    let again = world.deliver("w", slack(b"hush", now_s - 1, event)).await.unwrap().into_inner();
    assert_eq!((first.repeated, again.repeated, &again.invocation), (false, true, &first.invocation));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_no_invocation_is_refused_and_a_secret_that_is_gone_lets_nobody_in() {
    let world = World::start().await;
    world.put_secret("s", b"hush", None).await.unwrap();
    world.put_webhook(spec("github", "s"), false).await.unwrap();
    let large = DeliverWebhookRequest { body: vec![b'x'; 65_537].into(), ..sent(vec![], b"") };
    assert_eq!(refused(world.deliver("w", large).await).0, Code::RequestTooLarge);
    let nameless = DeliverWebhookRequest { invocation: Bytes::new(), ..github(b"hush", "1", b"{}") };
    assert_eq!(refused(world.deliver("w", nameless).await).0, Code::InvalidArgument);
    let chained = DeliverWebhookRequest { hops: 17, ..github(b"hush", "1", b"{}") };
    assert_eq!(refused(world.deliver("w", chained).await).0, Code::LoopDetected);
    let op = Op::DropSecret { secret: Place::parse("shop", "s").unwrap(), force: true };
    world.done(op).await;
    let (code, sentence) = refused(world.deliver("w", github(b"hush", "1", b"{}")).await);
    assert!(code == Code::WebhookRefused && sentence.ends_with("or is no key of its form"), "{sentence}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_asks_for_the_time_before_it_says_that_a_senders_is_wrong() {
    const HOUR_S: u64 = 60 * 60;
    let world = World::start().await;
    world.put_secret("s", b"hush", None).await.unwrap();
    world.put_webhook(spec("slack", "s"), false).await.unwrap();
    let (clock, term) = (&world.served.clock, world.served.replica.status().term);
    let now_s = clock.now_ms() / 1000 + HOUR_S;
    clock.members().set_asked(term - 1);
    for node in [2, 3] {
        clock.members().hear(NodeId::new(node), now_s * 1000);
    }
    assert!(clock.now_ms() / 1000 < now_s - HOUR_S / 2, "it goes on from the last entry");
    world.deliver("w", slack(b"hush", now_s, b"{\"event_id\":\"Ev1\"}")).await.unwrap();
    world.end().await;
}

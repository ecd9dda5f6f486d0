//! Publishing over a real group: all or none, bounds by name, and streams that are acknowledged by number.

use coracle_proto::pb::QueueSpec;

use super::super::super::bench::{message, of, request};
use super::*;
use crate::model;
use crate::world::World;

impl World {
    async fn publish_to(&self, to: &str, messages: Vec<PublishMessage>) -> Result<PublishReply, Refusal> {
        publish(&self.context(), self.publish_of(to, messages)).await
    }

    fn taken_in(&self, queue: &str) -> u64 {
        let place = Place::parse("shop", queue).unwrap();
        model::counts(&self.served.replica.state(), &place).unwrap().published
    }
}

fn numbered(number: u64, request: PublishRequest) -> Result<PublishNumbered, Status> {
    Ok(PublishNumbered { number, request: Some(request) })
}

/// What a stream is answered: numbers with codes, empty where it was done, and how it ended.
async fn answers(
    world: &World,
    frames: Vec<Result<PublishNumbered, Status>>,
) -> (Vec<(u64, String)>, Option<Status>) {
    let mut answers = publish_all(world.context(), stream::iter(frames));
    let (mut found, mut why) = (Vec::new(), None);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(PublishAcknowledged { number, end }) => match end.unwrap() {
                End::Reply(_) => found.push((number, String::new())),
                End::Refused(refused) => found.push((number, refused.code)),
            },
            Err(status) => why = Some(status),
        }
    }
    found.sort();
    (found, why)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_messages_are_taken_or_none_is() {
    let world = World::start().await;
    world.put_queue("q", QueueSpec { messages_max: 3, ..of("f") }).await;
    let reply = world.publish_to("q", vec![message("a"), message("b"), message("a")]).await.unwrap();
    let told: Vec<_> = reply.published.iter().map(|it| (it.repeated, it.copies, it.message > 0)).collect();
    assert_eq!(told, [(false, 1, true), (false, 1, true), (true, 1, true)]);
    assert_eq!(reply.published[0].invocation, reply.published[2].invocation, "the first one's");
    let refusal = world.publish_to("q", vec![message("c"), message("d")]).await.unwrap_err();
    assert_eq!(refusal.code, Code::QueueFull);
    assert_eq!(world.taken_in("q"), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_that_of_one_message() {
    let world = World::start().await;
    world.put_queue("q", of("f")).await;
    let marked = |mark: &'static str| PublishMessage { fingerprint: mark.into(), ..message("a") };
    world.publish_to("q", vec![marked("one")]).await.unwrap();
    for (mark, code) in [("one", None), ("", None), ("two", Some(Code::IdempotencyConflict))] {
        let answer = world.publish_to("q", vec![marked(mark)]).await;
        assert_eq!(answer.err().map(|refusal| refusal.code), code, "{mark}");
    }
    let large = PublishMessage { fingerprint: vec![0; 33].into(), ..message("b") };
    assert_eq!(world.publish_to("q", vec![large]).await.unwrap_err().code, Code::InvalidArgument);
    assert_eq!(world.taken_in("q"), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_never_fit_is_too_large_and_malformed_events_are_named() {
    let world = World::start().await;
    world.put_queue("q", QueueSpec { messages_max: 1, ..of("f") }).await;
    let refusal = world.publish_to("q", vec![message("a"), message("b")]).await.unwrap_err();
    assert_eq!(refusal.code, Code::RequestTooLarge, "{refusal}");
    let mut wrong = message("a");
    wrong.body.as_mut().unwrap().attributes.insert("Type".into(), "t".into());
    let refusal = world.publish_to("q", vec![message(""), wrong]).await.unwrap_err();
    assert!(refusal.message.contains("message 2 of 'messages': field 'body.attributes'"), "{refusal}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_is_done_once() {
    let world = World::start().await;
    world.put_queue("q", of("f")).await;
    let asked = PublishRequest { request: request(), ..world.publish_of("q", vec![message("")]) };
    let first = publish(&world.context(), asked.clone()).await.unwrap();
    let again = publish(&world.context(), asked).await.unwrap();
    assert_eq!((first.published, world.taken_in("q")), (again.published, 1));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_to_a_topic_says_how_many_have_it() {
    let world = World::start().await;
    world.put_topic(&["f", "g"]).await;
    for repeated in [false, true] {
        let reply = world.publish_to("t", vec![message("a")]).await.unwrap();
        let [published] = &reply.published[..] else { panic!("{reply:?}") };
        assert_eq!((published.copies, published.repeated, published.message), (2, repeated, 0));
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_by_name() {
    let world = World::start().await;
    world.put_queue("q", of("f")).await;
    let large = |id: &str| {
        let mut message = message(id);
        message.body.as_mut().unwrap().data = vec![7; 60 * 1024].into();
        message
    };
    let mut bodiless = message("");
    bodiless.body = None;
    let mut nameless = message("");
    nameless.invocation = vec![1].into();
    let wrong = [
        ("q", Vec::new(), Code::InvalidArgument, "'messages'"),
        ("q", vec![message(""); 257], Code::RequestTooLarge, "257 messages in one request, and at most 256"),
        ("q", vec![large(""); 8], Code::RequestTooLarge, "at most 458752 are allowed"),
        ("q", vec![message(""), bodiless], Code::InvalidArgument, "message 2 of 'messages': field 'body'"),
        ("q", vec![nameless], Code::InvalidArgument, "field 'invocation'"),
        ("z", vec![message("")], Code::QueueNotFound, "there is neither a queue nor a topic 'shop/z'"),
        ("function/f", vec![message("")], Code::InvalidArgument, "is a queue that the platform makes"),
        ("bucket/a/f", vec![message("")], Code::InvalidArgument, "field 'to'"),
    ];
    for (to, messages, code, part) in wrong {
        let refusal = world.publish_to(to, messages).await.unwrap_err();
        assert_eq!(refusal.code, code, "{refusal}");
        assert!(refusal.message.contains(part), "{refusal}");
    }
    assert_eq!(world.taken_in("q"), 0);
    let seven: Vec<_> = (0..7).map(|number| large(&number.to_string())).collect();
    assert_eq!(world.publish_to("q", seven).await.unwrap().published.len(), 7, "they have room in an entry");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_acknowledged_by_number_and_goes_on_after_a_refusal() {
    let world = World::start().await;
    world.put_queue("q", of("f")).await;
    let to = |number: u64| if number == 70 { "z" } else { "q" };
    let frames = (0..200).map(|number| numbered(number, world.publish_of(to(number), vec![message("")])));
    let (found, why) = answers(&world, frames.collect()).await;
    let expected = |number| if number == 70 { "queue-not-found".to_owned() } else { String::new() };
    assert_eq!(found, (0..200).map(|number| (number, expected(number))).collect::<Vec<_>>());
    assert!(why.is_none(), "{why:?}");
    assert_eq!(world.taken_in("q"), 199);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_frame_ends_a_stream_when_what_came_before_is_answered() {
    let world = World::start().await;
    world.put_queue("q", of("f")).await;
    let good = |number| numbered(number, world.publish_of("q", vec![message("")]));
    let bad = [
        (good(2), "is not greater than the one before"),
        (Ok(PublishNumbered { number: 9, request: None }), "field 'request'"),
        (Err(Status::internal("torn")), "torn"),
    ];
    for (bad, part) in bad {
        let (found, why) = answers(&world, vec![good(1), good(2), bad, good(10)]).await;
        assert_eq!(found, [(1, String::new()), (2, String::new())]);
        let why = why.expect("it is told why");
        assert!(why.message().contains(part), "{why}");
    }
    assert_eq!(world.taken_in("q"), 6);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_leads_any_more_is_said_for_each() {
    let world = World::start().await;
    world.put_queue("q", of("f")).await;
    let context = world.context();
    let frames = (1..=3).map(|number| numbered(number, world.publish_of("q", vec![message("")])));
    let frames: Vec<_> = frames.collect();
    world.end().await;
    let mut answers = publish_all(context, stream::iter(frames));
    let mut codes = Vec::new();
    while let Some(answer) = answers.next().await {
        let End::Refused(refused) = answer.unwrap().end.unwrap() else { panic!("it was done") };
        codes.push(refused.code);
    }
    assert_eq!(codes.len(), 3);
    assert!(codes.iter().all(|code| ["not-leader", "outcome-unknown"].contains(&&code[..])), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_are_under_way_and_no_more() {
    let world = World::start().await;
    world.put_queue("q", of("f")).await;
    let read = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let frames: Vec<_> =
        (1..=200).map(|number| numbered(number, world.publish_of("q", vec![message("")]))).collect();
    let frames = stream::iter(frames).inspect(move |_| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    });
    let mut answers = publish_all(world.context(), frames);
    let first = futures::poll!(answers.next());
    let begun = read.load(std::sync::atomic::Ordering::SeqCst);
    assert!(begun <= UNDER_WAY_MAX + 1, "{begun} were read");
    assert_eq!(usize::from(first.is_ready()) + answers.count().await, 200);
    world.end().await;
}

//! Goal: a component that Spin's own SDK built for its Redis trigger runs as it is: `tests/guests/spin-redis`.

use std::sync::Arc;

use coracle_proto::record::Kind;
use coracle_proto::spec::Draft;
use coracle_proto::status::Code;

use super::fixture::{Fixture, Function, body, call, collect, env, eventually, guest};
use super::state::Memory;
use crate::call::{Call, CallError, Trigger};

async fn message(fixture: &Fixture, function: &Function, text: &'static str) -> Result<u16, CallError> {
    let request = http::Request::post("/").header("ce-type", "a.type").body(body(text)).unwrap();
    let trigger = Trigger::Queue { kind: "queue".to_owned(), route: String::new() };
    let answer = fixture.runtime.invoke(Call { trigger, ..call(function, request) }).await?;
    collect(answer).await.map(|(status, _)| status)
}

#[tokio::test]
async fn what_a_message_says_is_kept_under_its_first_word() {
    let memory = Arc::new(Memory::default());
    let fixture = Fixture::with_state(Arc::clone(&memory) as _);
    let spec = Draft { keyvalue: vec!["b".to_owned()], env: env(&[("BUCKET", "b")]), ..Draft::default() };
    let function = fixture.deploy("f", &guest("spin-redis.component.wasm"), spec).await.unwrap();
    assert_eq!(function.version.kind, Kind::EventComponent);
    assert_eq!(message(&fixture, &function, "o-17 two pounds of tea").await, Ok(204));
    assert_eq!(memory.text("o-17").as_deref(), Some("two pounds of tea"));
    for (refused, why) in [("o-17 again", "'o-17' is there already"), ("o-18", "a message has two words")] {
        let error = message(&fixture, &function, refused).await.unwrap_err();
        assert_eq!(
            (error.code(), error.refusal.message.as_str()),
            (Code::FunctionFailed, "the function answered: error")
        );
        eventually("its log says why", || fixture.lines.all().iter().any(|line| line.contains(why))).await;
    }
    assert_eq!(memory.text("o-17").as_deref(), Some("two pounds of tea"));
}

//! Goal: a dead letter is shown with what it was asked, whatever that was.

use coracle_proto::pb::InvocationState;

use super::*;

fn letter(data: &[u8]) -> pb::DeadLetter {
    let record = pb::InvocationRecord {
        invocation: vec![0xaa; 16].into(),
        namespace: "default".to_owned(),
        function: "cart".to_owned(),
        state: InvocationState::Dead.into(),
        ended_ms: 1_795_248_000_000,
        attempts: 3,
        cause: "attempts".to_owned(),
        last_error: "status 500".to_owned(),
        message: 7,
        ..pb::InvocationRecord::default()
    };
    let header = pb::EventHeader { name: "x-test".to_owned(), value: "one\x1b[2J".into() };
    let http = pb::EventHttp {
        method: "POST".to_owned(),
        uri: "http://shop/cart?a=b".to_owned(),
        headers: vec![header],
        route: "/cart".to_owned(),
    };
    let body = pb::EventBody {
        kind: "async".to_owned(),
        http: Some(http),
        data: data.to_vec().into(),
        ..Default::default()
    };
    pb::DeadLetter { record: Some(record), until_ms: 1_795_248_000_000, body: Some(body) }
}

#[test]
fn a_letter_is_listed_with_its_cause() {
    let view = LetterView::from(letter(b"hi"));
    let id = "aa".repeat(16);
    let moment = "2026-11-21T08:00:00.000Z";
    assert_eq!(view.cells(), [id.as_str(), "7", moment, "3", "attempts", "status 500", moment]);
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!((&json["id"], &json["until"]), (&id.into(), &moment.into()));
    let body = &json["body"];
    assert_eq!((&body["data"], &body["data_hex"]), (&"hi".into(), &serde_json::Value::Null));
    assert_eq!(body["http"]["headers"][0]["name"], "x-test");
}

#[test]
fn a_letter_shows_its_request_and_nothing_acts_on_the_terminal() {
    let text = LetterView::from(letter(b"one\ntwo")).describe(false);
    for part in ["  POST http://shop/cart?a=b\n", "  x-test: one\\u{1b}[2J\n", "  one\n  two\n", "7 B"] {
        assert!(text.contains(part), "no '{part}' in\n{text}");
    }
    let binary: Vec<u8> = (0..20).collect();
    let text = LetterView::from(letter(&binary)).describe(false);
    assert!(text.contains("  000102030405060708090a0b0c0d0e0f\n  10111213\n"), "{text}");
    let json = serde_json::to_value(LetterView::from(letter(&[0xff, 0]))).unwrap();
    assert_eq!(
        (&json["body"]["data"], &json["body"]["data_hex"]),
        (&serde_json::Value::Null, &"ff00".into())
    );
}

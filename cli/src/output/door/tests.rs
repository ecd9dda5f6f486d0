//! What hostile words come to, in every form.

use coracle_proto::pb;

use super::*;
use crate::exit::Failure;
use crate::output::view::{FunctionDetailView, LogView, NodeDetailView, StatusView};
use crate::output::{Detail, Format, Row, render_list, render_one, table};

/// Clears the screen, sets the title, rings, goes back, hides, turns; as C0, as C1, and with what ends a line.
const HOSTILE: [&str; 16] = [
    "\x1b[2J\x1b[H",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x1bP+q\x1b\\",
    "over\rwritten",
    "back\x08\x08\x08\x08",
    "a\0b",
    "\x7f\x7f",
    "\u{9b}31m",
    "\u{90}q\u{9c}",
    "\u{85}next",
    "\u{202e}gpj.exe",
    "\u{2066}in\u{2069}\u{2067}out\u{2069}",
    "\u{200e}\u{200f}\u{61c}",
    "\u{2028}line\u{2029}",
    "\n✓ hello version 9 is ready\nerror: none\t.",
];

fn all() -> String {
    HOSTILE.concat()
}

/// What no output may have, whatever was put in.
fn acts(char: char) -> bool {
    matches!(char, '\0'..='\x08' | '\x0b'..='\x1f' | '\x7f'..='\u{9f}')
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[track_caller]
fn assert_tame(text: &str) {
    let wrong = text.find(acts);
    assert_eq!(wrong, None, "{:?}", &text[wrong.unwrap_or_default()..]);
}

/// Of which no line begins as one of ours would.
#[track_caller]
fn assert_whole(text: &str) {
    assert_tame(text);
    let forged = text.lines().find(|line| line.starts_with('✓') || line.starts_with("error: none"));
    assert_eq!(forged, None);
}

#[test]
fn words_are_written_out_and_what_they_say_is_seen() {
    for words in HOSTILE {
        assert_whole(&one_line(words));
        assert_whole(&one_line_with_tabs(words));
        assert_tame(&shown(words));
        assert!(!one_line(words).contains(['\n', '\t']));
    }
    assert_eq!(one_line("\x1b[2J"), "\\u{1b}[2J");
    assert_eq!(one_line_with_tabs("a\tb\nc"), "a\tb\\nc");
    assert_eq!(shown("Grüße,\t世界 👋\n"), "Grüße,\t世界 👋\n");
}

#[test]
fn a_sentence_has_our_mark_and_no_lines_of_others() {
    let talk = crate::output::Talk::new(false, true);
    for words in HOSTILE {
        for said in [Said::from(words), talk.done(words), talk.failed(&format!("deploy: {words}"))] {
            let text = sentence(&said);
            assert_tame(&text);
            assert!(text.lines().skip(1).all(|line| line.is_empty() || line.starts_with(' ')), "{text}");
        }
    }
    assert_eq!(sentence(&talk.done("it is")), "✓ it is");
    assert_eq!(sentence(&"two\n  lines\nmore".into()), "two\n  lines\n       more");
    let failure = Failure::from(&tonic::Status::internal(all()));
    assert_whole(&sentence(&(&format!("error: {failure}")).into()));
}

fn hostile_function() -> FunctionDetailView {
    let spec = pb::FunctionSpec {
        env: [("KEY".to_owned(), all())].into(),
        args: vec![all()],
        ..pb::FunctionSpec::default()
    };
    let version = pb::Version { number: 1, spec: Some(spec), ..pb::Version::default() };
    let status = pb::ReplicaStatus { version: 1, reason: all(), ..pb::ReplicaStatus::default() };
    FunctionDetailView::from(pb::FunctionDetail {
        function: Some(pb::Function {
            namespace: all(),
            name: all(),
            latest: 1,
            traffic: vec![pb::Weight { version: 1, weight: 1 }],
            routes: vec![pb::RouteSpec { host: all(), path: all(), ..pb::RouteSpec::default() }],
            ..pb::Function::default()
        }),
        versions: vec![version],
        replicas: vec![pb::RolloutReplica { node: 1, status: Some(status) }],
        revision: 1,
    })
}

fn hostile_log() -> LogView {
    let (namespace, name) = (all(), all());
    LogView::from(pb::LogRecord { namespace, name, line: all(), ..pb::LogRecord::default() })
}

fn hostile_node() -> NodeDetailView {
    NodeDetailView::from(pb::NodeDetail {
        node: Some(pb::Node { id: 1, name: all(), ..pb::Node::default() }),
        liveness: all(),
        ..pb::NodeDetail::default()
    })
}

fn hostile_status() -> StatusView {
    let function = pb::FunctionSummary { namespace: all(), name: all(), ..pb::FunctionSummary::default() };
    StatusView::from(pb::StatusReply {
        cluster_name: all(),
        alarms: vec![all()],
        functions: vec![function],
        ..pb::StatusReply::default()
    })
}

#[derive(Serialize)]
struct Named {
    name: String,
    list: Vec<String>,
}

impl Row for Named {
    const COLUMNS: &'static [&'static str] = &["NAME", "LIST"];
    const WIDE_FROM: usize = 2;

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.list.join(" ")]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

#[test]
fn every_form_of_a_result_is_tame() {
    fn all_forms<D: Detail>(detail: &D) {
        for format in [Format::Table, Format::Wide, Format::Name] {
            assert_whole(&shown(&render_one(format, detail).unwrap()));
        }
        for format in [Format::Json, Format::Yaml] {
            // As it is: what is left for the last door would be no JSON and no YAML any more.
            assert_whole(&render_one(format, detail).unwrap());
        }
    }
    // They are there, and seen.
    assert!(hostile_function().describe(false).contains("KEY=\\u{1b}[2J"));
    assert!(hostile_status().describe(false).contains("ALARM: \\u{1b}[2J"));
    all_forms(&hostile_function());
    all_forms(&hostile_log());
    all_forms(&hostile_node());
    all_forms(&hostile_status());
    let rows = [Named { name: all(), list: HOSTILE.map(str::to_owned).into() }];
    for format in [Format::Table, Format::Wide, Format::Name, Format::Json, Format::Yaml] {
        assert_whole(&render_list(format, &rows).unwrap());
    }
    assert_eq!(render_list(Format::Table, &rows).unwrap().lines().count(), 2, "a heading and a row");
    assert_eq!(table::render(&["A"], [vec![all()]].into_iter()).lines().count(), 2);
}

/// Programs get what was there.
#[test]
fn json_and_yaml_lose_nothing() {
    let named = Named { name: all(), list: HOSTILE.map(str::to_owned).into() };
    let (json, yaml) = (json(&named, true).unwrap(), yaml(&named).unwrap());
    let from_json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let from_yaml: serde_json::Value = serde_yaml_ng::from_str(&yaml).unwrap();
    assert_eq!(from_json, serde_json::to_value(&named).unwrap());
    assert_eq!(from_yaml, from_json);
    // One that needs none of this is YAML as one knows it.
    let plain = Named { name: "Grüße".to_owned(), list: vec!["two\nlines".to_owned()] };
    let text = super::yaml(&plain).unwrap();
    assert!(text.starts_with("name: Grüße\nlist:\n"), "{text}");
}

#[test]
fn a_body_that_a_person_looks_at_is_tame_wherever_it_is_cut() {
    let mut bytes = all().into_bytes();
    bytes.extend([0x9b, b'3', b'1', b'm', 0xff, 0xc3]);
    bytes.extend("Grüße 👋".as_bytes());
    let (mut whole, mut begun) = (String::new(), Vec::new());
    whole.push_str(&visible(&mut begun, &bytes));
    assert_tame(&whole);
    assert!(begun.is_empty() && whole.ends_with("\\x9b31m\\xff\\xc3Grüße 👋"), "{whole}");
    for size in 1..8 {
        let (mut text, mut begun) = (String::new(), Vec::new());
        for piece in bytes.chunks(size) {
            text.push_str(&visible(&mut begun, piece));
            assert!(begun.len() < 4);
        }
        assert_eq!(text, whole, "in pieces of {size}");
    }
    let mut begun = Vec::new();
    assert_eq!(
        visible(&mut begun, &[0xf0, 0x9f]) + &hex(&begun),
        "\\xf0\\x9f",
        "a character that never ends"
    );
}

#[test]
fn an_event_of_the_log_is_one_line() {
    let event = format!("  INFO node: {} name=x\n", all());
    let plain = Log { json: false, colour: false }.line(event.as_bytes());
    assert_whole(&plain);
    assert_eq!(plain.lines().count(), 1);
    let json = serde_json::to_string(&serde_json::json!({ "message": all() })).unwrap() + "\n";
    let line = Log { json: true, colour: false }.line(json.as_bytes());
    assert_whole(&line);
    let read: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(read["message"], all());
    // The formatter's own colours stay, and nothing else that begins like them.
    let colour = Log { json: false, colour: true };
    assert_eq!(colour.line(b"\x1b[2m10:00\x1b[0m a\nb\n"), "\x1b[2m10:00\x1b[0m a\\nb\n");
    for other in ["\x1b[2J", "\x1b]0;m", "\x1b", "\x1b[?25lm", "\u{9b}31m", "\u{202e}"] {
        assert_tame(&colour.line(other.as_bytes()));
    }
}

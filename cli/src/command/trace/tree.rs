//! A trace as a tree: who called whom, when, how long, and what went wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use coracle_proto::attr;

use super::jaeger::{Span, Trace};
use crate::output::door::one_line;
use crate::units::show_duration;

/// Characters of the time line.
const LINE_WIDTH: u64 = 24;
/// Deeper than any call that is not an error; beyond it a trace is cut.
const DEPTH_MAX: usize = 64;
/// What is worth knowing of a span at a glance.
const SHOWN: [&str; 4] = [attr::HTTP_STATUS, attr::COLD_START, attr::ATTEMPT, attr::NODE];

/// Spans below their parents, in the order in which they began.
#[derive(Debug)]
pub(super) struct Tree<'t> {
    trace: &'t Trace,
    children: BTreeMap<Option<&'t str>, Vec<&'t Span>>,
    start_us: u64,
    total_us: u64,
}

impl<'t> Tree<'t> {
    pub(super) fn of(trace: &'t Trace) -> Self {
        let known: BTreeSet<_> = trace.spans.iter().map(|span| span.id.as_str()).collect();
        let mut children: BTreeMap<Option<&str>, Vec<&Span>> = BTreeMap::new();
        for span in &trace.spans {
            // A parent that nobody recorded, a caller's own, leaves its children as roots.
            let parent = span.parent.as_deref().filter(|parent| known.contains(parent) && *parent != span.id);
            children.entry(parent).or_default().push(span);
        }
        for spans in children.values_mut() {
            spans.sort_by_key(|span| (span.start_us, span.id.clone()));
        }
        let start_us = trace.spans.iter().map(|span| span.start_us).min().unwrap_or_default();
        let end_us =
            trace.spans.iter().map(|span| span.start_us + span.duration_us).max().unwrap_or_default();
        Self { trace, children, start_us, total_us: (end_us - start_us).max(1) }
    }

    pub(super) fn draw(&self, wide: bool) -> String {
        let mut lines = Vec::new();
        for root in self.below(None) {
            self.collect(root, "", "", 0, &mut lines);
        }
        let name_width = width(lines.iter().map(|(left, _)| left.as_str()));
        let services: Vec<_> = lines.iter().map(|(_, span)| one_line(&span.service)).collect();
        let service_width = width(services.iter().map(String::as_str));
        let mut text = self.headline();
        for ((left, span), service) in lines.iter().zip(&services) {
            let line = format!(
                "{left:name_width$}  {service:service_width$}  {:>9}  {}  {}",
                show_duration(Duration::from_micros(span.duration_us)),
                self.time_line(span),
                remarks(span, wide),
            );
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }

    fn headline(&self) -> String {
        let services: BTreeSet<_> = self.trace.spans.iter().map(|span| span.service.as_str()).collect();
        let errors = self.trace.spans.iter().filter(|span| span.error.is_some()).count();
        let errors = if errors == 0 { String::new() } else { format!(", {errors} with errors") };
        let total = show_duration(Duration::from_micros(self.total_us));
        let count = self.trace.spans.len();
        let services = services.into_iter().collect::<Vec<_>>().join(", ");
        format!(
            "trace {}: {total}, {count} spans{errors}, {}\n",
            one_line(&self.trace.id),
            one_line(services)
        )
    }

    fn below(&self, parent: Option<&'t str>) -> &[&'t Span] {
        self.children.get(&parent).map(Vec::as_slice).unwrap_or_default()
    }

    /// `head` stands before the span, `rest` before what is below it.
    fn collect(
        &self,
        span: &'t Span,
        head: &str,
        rest: &str,
        depth: usize,
        lines: &mut Vec<(String, &'t Span)>,
    ) {
        lines.push((format!("{head}{}", one_line(&span.name)), span));
        if depth >= DEPTH_MAX {
            return;
        }
        let children = self.below(Some(&span.id));
        for (index, child) in children.iter().enumerate() {
            let last = index + 1 == children.len();
            let (corner, bar) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.collect(child, &format!("{rest}{corner}"), &format!("{rest}{bar}"), depth + 1, lines);
        }
    }

    /// Where the span lies in the whole.
    fn time_line(&self, span: &Span) -> String {
        let place = |us: u64| us.saturating_sub(self.start_us).saturating_mul(LINE_WIDTH) / self.total_us;
        let begin = place(span.start_us).min(LINE_WIDTH - 1);
        let end = place(span.start_us + span.duration_us).clamp(begin + 1, LINE_WIDTH);
        let cell = |at| if (begin..end).contains(&at) { '█' } else { '·' };
        (0..LINE_WIDTH).map(cell).collect()
    }
}

fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or_default()
}

fn remarks(span: &Span, wide: bool) -> String {
    let error = span.error.as_ref().map(|words| format!("✗ {words}").trim_end().to_owned());
    let shown = span.attributes.iter().filter(|(key, _)| wide || SHOWN.contains(&key.as_str()));
    let attributes = shown.map(|(key, value)| format!("{}={value}", if wide { key } else { short(key) }));
    one_line(error.into_iter().chain(attributes).collect::<Vec<_>>().join(" "))
}

/// The last word of a key.
fn short(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::super::jaeger::parse;

    /// As Jaeger 2 answers, cut to what matters.
    const ANSWER: &str = r#"{"data":[{"traceID":"4bf92f3577b34da6a3ce929d0e0e4736","spans":[
      {"traceID":"4bf9","spanID":"03","operationName":"execute hello","references":[{"refType":"CHILD_OF","traceID":"4bf9","spanID":"02"}],
       "startTime":1000400,"duration":1500,"tags":[{"key":"span.kind","type":"string","value":"server"},{"key":"faas.coldstart","type":"bool","value":true}],"logs":[],"processID":"p2","warnings":null},
      {"traceID":"4bf9","spanID":"01","operationName":"invoke hello","references":[{"refType":"CHILD_OF","traceID":"4bf9","spanID":"ff"}],
       "startTime":1000000,"duration":2400,"tags":[{"key":"http.response.status_code","type":"int64","value":500}],"logs":[],"processID":"p1","warnings":null},
      {"traceID":"4bf9","spanID":"02","operationName":"execute hello","references":[{"refType":"CHILD_OF","traceID":"4bf9","spanID":"01"}],
       "startTime":1000200,"duration":2000,"tags":[],"logs":[],"processID":"p1","warnings":null},
      {"traceID":"4bf9","spanID":"05","operationName":"wasm.run","references":[{"refType":"CHILD_OF","traceID":"4bf9","spanID":"03"}],
       "startTime":1000700,"duration":1200,"tags":[{"key":"error","type":"bool","value":true},{"key":"error.type","type":"string","value":"function-trapped"}],"logs":[],"processID":"p2","warnings":null},
      {"traceID":"4bf9","spanID":"04","operationName":"wasm.instantiate","references":[{"refType":"CHILD_OF","traceID":"4bf9","spanID":"03"}],
       "startTime":1000400,"duration":204,"tags":[],"logs":[],"processID":"p2","warnings":null}],
      "processes":{"p1":{"serviceName":"coracle-gateway","tags":[{"key":"service.instance.id","type":"string","value":"1"}]},
                   "p2":{"serviceName":"coracle-worker","tags":[{"key":"service.instance.id","type":"string","value":"2"}]}},"warnings":null}],
      "total":0,"limit":0,"offset":0,"errors":null}"#;

    #[test]
    fn the_tree_has_services_durations_and_errors() {
        let trace = parse(ANSWER.as_bytes()).unwrap().unwrap();
        assert_eq!(
            super::Tree::of(&trace).draw(false),
            "\
trace 4bf92f3577b34da6a3ce929d0e0e4736: 2.4 ms, 5 spans, 1 with errors, coracle-gateway, coracle-worker
invoke hello               coracle-gateway     2.4 ms  ████████████████████████  status_code=500
└─ execute hello           coracle-gateway       2 ms  ··████████████████████··
   └─ execute hello        coracle-worker      1.5 ms  ····███████████████·····  coldstart=true
      ├─ wasm.instantiate  coracle-worker      204 µs  ····██··················
      └─ wasm.run          coracle-worker      1.2 ms  ·······████████████·····  ✗ function-trapped
"
        );
        assert!(super::Tree::of(&trace).draw(true).contains("service.instance.id=2"));
    }

    #[test]
    fn words_of_callers_stay_in_their_place() {
        let hostile = "\u{9b}2J\u{202e}\u{7f}";
        let answer = ANSWER.replace("execute hello", &format!("GET /{hostile}\\n\\u001b[2J"));
        let answer = answer.replace("coracle-worker", hostile).replace("function-trapped", hostile);
        let trace = parse(answer.as_bytes()).unwrap().unwrap();
        for wide in [false, true] {
            let text = super::Tree::of(&trace).draw(wide);
            assert_eq!(text.lines().count(), 6, "{text}");
            assert!(!text.contains(|char: char| char != '\n' && coracle_node::text::moves(char)), "{text:?}");
            assert!(text.contains(r"GET /\u{9b}2J\u{202e}\u{7f}\n\u{1b}[2J"), "{text}");
        }
    }

    #[test]
    fn a_trace_in_a_circle_ends() {
        let circle = ANSWER.replace(r#""spanID":"ff""#, r#""spanID":"05""#);
        let trace = parse(circle.as_bytes()).unwrap().unwrap();
        assert_eq!(super::Tree::of(&trace).draw(false).lines().count(), 1);
    }

    #[test]
    fn no_trace_is_told_from_a_strange_answer() {
        assert_eq!(parse(br#"{"data":[],"errors":null}"#).unwrap(), None);
        assert!(parse(b"<html>").unwrap_err().contains("Jaeger"));
    }
}

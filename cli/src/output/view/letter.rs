//! Dead letters with what they were asked.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use coracle_proto::pb;
use serde::Serialize;

use super::invocation::{HeaderView, InvocationView};
use crate::output::{Detail, Row, door, rfc3339};
use crate::units::show_bytes;

/// Bytes of a line of hexadecimal digits.
const HEX_LINE: usize = 16;

/// A dead letter: the invocation that it was, and what it was asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LetterView {
    #[serde(flatten)]
    invocation: InvocationView,
    /// It is kept until then.
    until: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<BodyView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct BodyView {
    kind: String,
    source: String,
    id: String,
    attributes: BTreeMap<String, String>,
    http: Option<HttpView>,
    /// Where it is text.
    data: Option<String>,
    /// Where it is none, hexadecimal.
    data_hex: Option<String>,
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct HttpView {
    method: String,
    uri: String,
    headers: Vec<HeaderView>,
    route: String,
}

impl From<pb::DeadLetter> for LetterView {
    fn from(wire: pb::DeadLetter) -> Self {
        Self {
            invocation: wire.record.unwrap_or_default().into(),
            until: rfc3339(wire.until_ms),
            body: wire.body.map(BodyView::from),
        }
    }
}

impl From<pb::EventBody> for BodyView {
    fn from(wire: pb::EventBody) -> Self {
        let text = std::str::from_utf8(&wire.data).ok().filter(|text| printable(text)).map(ToOwned::to_owned);
        Self {
            kind: wire.kind,
            source: wire.source,
            id: wire.id,
            attributes: wire.attributes.into_iter().collect(),
            http: wire.http.map(HttpView::from),
            data_hex: text.is_none().then(|| hex(&wire.data)),
            data: text,
            bytes: wire.data.len(),
        }
    }
}

impl From<pb::EventHttp> for HttpView {
    fn from(wire: pb::EventHttp) -> Self {
        Self {
            method: wire.method,
            uri: wire.uri,
            headers: wire.headers.into_iter().map(HeaderView::from).collect(),
            route: wire.route,
        }
    }
}

fn printable(text: &str) -> bool {
    !text.contains(|char: char| char.is_control() && !matches!(char, '\n' | '\r' | '\t'))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl BodyView {
    /// The first so many characters of its data.
    pub(super) fn beginning(&self, characters: usize) -> String {
        let data = self.data.as_ref().or(self.data_hex.as_ref()).map_or("", String::as_str);
        match data.char_indices().nth(characters) {
            Some((at, _)) => format!("{}…", data.get(..at).unwrap_or_default()),
            None => data.to_owned(),
        }
    }

    /// Indented: its lines are none of ours.
    fn describe(&self) -> String {
        let mut shown = String::new();
        let mut line = |text: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(shown, "  {}", door::one_line_with_tabs(text));
        };
        if let Some(http) = &self.http {
            line(&format!("{} {}", http.method, http.uri));
            http.headers.iter().for_each(|header| line(&format!("{}: {}", header.name, header.value)));
            line("");
        }
        for (name, value) in &self.attributes {
            line(&format!("({name}: {value})"));
        }
        match (&self.data, &self.data_hex) {
            (Some(text), _) => text.lines().for_each(&mut line),
            (None, Some(hex)) => {
                let digits: Vec<char> = hex.chars().collect();
                digits.chunks(2 * HEX_LINE).for_each(|chunk| line(&chunk.iter().collect::<String>()));
            }
            (None, None) => {}
        }
        shown
    }
}

impl Row for LetterView {
    const COLUMNS: &'static [&'static str] =
        &["INVOCATION", "MESSAGE", "DIED", "ATTEMPTS", "CAUSE", "ERROR", "KEPT UNTIL"];
    const WIDE_FROM: usize = 6;

    fn cells(&self) -> Vec<String> {
        let mut cells = self.invocation.letter_cells();
        cells.push(self.until.clone());
        cells
    }

    fn name(&self) -> String {
        self.invocation.id().to_owned()
    }
}

impl Detail for LetterView {
    fn name(&self) -> String {
        Row::name(self)
    }

    fn describe(&self, wide: bool) -> String {
        let head = format!("{}kept until {}\n", self.invocation.describe(wide), self.until);
        match &self.body {
            None => head,
            Some(body) => {
                format!("{head}\nWhat it was asked, {}:\n{}", show_bytes(body.bytes as u64), body.describe())
            }
        }
    }
}

#[cfg(test)]
mod tests;

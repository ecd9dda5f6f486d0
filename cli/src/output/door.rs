//! The one door to the terminal, where nothing that somebody else wrote acts on it.
//!
//! Names, reasons, environment, lines of logs come from manifests, from uploads and from other machines. What a terminal
//! would obey, or what turns the direction of text, is written out here on its way to stdout and stderr, in every form: for
//! people as `\u{1b}`, in JSON and YAML as the escape of that language, so that programs read what was there. Only a body of
//! `invoke` that no person looks at goes out as it came.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use coracle_node::text::{moves, on_one_line};
use serde::Serialize;
use tracing_subscriber::fmt::MakeWriter;

use super::talk::Said;

/// What stands before each line of a sentence but its first: a line feed in somebody else's words begins no sentence.
const INDENT: &str = "       ";

/// Text of somebody else's for the middle of a line.
pub(crate) fn one_line(text: impl Into<String>) -> String {
    on_one_line(text.into())
}

/// The same where tabs are harmless.
pub(crate) fn one_line_with_tabs(text: &str) -> String {
    text.split('\t').map(one_line).collect::<Vec<_>>().join("\t")
}

/// Text whose lines are our own, with what else may be in it.
fn shown(text: &str) -> Cow<'_, str> {
    let acts = |char: char| moves(char) && !matches!(char, '\n' | '\t');
    if !text.contains(acts) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if acts(char) { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    shown.into()
}

/// JSON has escapes for whatever stands in its strings, and nothing but line feeds outside of them.
fn shown_json(text: &str) -> Cow<'_, str> {
    let acts = |char: char| moves(char) && char != '\n';
    if !text.contains(acts) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if acts(char) {
            // All of them are in the basic plane, and writing to a String cannot fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(char));
        } else {
            shown.push(char);
        }
    }
    shown.into()
}

/// Pretty JSON with a line feed at its end, or on one line.
pub(super) fn json<T: Serialize + ?Sized>(value: &T, pretty: bool) -> Result<String, serde_json::Error> {
    let text = if pretty { serde_json::to_string_pretty(value)? } else { serde_json::to_string(value)? };
    Ok(shown_json(&text).into_owned() + "\n")
}

/// YAML. Its plain words have no escapes: where there is something to escape the same value is written as JSON, which YAML
/// includes.
pub(super) fn yaml<T: Serialize + ?Sized>(value: &T) -> Result<String, String> {
    let text = serde_yaml_ng::to_string(value).map_err(|error| error.to_string())?;
    if matches!(shown(&text), Cow::Borrowed(_)) {
        return Ok(text);
    }
    json(value, true).map_err(|error| error.to_string())
}

/// Writes text to stdout.
pub(crate) fn print(text: &str) -> io::Result<()> {
    raw(shown(text).as_bytes())
}

/// One sentence to stderr, with what comes before its line feeds.
pub(crate) fn say(said: &Said) {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{}", sentence(said));
}

/// A question, behind which the answer is typed.
pub(super) fn ask(question: &str) {
    let mut stderr = io::stderr().lock();
    // A closed stderr leaves nobody to ask.
    let _ = write!(stderr, "{} [y/N] ", sentence(&question.into())).and_then(|()| stderr.flush());
}

/// What is wrong with the command line, in the parser's words; they repeat what was typed.
pub(crate) fn usage(error: &clap::Error) {
    // A closed stdout or stderr leaves nobody to tell.
    let _ = match shown(&error.render().to_string()) {
        Cow::Owned(words) => write!(io::stderr().lock(), "{words}"),
        // With the parser's colours.
        Cow::Borrowed(_) => error.print(),
    };
}

/// Whether results are seen by somebody.
pub(crate) fn prints_to_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether what is said beside results is seen by somebody.
pub(crate) fn talks_to_terminal() -> bool {
    io::stderr().is_terminal()
}

fn sentence(said: &Said) -> String {
    let mut whole = said.mark().to_owned();
    for (index, line) in shown(said.text()).split('\n').enumerate() {
        match index {
            0 if whole.is_empty() => {}
            0 => whole.push(' '),
            _ if line.starts_with(' ') || line.is_empty() => whole.push('\n'),
            _ => whole.extend(["\n", INDENT]),
        }
        whole.push_str(line);
    }
    whole
}

fn raw(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush())
}

/// The body of an answer on its way to stdout: as it came, but for a person who looks at it.
#[derive(Debug)]
pub(crate) struct Body {
    /// None where nobody looks; else what may be the beginning of a character.
    begun: Option<Vec<u8>>,
}

impl Body {
    pub(crate) fn to_stdout() -> Self {
        Self { begun: io::stdout().is_terminal().then(Vec::new) }
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match &mut self.begun {
            None => raw(data),
            Some(begun) => raw(visible(begun, data).as_bytes()),
        }
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        raw(hex(&self.begun.unwrap_or_default()).as_bytes())
    }
}

/// What comes next of bytes that may be text. An unfinished character waits in `begun` for its rest.
fn visible(begun: &mut Vec<u8>, data: &[u8]) -> String {
    begun.extend(data);
    let bytes = std::mem::take(begun);
    let (mut text, mut at) = (String::new(), 0);
    for chunk in bytes.utf8_chunks() {
        text.push_str(&shown(chunk.valid()));
        at += chunk.valid().len() + chunk.invalid().len();
        let unfinished = std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
        if unfinished && at == bytes.len() {
            begun.extend(chunk.invalid());
        } else {
            text.push_str(&hex(chunk.invalid()));
        }
    }
    text
}

/// Bytes that are no character.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// The way of log events to stderr: each is one line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    pub(crate) json: bool,
    /// With colours of our own.
    pub(crate) colour: bool,
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        *self
    }
}

impl io::Write for Log {
    /// Takes whole events, as the formatter writes them.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(self.line(event).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

impl Log {
    fn line(self, event: &[u8]) -> String {
        let text = String::from_utf8_lossy(event);
        let (text, end) = text.strip_suffix('\n').map_or((&*text, ""), |text| (text, "\n"));
        let line = match self {
            Self { json: true, .. } => shown_json(&text.replace('\n', " ")).into_owned(),
            Self { colour: false, .. } => one_line(text),
            Self { colour: true, .. } => coloured(text),
        };
        line + end
    }
}

/// With the formatter's colours, `ESC [ digits m`: it has escaped every ESC that is not its own.
fn coloured(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let mut line = one_line(parts.next().unwrap_or_default());
    for part in parts {
        let colour = part.strip_prefix('[').and_then(|part| part.split_once('m'));
        match colour.filter(|(code, _)| code.bytes().all(|byte| byte.is_ascii_digit() || byte == b';')) {
            Some((code, rest)) => {
                let _ = write!(line, "\x1b[{code}m{}", one_line(rest));
            }
            None => line.push_str(&one_line(format!("\x1b{part}"))),
        }
    }
    line
}

#[cfg(test)]
mod tests;

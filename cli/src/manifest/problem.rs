//! What is wrong with a manifest: every problem with its line and key, all at once.

use std::fmt::{self, Display};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::line_of;

/// How alike two keys must be (Jaro-Winkler, 0 to 1) for the one to be taken for a slip of the other.
const LIKENESS_MIN: f64 = 0.7;

/// A manifest that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct ManifestError {
    path: PathBuf,
    /// Line (0 for the file itself) and what is wrong there.
    problems: Vec<(usize, String)>,
}

impl ManifestError {
    /// What was found wrong with it later on, by lines.
    pub(crate) fn found(path: &Path, problems: Vec<(usize, String)>) -> Self {
        Self { path: path.to_owned(), problems }
    }

    pub(super) fn unreadable(path: &Path, reason: &impl Display) -> Self {
        Self { path: path.to_owned(), problems: vec![(0, reason.to_string())] }
    }
}

impl Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        for (index, (line, problem)) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n       " };
            match line {
                0 => write!(f, "{separator}{path}: {problem}")?,
                line => write!(f, "{separator}{path}:{line}: {problem}")?,
            }
        }
        Ok(())
    }
}

/// Problems as they are found.
#[derive(Debug)]
pub(crate) struct Problems<'t> {
    text: &'t str,
    found: Vec<(usize, String)>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Adds one, about the key `place` (empty: about the file).
    pub(super) fn add(&mut self, span: &Range<usize>, place: &str, problem: impl Display) {
        let separator = if place.is_empty() { "" } else { ": " };
        self.found.push((line_of(self.text, span), format!("{place}{separator}{problem}")));
    }

    /// Adds one of what was read already.
    pub(super) fn add_at(&mut self, line: usize, place: &str, problem: impl Display) {
        self.found.push((line, format!("{place}: {problem}")));
    }

    /// The line, from 1, in which a span begins.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        line_of(self.text, span)
    }

    /// A value of the wrong type.
    pub(super) fn expected(&mut self, value: &Spanned<DeValue<'_>>, place: &str, expected: &str) {
        let got = value.get_ref().type_str();
        self.add(&value.span(), place, format!("expected {expected}, got {got}"));
    }

    /// A key that does not exist, with the one that was probably meant.
    pub(super) fn unknown_key(&mut self, span: &Range<usize>, table: &str, key: &str, known: &[&str]) {
        let likeness = |other: &&&str| strsim::jaro_winkler(key, other);
        let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let hint = match nearest.filter(|other| likeness(other) >= LIKENESS_MIN) {
            Some(other) => format!("did you mean '{other}'?"),
            None => format!("known are {}", known.join(", ")),
        };
        let dot = if table.is_empty() { "" } else { "." };
        self.add(span, &format!("{table}{dot}{key}"), format!("unknown key; {hint}"));
    }

    /// How many were found so far.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// The value, if nothing was found.
    pub(super) fn settle<T>(mut self, value: T) -> Result<T, Self> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort();
        Err(self)
    }

    pub(super) fn of(self, path: &Path) -> ManifestError {
        ManifestError { path: path.to_owned(), problems: self.found }
    }
}

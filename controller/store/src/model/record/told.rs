//! How much is kept of what is told of an attempt. Whoever ran it tells what a function made: nothing of that may keep the attempt
//! from ending, so what is over a bound is left out and not refused.

use super::super::limits::{
    ANSWER_BYTES_MAX, ANSWER_HEADER_BYTES_MAX, ERROR_BYTES_MAX, HEADERS_MAX, TEXT_BYTES_MAX,
};
use super::{Answer, Report};

impl Answer {
    /// What is kept of it: no body that is too large, and those of the headers that fit, in their order.
    #[must_use]
    pub fn kept(mut self) -> Self {
        self.body_bytes = self.body_bytes.max(wide(self.body.len()));
        if self.body.len() > ANSWER_BYTES_MAX {
            // Nobody is shown a part of an answer.
            self.body.clear();
        }
        let (mut room, mut places) = (ANSWER_HEADER_BYTES_MAX, HEADERS_MAX);
        self.headers.retain(|(name, value)| {
            let left = room.checked_sub(name.len().saturating_add(value.len())).zip(places.checked_sub(1));
            if let Some(left) = left {
                (room, places) = left;
            }
            left.is_some()
        });
        self
    }
}

impl Answer {
    /// Its bytes for which its queue answers.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        wide(headers.sum::<usize>() + self.body.len())
    }
}

impl Report {
    /// What is kept of it: texts that end where they become too long.
    #[must_use]
    pub fn kept(mut self) -> Self {
        self.outcome = shortened(&self.outcome, TEXT_BYTES_MAX);
        self.error = shortened(&self.error, ERROR_BYTES_MAX);
        self
    }
}

/// As much as is kept of what went wrong, for people.
#[must_use]
pub fn kept_error(error: &str) -> String {
    shortened(error, ERROR_BYTES_MAX)
}

/// As much of it as so many bytes have.
fn shortened(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max);
    text.get(..end).unwrap_or_default().to_owned()
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

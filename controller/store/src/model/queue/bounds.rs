//! What a message may have. What is over a bound is refused with its name.

use bytes::Bytes;

use super::super::limits::{
    AGE_MS_MAX, ATTEMPTS_MAX, ATTRIBUTE_BYTES_MAX, ATTRIBUTES_MAX, BACKOFF_MS_MAX, DEAD_KEEP_MS_MAX,
    DELAY_MS_MAX, FINGERPRINT_BYTES_MAX, HEADER_BYTES_MAX, HEADERS_MAX, MESSAGE_BYTES_MAX, QUEUE_BYTES_MAX,
    QUEUE_MESSAGES_MAX, TEXT_BYTES_MAX, URI_BYTES_MAX,
};
use super::super::op::Publish;
use super::super::record::{HttpHead, Settings};
use super::super::refusal::{Reason, Refusal};
use super::manner;

/// A message that is to be taken in.
pub(super) fn check(publish: &Publish) -> Result<(), Refusal> {
    let Publish { source, id, group, attributes, delay_ms, data, kind, http, fingerprint, also, .. } =
        publish;
    for (what, text) in [("source", source), ("id", id), ("group", group), ("kind", kind), ("other id", also)]
    {
        check_size(&format!("a message's {what}"), text.len(), TEXT_BYTES_MAX)?;
        if text.contains('\0') {
            return Err(Refusal::of(Reason::Invalid, format!("a message's {what} has a zero byte")));
        }
    }
    check_size("a message", data.len(), MESSAGE_BYTES_MAX)?;
    check_size("a request's fingerprint", fingerprint.len(), FINGERPRINT_BYTES_MAX)?;
    check_count("attributes", attributes.len(), ATTRIBUTES_MAX)?;
    check_size("a message's attributes", attribute_bytes(publish), ATTRIBUTE_BYTES_MAX)?;
    if let Some(head) = http {
        check_size("a request's method", head.method.len(), TEXT_BYTES_MAX)?;
        check_size("a request's URI", head.uri.len(), URI_BYTES_MAX)?;
        check_size("a request's route", head.route.len(), URI_BYTES_MAX)?;
        check_headers("a request's headers", &head.headers, HEADER_BYTES_MAX)?;
    }
    if *delay_ms > DELAY_MS_MAX {
        let sentence = format!("a delay of {delay_ms} ms: at most {DELAY_MS_MAX} are allowed");
        return Err(Refusal::of(Reason::Invalid, sentence));
    }
    Ok(())
}

/// What a queue is told.
pub(super) fn check_settings(settings: &Settings) -> Result<(), Refusal> {
    let Settings {
        messages_max,
        bytes_max,
        attempts_max,
        backoff_ms,
        backoff_max_ms,
        age_ms,
        dead_keep_ms,
        ref manner,
    } = *settings;
    let bounds = [
        ("messages_max", messages_max, 1, QUEUE_MESSAGES_MAX),
        ("bytes_max", bytes_max, 1, QUEUE_BYTES_MAX),
        ("attempts", attempts_max.into(), 1, ATTEMPTS_MAX.into()),
        ("backoff_ms", backoff_ms, 0, BACKOFF_MS_MAX),
        ("backoff_max_ms", backoff_max_ms, 0, BACKOFF_MS_MAX),
        ("age_ms", age_ms, 1, AGE_MS_MAX),
        ("dead_keep_ms", dead_keep_ms, 1, DEAD_KEEP_MS_MAX),
    ];
    for (name, value, least, most) in bounds {
        if !(least..=most).contains(&value) {
            let sentence = format!("{name} of a queue is {value}: {least} to {most} are allowed");
            return Err(Refusal::of(Reason::Invalid, sentence));
        }
    }
    manner::check(manner)
}

/// Bytes of a message for which its queue answers.
pub(super) fn weight(publish: &Publish) -> u64 {
    let texts = publish.source.len() + publish.message_id().len() + publish.group.len();
    let head = publish.http.as_ref().map_or(0, head_bytes);
    u64::try_from(texts + attribute_bytes(publish) + head + publish.data.len()).unwrap_or(u64::MAX)
}

fn check_headers(what: &str, headers: &[(String, Bytes)], bytes_max: usize) -> Result<(), Refusal> {
    check_count("headers", headers.len(), HEADERS_MAX)?;
    check_size(what, header_bytes(headers), bytes_max)
}

fn check_size(what: &str, bytes: usize, bytes_max: usize) -> Result<(), Refusal> {
    if bytes > bytes_max {
        return Err(Refusal::over_size(Reason::TooLarge, what, bytes, bytes_max));
    }
    Ok(())
}

fn check_count(what: &str, count: usize, count_max: usize) -> Result<(), Refusal> {
    if count > count_max {
        return Err(Refusal::over_size(Reason::TooMany, what, count, count_max));
    }
    Ok(())
}

fn attribute_bytes(publish: &Publish) -> usize {
    publish.attributes.iter().map(|(name, value)| name.len() + value.len()).sum()
}

fn header_bytes(headers: &[(String, Bytes)]) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

fn head_bytes(head: &HttpHead) -> usize {
    head.method.len() + head.uri.len() + head.route.len() + header_bytes(&head.headers)
}

//! How a function may want the messages of its queue. What contradicts itself is refused by name.

use super::super::limits::{GATHER_MS_MAX, GATHERED_MAX, PATH_BYTES_MAX};
use super::super::record::Manner;
use super::super::refusal::{Reason, Refusal};

/// What is other than usual can be done.
pub(super) fn check(manner: &Manner) -> Result<(), Refusal> {
    let Manner { path, structured, reply: _, batch_max, batch_wait_ms } = manner;
    let wrong = |sentence: String| Err(Refusal::of(Reason::Invalid, sentence));
    if !path.is_empty() && !is_path(path) {
        return wrong(format!(
            "delivery.path of a queue is '{}': a path begins with '/', has at most {PATH_BYTES_MAX} bytes, and none that a URI \
             cannot have",
            path.escape_debug()
        ));
    }
    if *batch_max != 0 && !(2..=GATHERED_MAX).contains(batch_max) {
        return wrong(format!(
            "delivery.batch_max of a queue is {batch_max}: 2 to {GATHERED_MAX} are allowed"
        ));
    }
    if *batch_wait_ms > GATHER_MS_MAX {
        return wrong(format!(
            "delivery.batch_wait_ms of a queue is {batch_wait_ms}: 0 to {GATHER_MS_MAX} are allowed"
        ));
    }
    if *batch_max == 0 && *batch_wait_ms > 0 {
        return wrong(
            "delivery.batch_wait_ms of a queue without delivery.batch_max: nothing is waited for".to_owned(),
        );
    }
    if *batch_max > 0 && *structured {
        return wrong("delivery.mode and delivery.batch_max of a queue: a batch has a form of its own, leave the mode out".to_owned());
    }
    Ok(())
}

/// Path and query (RFC 3986, 3.3 and 3.4), without what it does not allow there.
fn is_path(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    text.starts_with('/') && text.len() <= PATH_BYTES_MAX && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let usual = || Manner::USUAL;
        for good in [
            usual(),
            Manner { path: "/a/b?c=%20".into(), structured: true, ..usual() },
            Manner { batch_max: 2, ..usual() },
            Manner { batch_max: GATHERED_MAX, batch_wait_ms: GATHER_MS_MAX, path: "/".into(), ..usual() },
        ] {
            assert_eq!(check(&good), Ok(()));
        }
        for (wrong, field) in [
            (Manner { path: "a".into(), ..usual() }, "delivery.path"),
            (Manner { path: "/a b".into(), ..usual() }, "delivery.path"),
            (Manner { path: "/\u{20ac}".into(), ..usual() }, "delivery.path"),
            (Manner { path: "/#".into(), ..usual() }, "delivery.path"),
            (Manner { path: format!("/{}", "x".repeat(PATH_BYTES_MAX)), ..usual() }, "delivery.path"),
            (Manner { batch_max: 1, ..usual() }, "delivery.batch_max"),
            (Manner { batch_max: GATHERED_MAX + 1, ..usual() }, "delivery.batch_max"),
            (Manner { batch_max: 2, batch_wait_ms: GATHER_MS_MAX + 1, ..usual() }, "delivery.batch_wait_ms"),
            (Manner { batch_wait_ms: 1, ..usual() }, "delivery.batch_wait_ms"),
            (Manner { batch_max: 2, structured: true, ..usual() }, "delivery.mode"),
        ] {
            let refusal = check(&wrong).unwrap_err();
            assert!(refusal.reason == Reason::Invalid && refusal.subject.contains(field), "{refusal}");
        }
    }
}

//! How a function wants its messages, from its wire form.

use std::time::Duration;

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::pb::{DeliveryMode, DeliverySpec};
use http::Uri;

use crate::stores::manner::{Batch, Manner};

/// What this program does not know is an error: another one may.
pub(super) fn manner(wire: Option<DeliverySpec>) -> Result<Manner, DecodeError> {
    let Some(DeliverySpec { path, mode, reply, batch_max, batch_wait_ms }) = wire else {
        return Ok(Manner::default());
    };
    let structured = match DeliveryMode::try_from(mode).in_field("how.mode")? {
        DeliveryMode::Unspecified | DeliveryMode::Binary => false,
        DeliveryMode::Structured => true,
    };
    let path = if path.is_empty() { "/" } else { &path };
    let uri = format!("http://localhost{path}").parse::<Uri>().in_field("how.path")?;
    if !path.starts_with('/') {
        return Err(DecodeError::new("how.path", format!("'{path}' does not begin with '/'")));
    }
    let most = usize::try_from(batch_max).unwrap_or(usize::MAX);
    let batch = (most > 1).then_some(Batch { most, wait: Duration::from_millis(batch_wait_ms) });
    Ok(Manner { uri, structured, reply: Some(reply).filter(|reply| !reply.is_empty()), batch })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(path: &str, mode: i32, batch_max: u32) -> Option<DeliverySpec> {
        Some(DeliverySpec { path: path.to_owned(), mode, batch_max, batch_wait_ms: 7, ..Default::default() })
    }

    #[test]
    fn what_is_told_is_understood_or_left_to_others() {
        assert_eq!(manner(None), Ok(Manner::default()));
        assert_eq!(manner(spec("", 1, 1)), Ok(Manner::default()));
        let told = manner(spec("/a?b", 2, 0)).unwrap();
        assert_eq!((told.uri.path(), told.uri.query(), told.structured), ("/a", Some("b"), true));
        let batch = manner(spec("", 0, 3)).unwrap().batch;
        assert_eq!(batch, Some(Batch { most: 3, wait: Duration::from_millis(7) }));
        for (wrong, field) in
            [(spec("a", 0, 0), "how.path"), (spec("/ ", 0, 0), "how.path"), (spec("", 9, 0), "how.mode")]
        {
            assert_eq!(manner(wrong).unwrap_err().field, field);
        }
    }
}

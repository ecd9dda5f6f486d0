//! Secrets and webhooks to and from their bytes.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError as FieldError, InField as _};
use coracle_proto::pb::store as pb;
use prost::Message as _;

use super::super::super::record::{Before, Sealed, Secret, Secrets, Terms, Webhook};
use super::super::DecodeError;
use super::super::names::{form_from_wire, form_to_wire, hearer_from_wire, name_from_wire};
use super::{Stored, plain};

plain!(Secrets, "the number of secrets", [count]);

impl Stored for Secret {
    const WHAT: &'static str = "a secret";

    fn encode(&self) -> Bytes {
        let before = self.before.as_ref();
        let wire = pb::Secret {
            value: self.value.opened().clone(),
            version: self.version,
            changed_ms: self.changed_ms,
            before: before.map_or_else(Bytes::new, |before| before.value.opened().clone()),
            before_until_ms: before.map_or(0, |before| before.until_ms),
        };
        wire.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let pb::Secret { value, version, changed_ms, before, before_until_ms } = pb::Secret::decode(bytes)?;
        let before =
            (!before.is_empty()).then(|| Before { value: Sealed::new(before), until_ms: before_until_ms });
        Ok(Self { value: Sealed::new(value), version, changed_ms, before })
    }
}

pub(in super::super) fn terms_to_wire(it: &Terms) -> pb::Terms {
    pb::Terms {
        function: it.function.to_string(),
        form: form_to_wire(it.form).into(),
        secret: it.secret.to_string(),
        tolerance_ms: it.tolerance_ms,
    }
}

pub(in super::super) fn terms_from_wire(wire: pb::Terms) -> Result<Terms, FieldError> {
    Ok(Terms {
        function: hearer_from_wire(&wire.function)?,
        form: form_from_wire(wire.form())?,
        secret: name_from_wire(&wire.secret, "terms.secret")?,
        tolerance_ms: wire.tolerance_ms,
    })
}

impl Stored for Webhook {
    const WHAT: &'static str = "a webhook";

    fn encode(&self) -> Bytes {
        pb::Webhook { terms: Some(terms_to_wire(&self.terms)) }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let terms = pb::Webhook::decode(bytes)?.terms.in_field("webhook.terms")?;
        Ok(Self { terms: terms_from_wire(terms)? })
    }
}

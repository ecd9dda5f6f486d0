//! Where secrets and webhooks lie, and who uses which secret.

use bytes::Bytes;
use coracle_proto::id::Namespace;

use super::super::name::{Name, Place};
use super::kind::Kind;
use super::parts::{Parts, after, range, subject_parts};

pub(in super::super) fn secret(secret: &Place) -> Bytes {
    Parts::of(Kind::Secret).place(secret).key()
}

/// The secrets of a namespace behind one of them, or all.
pub(in super::super) fn secrets_of(namespace: &Namespace, name: Option<&Name>) -> (Bytes, Bytes) {
    behind(Kind::Secret, namespace, name)
}

/// How many there are.
pub(in super::super) fn secrets() -> Bytes {
    Parts::of(Kind::Secrets).key()
}

pub(in super::super) fn webhook(webhook: &Place) -> Bytes {
    Parts::of(Kind::Webhook).place(webhook).key()
}

/// The webhooks of a namespace behind one of them, or all.
pub(in super::super) fn webhooks_of(namespace: &Namespace, name: Option<&Name>) -> (Bytes, Bytes) {
    behind(Kind::Webhook, namespace, name)
}

/// All webhooks of the group.
pub(in super::super) fn webhooks() -> (Bytes, Bytes) {
    range(Parts::of(Kind::Webhook).key())
}

/// That a webhook of its namespace uses a secret.
pub(in super::super) fn user(secret: &Place, webhook: &Name) -> Bytes {
    Parts::of(Kind::User).place(secret).bytes(webhook.as_str().as_bytes()).key()
}

/// All webhooks that use a secret.
pub(in super::super) fn users(secret: &Place) -> (Bytes, Bytes) {
    range(Parts::of(Kind::User).place(secret).key())
}

/// The webhook of a row of [`user`].
pub(in super::super) fn user_name(key: &[u8]) -> Option<Name> {
    let (_, name) = subject_parts(key.get(1..)?)?;
    Name::parse(std::str::from_utf8(name).ok()?).ok()
}

fn behind(kind: Kind, namespace: &Namespace, name: Option<&Name>) -> (Bytes, Bytes) {
    let parts = Parts::of(kind).text(namespace.as_str());
    let all = range(parts.clone().key());
    name.map_or_else(|| all.clone(), |name| (after(&parts.text(name.as_str()).key()), all.1.clone()))
}

//! Secrets: known to whoever checks by them, and told to nobody.

mod read;

use coracle_proto::id::Namespace;

use super::edit::Edit;
use super::fault::{Fault, unreadable};
use super::keys::{self, Due};
use super::limits::{KEEP_MS_MAX, SECRET_BYTES_MAX, SECRETS_MAX};
use super::name::{Name, Place};
use super::outcome::Outcome;
use super::record::{Before, Sealed, Secret, Secrets};
use super::refusal::{Reason, Refusal};
use super::webhook;

pub use read::{secret, secrets, users};

/// Who uses a secret is told by so many names.
const TOLD_MAX: usize = 10;

/// Makes it, or tells it anew. The value before stays good for `keep_ms`, where it was another one.
pub(super) fn put(edit: &mut Edit<'_>, place: &Place, value: Sealed, keep_ms: u64) -> Result<Outcome, Fault> {
    check(&value, keep_ms)?;
    webhook::check_users(edit, place, value.opened())?;
    let key = keys::secret(place);
    let old = edit.get::<Secret>(&key)?;
    let before = match &old {
        None => {
            count(edit, true)?;
            None
        }
        Some(old) if old.value == value => return shorten(edit, place, old, keep_ms),
        Some(old) => {
            forget_timer(edit, place, old);
            let until_ms = edit.moment.now_ms.saturating_add(keep_ms);
            (keep_ms > 0).then(|| Before { value: old.value.clone(), until_ms })
        }
    };
    if let Some(before) = &before {
        edit.mark(keys::timer(Due::Secrets, before.until_ms, &key));
    }
    let (version, changed_ms) = (edit.next(), edit.moment.now_ms);
    edit.put(key, &Secret { value, version, changed_ms, before });
    Ok(Outcome::Done)
}

/// It is told again: what was before it is good for no longer than this, and no longer than before.
fn shorten(edit: &mut Edit<'_>, place: &Place, secret: &Secret, keep_ms: u64) -> Result<Outcome, Fault> {
    let until_ms = edit.moment.now_ms.saturating_add(keep_ms);
    let Some(before) = secret.before.clone().filter(|before| until_ms < before.until_ms) else {
        return Ok(Outcome::Done);
    };
    forget_timer(edit, place, secret);
    let key = keys::secret(place);
    let before = (keep_ms > 0).then_some(Before { until_ms, ..before });
    if before.is_some() {
        edit.mark(keys::timer(Due::Secrets, until_ms, &key));
    }
    edit.put(key, &Secret { before, ..secret.clone() });
    Ok(Outcome::Done)
}

/// Takes it away. Refused while a webhook uses it, unless it is forced.
pub(super) fn drop(edit: &mut Edit<'_>, place: &Place, force: bool) -> Result<Outcome, Fault> {
    let secret = need(edit, place)?;
    let users = edit.keys(&keys::users(place), TOLD_MAX + 1)?;
    if !force && !users.is_empty() {
        let mut names = Vec::new();
        for key in users.iter().take(TOLD_MAX) {
            names.push(keys::user_name(key).ok_or_else(|| unreadable("who uses a secret"))?.to_string());
        }
        if users.len() > TOLD_MAX {
            names.push("others".to_owned());
        }
        let sentence = format!("secret '{place}' is used by webhooks: {}", names.join(", "));
        return Err(Refusal::of(Reason::InUse, sentence).into());
    }
    forget_timer(edit, place, &secret);
    count(edit, false)?;
    edit.remove(&keys::secret(place));
    Ok(Outcome::Done)
}

/// Forgets a value before that is good no more.
pub(super) fn forget(edit: &mut Edit<'_>, subject: &[u8]) -> Result<(), Fault> {
    let (place, _) = keys::subject_parts(subject).ok_or_else(|| unreadable("a timer of a secret"))?;
    let key = keys::secret(&place);
    if let Some(secret) = edit.get::<Secret>(&key)? {
        edit.put(key, &Secret { before: None, ..secret });
    }
    Ok(())
}

/// The one that is named so, which must be there.
pub(super) fn named(edit: &Edit<'_>, namespace: &Namespace, name: &Name) -> Result<(Place, Secret), Fault> {
    let place = Place { namespace: namespace.clone(), name: name.clone() };
    let secret = need(edit, &place)?;
    Ok((place, secret))
}

fn need(edit: &Edit<'_>, place: &Place) -> Result<Secret, Fault> {
    Ok(edit.get(&keys::secret(place))?.ok_or_else(|| Refusal::of(Reason::NoSecret, place))?)
}

fn forget_timer(edit: &mut Edit<'_>, place: &Place, secret: &Secret) {
    if let Some(before) = &secret.before {
        edit.remove(&keys::timer(Due::Secrets, before.until_ms, &keys::secret(place)));
    }
}

fn check(value: &Sealed, keep_ms: u64) -> Result<(), Refusal> {
    let bytes = value.opened().len();
    if bytes == 0 {
        return Err(Refusal::of(Reason::Invalid, "a secret has no bytes: at least one is needed"));
    }
    if bytes > SECRET_BYTES_MAX {
        return Err(Refusal::over_size(Reason::TooLarge, "a secret", bytes, SECRET_BYTES_MAX));
    }
    if keep_ms > KEEP_MS_MAX {
        let sentence = format!("keep_ms of a secret is {keep_ms}: 0 to {KEEP_MS_MAX} are allowed");
        return Err(Refusal::of(Reason::Invalid, sentence));
    }
    Ok(())
}

/// One more, or one less.
fn count(edit: &mut Edit<'_>, more: bool) -> Result<(), Fault> {
    let Secrets { count } = edit.get(&keys::secrets())?.unwrap_or_default();
    let count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
    if more && count > SECRETS_MAX {
        return Err(Refusal::over(Reason::SecretsFull, "secrets", count, SECRETS_MAX).into());
    }
    if count == 0 {
        edit.remove(&keys::secrets());
    } else {
        edit.put(keys::secrets(), &Secrets { count });
    }
    Ok(())
}

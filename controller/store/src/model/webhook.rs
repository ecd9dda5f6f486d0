//! Webhooks: what others send, once it is known to be theirs, is an event in a queue of the webhook's own (docs/adr/0019).
//!
//! The leader checks it ([`verify`]) and has it published; here is kept what it checks by.

mod event;
mod read;
mod verify;

use super::edit::Edit;
use super::fault::{Fault, unreadable};
use super::limits::{TEXT_BYTES_MAX, TOLERANCE_MS_MAX, TOLERANCE_MS_MIN};
use super::name::{Name, Place};
use super::outcome::Outcome;
use super::record::{Form, Settings, Terms, Webhook};
use super::refusal::{Reason, Refusal};
use super::{keys, queue, secret};

pub use event::{Sent, challenge};
pub use read::{all_webhooks, webhook, webhooks};
pub use verify::{Arrived, Signed, Wrong, verify};

/// So many users of a secret are looked at when it is told anew.
const USERS_MAX: usize = 100;

/// Makes it with its queue, or tells both anew.
pub(super) fn put(
    edit: &mut Edit<'_>,
    place: &Place,
    terms: Terms,
    settings: Settings,
) -> Result<Outcome, Fault> {
    check(place, &terms)?;
    let (secret, kept) = secret::named(edit, &place.namespace, &terms.secret)?;
    check_key(terms.form, &secret, kept.value.opened())?;
    let queue = Place::of_webhook(place).map_err(|error| Refusal::of(Reason::Invalid, error))?;
    queue::put(edit, &queue, settings, Some(terms.function.clone()))?;
    if let Some(old) = edit.get::<Webhook>(&keys::webhook(place))? {
        leave(edit, place, &old.terms.secret);
    }
    edit.mark(keys::user(&secret, &place.name));
    edit.put(keys::webhook(place), &Webhook { terms });
    Ok(Outcome::Done)
}

/// Takes it away. What waits in its queue is still delivered, and the queue goes with the last of it.
pub(super) fn drop(edit: &mut Edit<'_>, place: &Place) -> Result<Outcome, Fault> {
    if edit.get::<Webhook>(&keys::webhook(place))?.is_none() {
        return Err(Refusal::of(Reason::NoWebhook, place).into());
    }
    forget(edit, place)?;
    queue::release(edit, Place::of_webhook(place))?;
    Ok(Outcome::Done)
}

/// It is no webhook any more, if it was one.
pub(super) fn forget(edit: &mut Edit<'_>, place: &Place) -> Result<(), Fault> {
    let key = keys::webhook(place);
    if let Some(Webhook { terms }) = edit.get::<Webhook>(&key)? {
        leave(edit, place, &terms.secret);
        edit.remove(&key);
    }
    Ok(())
}

/// It uses the secret no more.
fn leave(edit: &mut Edit<'_>, place: &Place, secret: &Name) {
    let secret = Place { namespace: place.namespace.clone(), name: secret.clone() };
    edit.remove(&keys::user(&secret, &place.name));
}

/// By a secret that is none of its form it could never let anybody in, or anybody.
fn check_key(form: Form, secret: &Place, value: &[u8]) -> Result<(), Refusal> {
    let Some(wanted) = verify::wanted(form, value) else { return Ok(()) };
    let sentence = format!("secret '{secret}' is no key of the form '{}', which is {wanted}", form.name());
    Err(Refusal::of(Reason::Invalid, sentence))
}

/// The same for a secret that is told anew, of the webhooks that use it: the first of them.
pub(super) fn check_users(edit: &Edit<'_>, secret: &Place, value: &[u8]) -> Result<(), Fault> {
    for row in edit.keys(&keys::users(secret), USERS_MAX)? {
        let name = keys::user_name(&row).ok_or_else(|| unreadable("who uses a secret"))?;
        let webhook = Place { namespace: secret.namespace.clone(), name };
        if let Some(Webhook { terms }) = edit.get(&keys::webhook(&webhook))? {
            check_key(terms.form, secret, value)?;
        }
    }
    Ok(())
}

/// What could not be published later is refused when it is told.
fn check(place: &Place, terms: &Terms) -> Result<(), Refusal> {
    let source = event::source(place).len();
    if source > TEXT_BYTES_MAX {
        let what = "what names the webhook in an event";
        return Err(Refusal::over_size(Reason::TooLarge, what, source, TEXT_BYTES_MAX));
    }
    if !(TOLERANCE_MS_MIN..=TOLERANCE_MS_MAX).contains(&terms.tolerance_ms) {
        let sentence = format!(
            "tolerance_ms of a webhook is {}: {TOLERANCE_MS_MIN} to {TOLERANCE_MS_MAX} are allowed",
            terms.tolerance_ms
        );
        return Err(Refusal::of(Reason::Invalid, sentence));
    }
    Ok(())
}

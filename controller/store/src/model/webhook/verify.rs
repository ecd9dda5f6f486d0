//! Whether what came to a webhook is signed by whoever knows its secret: pure, over the raw body, and in constant time.
//!
//! GitHub: <https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries>. Stripe:
//! <https://docs.stripe.com/webhooks/signatures>. Slack: <https://docs.slack.dev/authentication/verifying-requests-from-slack>. Standard
//! Webhooks 1.0: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::super::record::Form;
use crate::hmac;

/// Signatures of one request: a sender that changes its secret sends two.
const SIGNATURES_MAX: usize = 16;
/// With this the secrets of Standard Webhooks begin; what follows is the key in base64.
const STANDARD_PREFIX: &[u8] = b"whsec_";
/// Bytes of such a key: its standard says 24, and some give out fewer.
const STANDARD_BYTES_MIN: usize = 16;

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub struct Arrived<'a> {
    /// Its headers.
    pub headers: &'a [(String, Bytes)],
    /// Its body, byte by byte.
    pub body: &'a [u8],
}

/// A request that is whose it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What its sender calls it, in a header.
    pub id: Option<String>,
    /// SHA-256 of what is signed, in hex: the same by whichever signature and secret.
    pub digest: String,
}

/// What is wrong with a request. Nothing here says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Wrong {
    /// It says nothing of who sends it.
    #[error("it is not signed: there is no header '{0}'")]
    Unsigned(&'static str),
    /// It says so in a way that cannot be read.
    #[error("its header '{0}' {1}")]
    Malformed(&'static str, &'static str),
    /// Another secret, another body, or another time.
    #[error("none of its signatures is that of this webhook's secret over what came")]
    Mismatch,
    /// It is signed right, and was sent too long ago.
    #[error("it was signed {ago_s} seconds ago, and at most {most_s} are allowed")]
    Old {
        /// By its own time.
        ago_s: u64,
        /// By the webhook's tolerance.
        most_s: u64,
    },
    /// It is signed right, for a time that is to come.
    #[error("it was signed for a time that is {ahead_s} seconds ahead, and at most {most_s} are allowed")]
    Early {
        /// By its own time.
        ahead_s: u64,
        /// By the webhook's tolerance.
        most_s: u64,
    },
    /// Nobody could sign it right.
    #[error("the webhook's secret is not there, or is no key of its form")]
    Keyless,
}

impl Wrong {
    /// All words for what is wrong, for counts.
    pub const CAUSES: [&'static str; 6] = ["unsigned", "malformed", "mismatch", "old", "early", "keyless"];

    /// The word for it.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Unsigned(_) => "unsigned",
            Self::Malformed(..) => "malformed",
            Self::Mismatch => "mismatch",
            Self::Old { .. } => "old",
            Self::Early { .. } => "early",
            Self::Keyless => "keyless",
        }
    }
}

/// Whether it is signed by one of these secrets, and at about this time.
///
/// # Errors
/// What is wrong. What says when it was sent is believed where it is signed right only.
pub fn verify(
    form: Form,
    arrived: Arrived<'_>,
    secrets: &[&[u8]],
    (tolerance_ms, now_ms): (u64, u64),
) -> Result<Signed, Wrong> {
    let claim = Claim::of(form, arrived)?;
    let keys: Vec<Vec<u8>> = secrets.iter().filter_map(|secret| key(form, secret)).collect();
    if keys.is_empty() {
        return Err(Wrong::Keyless);
    }
    let mut good = false;
    for key in &keys {
        let code = hmac::sha256(key, &claim.parts(arrived.body));
        // All of them are compared, whatever is found.
        good = claim.codes.iter().fold(good, |good, told| hmac::same(&code, told) | good);
    }
    if !good {
        return Err(Wrong::Mismatch);
    }
    if let Some(at) = claim.at {
        timely(at, tolerance_ms, now_ms)?;
    }
    let digest = claim.parts(arrived.body).into_iter().fold(Sha256::new(), Sha256::chain_update).finalize();
    Ok(Signed { id: claim.id.map(str::to_owned), digest: hex(&digest) })
}

/// What a secret of this form is, for people; none: it is one.
pub(super) fn wanted(form: Form, secret: &[u8]) -> Option<&'static str> {
    let what = match form {
        Form::Github | Form::Stripe | Form::Slack => "at least one byte",
        Form::Standard => "'whsec_' and at least 16 bytes in base64",
    };
    key(form, secret).is_none().then_some(what)
}

/// The key that a secret is; none: it is no key of this form. By a key that is empty, or nearly so, anybody could sign.
fn key(form: Form, secret: &[u8]) -> Option<Vec<u8>> {
    let (key, least) = match form {
        Form::Github | Form::Stripe | Form::Slack => (secret.to_vec(), 1),
        Form::Standard => (STANDARD.decode(secret.strip_prefix(STANDARD_PREFIX)?).ok()?, STANDARD_BYTES_MIN),
    };
    (key.len() >= least).then_some(key)
}

fn timely(at: u64, tolerance_ms: u64, now_ms: u64) -> Result<(), Wrong> {
    let (at_ms, most_s) = (at.saturating_mul(1000), tolerance_ms / 1000);
    let (ago_ms, ahead_ms) = (now_ms.saturating_sub(at_ms), at_ms.saturating_sub(now_ms));
    if ago_ms > tolerance_ms {
        return Err(Wrong::Old { ago_s: ago_ms / 1000, most_s });
    }
    if ahead_ms > tolerance_ms {
        return Err(Wrong::Early { ahead_s: ahead_ms / 1000, most_s });
    }
    Ok(())
}

/// What a request says of itself.
struct Claim<'a> {
    /// What stands before the body in what is signed.
    before: Vec<&'a str>,
    codes: Vec<Vec<u8>>,
    /// Unix seconds.
    at: Option<u64>,
    id: Option<&'a str>,
}

impl<'a> Claim<'a> {
    fn of(form: Form, arrived: Arrived<'a>) -> Result<Self, Wrong> {
        match form {
            Form::Github => Self::github(arrived),
            Form::Stripe => Self::stripe(arrived),
            Form::Slack => Self::slack(arrived),
            Form::Standard => Self::standard(arrived),
        }
    }

    fn parts<'b>(&'b self, body: &'b [u8]) -> Vec<&'b [u8]> {
        self.before.iter().map(|text| text.as_bytes()).chain([body]).collect()
    }

    fn github(arrived: Arrived<'a>) -> Result<Self, Wrong> {
        const SIGNATURE: &str = "X-Hub-Signature-256";
        let told = arrived.need(SIGNATURE)?;
        let code = told.strip_prefix("sha256=").and_then(unhex);
        let code = code.ok_or(Wrong::Malformed(SIGNATURE, "is not sha256= and 64 hex digits"))?;
        Ok(Self { before: Vec::new(), codes: vec![code], at: None, id: arrived.one("X-GitHub-Delivery")? })
    }

    fn stripe(arrived: Arrived<'a>) -> Result<Self, Wrong> {
        const SIGNATURE: &str = "Stripe-Signature";
        let (mut at, mut codes) = (None, Vec::new());
        for part in arrived.need(SIGNATURE)?.split(',') {
            match part.trim().split_once('=') {
                Some(("t", _)) if at.is_some() => {
                    return Err(Wrong::Malformed(SIGNATURE, "has its time 't' twice"));
                }
                Some(("t", text)) => at = Some((text, seconds(SIGNATURE, text)?)),
                Some(("v1", code)) => {
                    let why = "has a 'v1' that is not 64 hex digits";
                    codes.push(unhex(code).ok_or(Wrong::Malformed(SIGNATURE, why))?);
                }
                // Other schemes are other's.
                _ => {}
            }
        }
        let (text, at) = at.ok_or(Wrong::Malformed(SIGNATURE, "has no time 't'"))?;
        some(SIGNATURE, "has no signature 'v1'", &codes)?;
        Ok(Self { before: vec![text, "."], codes, at: Some(at), id: None })
    }

    fn slack(arrived: Arrived<'a>) -> Result<Self, Wrong> {
        const SIGNATURE: &str = "X-Slack-Signature";
        const TIME: &str = "X-Slack-Request-Timestamp";
        let code = arrived.need(SIGNATURE)?.strip_prefix("v0=").and_then(unhex);
        let code = code.ok_or(Wrong::Malformed(SIGNATURE, "is not v0= and 64 hex digits"))?;
        let text = arrived.need(TIME)?;
        let at = Some(seconds(TIME, text)?);
        Ok(Self { before: vec!["v0:", text, ":"], codes: vec![code], at, id: None })
    }

    fn standard(arrived: Arrived<'a>) -> Result<Self, Wrong> {
        const SIGNATURE: &str = "webhook-signature";
        const TIME: &str = "webhook-timestamp";
        const ID: &str = "webhook-id";
        let mut codes = Vec::new();
        for code in arrived.need(SIGNATURE)?.split(' ').filter_map(|it| it.strip_prefix("v1,")) {
            let why = "has a 'v1' that is no base64";
            codes.push(STANDARD.decode(code).map_err(|_| Wrong::Malformed(SIGNATURE, why))?);
        }
        some(SIGNATURE, "has no signature 'v1'", &codes)?;
        let (id, text) = (arrived.need(ID)?, arrived.need(TIME)?);
        let at = Some(seconds(TIME, text)?);
        Ok(Self { before: vec![id, ".", text, "."], codes, at, id: Some(id) })
    }
}

impl<'a> Arrived<'a> {
    /// The only header of this name; none: there is none.
    pub(super) fn one(self, name: &'static str) -> Result<Option<&'a str>, Wrong> {
        let mut all = self.headers.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name));
        let Some((_, value)) = all.next() else { return Ok(None) };
        if all.next().is_some() {
            return Err(Wrong::Malformed(name, "stands there twice"));
        }
        let text = std::str::from_utf8(value).ok().filter(|text| !text.contains(char::is_control));
        text.map(Some).ok_or(Wrong::Malformed(name, "is no text"))
    }

    fn need(self, name: &'static str) -> Result<&'a str, Wrong> {
        self.one(name)?.ok_or(Wrong::Unsigned(name))
    }
}

fn some(header: &'static str, why: &'static str, codes: &[Vec<u8>]) -> Result<(), Wrong> {
    match codes.len() {
        0 => Err(Wrong::Malformed(header, why)),
        1..=SIGNATURES_MAX => Ok(()),
        _ => Err(Wrong::Malformed(header, "has more than 16 signatures")),
    }
}

/// Decimal digits alone: what is signed is this text.
fn seconds(header: &'static str, text: &str) -> Result<u64, Wrong> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    digits.ok_or(Wrong::Malformed(header, "has no time in whole seconds"))
}

/// The code that 64 hex digits are.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|char| char.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    Some(digits.chunks(2).map(|two| two.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |at: u8| DIGITS.get(usize::from(at)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests;

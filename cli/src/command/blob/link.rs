//! Where a blob is found by HTTP, and by whose word: `coracle blob presign`.

use std::fmt::Write as _;
use std::time::Duration;

use clap::ValueEnum;
use coracle_proto::id::{FunctionId, Namespace};
use coracle_proto::pb;

use crate::client::Blobs;
use crate::command::events::{Events, bucket_at};
use crate::command::kv::Bucket;
use crate::command::{Session, gateway};
use crate::exit::Failure;
use crate::output::view::LinkView;
use crate::units;

/// Below it gateways have blobs.
const PREFIX: &str = "/.coracle/blob";

#[derive(Debug, clap::Args)]
#[command(after_help = "Whoever has the URL may do so until then; it cannot be taken back.\n  \
                        curl -o cat.jpg \"$(coracle blob presign uploads cat.jpg)\"\n  \
                        curl -T cat.jpg \"$(coracle blob presign uploads cat.jpg --method put --expires 1h)\"")]
pub(super) struct Presign {
    #[command(flatten)]
    bucket: Bucket,
    /// The key; without it the bucket's list is meant.
    #[arg(value_name = "KEY", value_parser = super::key)]
    key: Option<String>,
    /// What may be done by it; put is also for uploads in parts.
    #[arg(long, value_enum, value_name = "METHOD", default_value = "get", ignore_case = true)]
    method: Verb,
    /// For how long, at most 7d.
    #[arg(long, value_name = "DURATION", value_parser = units::duration, default_value = "15m")]
    expires: Duration,
    #[command(flatten)]
    gateway: gateway::Flag,
}

/// What is done with a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Verb {
    Get,
    Put,
    Delete,
}

impl Verb {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

pub(super) async fn run(args: &Presign, session: &Session<'_>) -> Result<(), Failure> {
    let (id, key) = (&args.bucket.bucket, args.key.as_deref().unwrap_or_default());
    if key.is_empty() && args.method != Verb::Get {
        return Err(Failure::usage("--method: of a bucket without a key there is only its list, with get"));
    }
    check(key)?;
    let mut events = Events::reach(session).await?;
    let gateways = args.gateway.beside(&events, session)?;
    let gateway = gateways.first().ok_or_else(gateway::none)?;
    let signed = sign(&mut events, id, key, args.method, args.expires).await?;
    let url = format!("http://{gateway}{}?{}", path(id, key), query(&signed));
    session.output.one(&LinkView::new(url, args.method.name(), signed.expires.saturating_mul(1000)))
}

/// The path of a blob, or of the bucket where there is no key.
pub(super) fn path(id: &FunctionId, key: &str) -> String {
    let bucket = match id.namespace.as_str() {
        Namespace::DEFAULT => format!("{PREFIX}/{}", id.name),
        namespace => format!("{PREFIX}/@{namespace}/{}", id.name),
    };
    if key.is_empty() { bucket } else { format!("{bucket}/{}", encode(key)) }
}

/// Refuses a key that has no URL, as gateways do.
pub(super) fn check(key: &str) -> Result<(), Failure> {
    if key.split('/').any(|segment| matches!(segment, "." | "..")) {
        let why =
            "it has a segment '.' or '..', which browsers and proxies resolve: it cannot be named in a URL";
        return Err(Failure::usage(format!("the blob's key '{key}': {why}")));
    }
    Ok(())
}

/// A key's bytes, each that a path cannot have as it is by its number (RFC 3986); a slash stays one.
fn encode(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for (at, part) in key.split('/').enumerate() {
        if at > 0 {
            text.push('/');
        }
        for byte in part.bytes() {
            let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
            if plain {
                text.push(char::from(byte));
            } else {
                // A String takes whatever is written to it.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

/// A signature as it stands in a URL.
pub(super) fn query(signed: &pb::BlobSignReply) -> String {
    format!("expires={}&signature={}", signed.expires, hex(&signed.signature))
}

/// In small letters.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) async fn sign(
    events: &mut Events,
    id: &FunctionId,
    key: &str,
    method: Verb,
    valid: Duration,
) -> Result<pb::BlobSignReply, Failure> {
    let valid_ms = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
    let sign = async |mut service: Blobs, place| {
        let place = Some(bucket_at(place, id.name.as_str()));
        let (method, key) = (method.name().to_owned(), key.to_owned());
        service.sign(pb::BlobSignRequest { place, method, key, valid_ms }).await
    };
    events.ask("a signature", &id.namespace, sign).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_has_a_path_at_each_gateway() {
        let path = |id: &str, key: &str| super::path(&id.parse().unwrap(), key);
        assert_eq!(path("uploads", "a/b c.jpg"), "/.coracle/blob/uploads/a/b%20c.jpg");
        assert_eq!(path("shop/uploads", "ä?&#%"), "/.coracle/blob/@shop/uploads/%C3%A4%3F%26%23%25");
        for bad in ["..", "a/../b", "a/.", "./a"] {
            assert!(check(bad).unwrap_err().message.contains("cannot be named in a URL"), "{bad}");
        }
        assert!(check(".x/a..b/...").is_ok());
        assert_eq!(path("uploads", ""), "/.coracle/blob/uploads");
        let signed = pb::BlobSignReply { expires: 7, signature: vec![0, 0xab].into() };
        assert_eq!(query(&signed), "expires=7&signature=00ab");
    }
}

//! `coracle secret`: what webhooks are checked by. No answer of the cluster ever has a value.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Subcommand;
use coracle_proto::id::{FunctionId, Namespace};
use coracle_proto::pb;
use tokio::io::AsyncReadExt as _;

use super::events::Events;
use super::{Session, input};
use crate::client::Secrets;
use crate::exit::Failure;
use crate::output::view::{Changed, SecretView};
use crate::units;

/// Bytes of a value.
const VALUE_BYTES_MAX: u64 = 4 << 10;
/// A line that is typed: a terminal takes no longer ones.
const TYPED_BYTES_MAX: usize = 4 << 10;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Keep a value, or another one: from stdin, a file or the keyboard, never as an argument, which other users of the machine see.
    Set(Set),
    /// List the secrets of a namespace, and which webhooks use them; never a value.
    List(List),
    /// Delete a secret.
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The secret: NAME, or NAMESPACE/NAME.
    #[arg(value_name = "SECRET")]
    secret: FunctionId,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The value is what stdin has, without a line feed at its end; a terminal is asked, and shows nothing:\n  \
                        openssl rand -hex 32 | tee hub.key | coracle secret set hub"
)]
struct Set {
    #[command(flatten)]
    named: Named,
    /// Take the value from this file.
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// How long the value before stays good, so that its sender may change over [default: 1d].
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    keep: Option<Duration>,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Those of this namespace [default: default].
    #[arg(long)]
    namespace: Option<Namespace>,
}

#[derive(Debug, clap::Args)]
struct Delete {
    #[command(flatten)]
    named: Named,
    /// Also while a webhook uses it.
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Set(args) => set(args, session).await,
        Verb::List(args) => list(args, session).await,
        Verb::Delete(args) => delete(args, session).await,
    }
}

async fn set(args: &Set, session: &Session<'_>) -> Result<(), Failure> {
    let id = &args.named.secret;
    let value = read(args.from_file.as_deref(), session).await?;
    let kept = put(&mut Events::reach(session).await?, id, &value, args.keep).await?.unwrap_or_default();
    let before = match kept.before_until_ms {
        0 => String::new(),
        until => format!("; the value before is good until {}", crate::output::rfc3339(until)),
    };
    session.talk.say(session.talk.done(&format!("secret {id} is kept{before}")));
    session.output.one(&SecretView::new(id.namespace.as_str(), kept))
}

/// A value as it is to be: without the line feed that editors and `echo` put behind it.
async fn read(file: Option<&Path>, session: &Session<'_>) -> Result<Bytes, Failure> {
    let stdin = Path::new("-");
    let name = file.map_or_else(|| "stdin".to_owned(), |file| file.display().to_string());
    let failed = |error| Failure::local(&name, error);
    let value = if file.is_none() && io::stdin().is_terminal() && session.talk.is_on_terminal() {
        session.talk.ask_secretly("the value, which is not shown while it is typed:", TYPED_BYTES_MAX)?
    } else {
        let opened = input::open(file.unwrap_or(stdin)).await.map_err(failed)?;
        let mut value = Vec::new();
        // With a line feed behind it.
        opened.take(VALUE_BYTES_MAX + 3).read_to_end(&mut value).await.map_err(failed)?;
        value
    };
    let value = trimmed(&value);
    match value.len() as u64 {
        0 => Err(Failure::usage(format!("{name}: a secret has at least one byte"))),
        1..=VALUE_BYTES_MAX => Ok(Bytes::copy_from_slice(value)),
        _ => {
            let most = units::show_bytes(VALUE_BYTES_MAX);
            Err(Failure::usage(format!("{name}: a secret has at most {most}")))
        }
    }
}

fn trimmed(value: &[u8]) -> &[u8] {
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    value.strip_suffix(b"\r").unwrap_or(value)
}

async fn put(
    events: &mut Events,
    id: &FunctionId,
    value: &Bytes,
    keep: Option<Duration>,
) -> Result<Option<pb::SecretDetail>, Failure> {
    let keep_ms = keep.map(|keep| u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
    let put = async |mut service: Secrets, place, request| {
        let (place, secret, value) = (Some(place), id.name.to_string(), value.clone());
        service.put(pb::PutSecretRequest { place, request, secret, value, keep_ms }).await
    };
    Ok(events.alter(&format!("secret {id}"), &id.namespace, put).await?.secret)
}

async fn list(args: &List, session: &Session<'_>) -> Result<(), Failure> {
    let namespace = args.namespace.clone().unwrap_or_default();
    let found = all(&mut Events::reach(session).await?, &namespace).await?;
    let view = |secret| SecretView::new(namespace.as_str(), secret);
    session.output.list(&found.into_iter().map(view).collect::<Vec<_>>())
}

/// Those of a namespace.
pub(super) async fn all(
    events: &mut Events,
    namespace: &Namespace,
) -> Result<Vec<pb::SecretDetail>, Failure> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = async |mut service: Secrets, place| {
            let (place, after) = (Some(place), after.clone());
            service.list(pb::ListSecretsRequest { place, after, limit: 0 }).await
        };
        let page = events.ask("secret list", namespace, page).await?;
        found.extend(page.secrets);
        if page.after.is_empty() {
            return Ok(found);
        }
        after = page.after;
    }
}

async fn delete(args: &Delete, session: &Session<'_>) -> Result<(), Failure> {
    let id = &args.named.secret;
    session.talk.confirm(&format!("Delete secret {id}?"), session.shared.yes)?;
    drop_secret(&mut Events::reach(session).await?, id, args.force).await?;
    session.talk.say(session.talk.done(&format!("secret {id} is deleted")));
    session.output.one(&Changed::new(id, "deleted"))
}

async fn drop_secret(events: &mut Events, id: &FunctionId, force: bool) -> Result<(), Failure> {
    let drop = async |mut service: Secrets, place, request| {
        let (place, secret) = (Some(place), id.name.to_string());
        service.delete(pb::DeleteSecretRequest { place, request, secret, force }).await
    };
    events.alter(&format!("secret delete {id}"), &id.namespace, drop).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{Fake, FakeStore, Kept, Script};
    use crate::exit::Exit;

    #[test]
    fn one_line_feed_is_not_of_the_value() {
        for (text, value) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a", " a"), ("\n", "")] {
            assert_eq!(trimmed(text.as_bytes()), value.as_bytes(), "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_secret_is_kept_listed_and_deleted_once_though_an_answer_was_lost() {
        let store = FakeStore::start(Kept { lost_answers: 1, ..Kept::default() }).await;
        let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
        let mut events = Events::of(node.client().await).unwrap();
        let id: FunctionId = "hub".parse().unwrap();
        let kept = put(&mut events, &id, &"abc".into(), Some(Duration::from_secs(1))).await.unwrap().unwrap();
        assert_eq!((kept.secret.as_str(), kept.version), ("hub", 1), "it was kept once");
        assert_eq!(all(&mut events, &id.namespace).await.unwrap().len(), 1);
        store.with(|kept| kept.secrets[0].webhooks = vec!["push".to_owned()]);
        assert_eq!(drop_secret(&mut events, &id, false).await.unwrap_err().exit, Exit::Conflict);
        drop_secret(&mut events, &id, true).await.unwrap();
        assert!(all(&mut events, &id.namespace).await.unwrap().is_empty());
    }
}

//! Secrets over a real group: made, changed over, listed without what they are, and refused by name.

use super::super::bench::{refused, request};
use super::*;
use crate::world::World;
use coracle_proto::status::Code;

impl World {
    pub(in super::super) fn secrets(&self) -> SecretsService {
        SecretsService { context: self.context() }
    }

    pub(in super::super) async fn put_secret(
        &self,
        secret: &str,
        value: &'static [u8],
        keep_ms: Option<u64>,
    ) -> Result<SecretDetail, Refusal> {
        let (place, secret, value) = (self.place(), secret.to_owned(), value.into());
        let put = PutSecretRequest { place, request: request(), secret, value, keep_ms };
        let told = self.secrets().put(Request::new(put)).await;
        told.map(|told| told.into_inner().secret.unwrap()).map_err(|status| Refusal::from_status(&status))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_told_changed_listed_and_deleted() {
    let world = World::start().await;
    let first = world.put_secret("s", b"one", None).await.unwrap();
    assert_eq!((first.before_until_ms, first.webhooks.len()), (0, 0));
    let now_ms = world.served.clock.now_ms();
    let second = world.put_secret("s", b"two", None).await.unwrap();
    assert!(second.version > first.version);
    assert!((second.before_until_ms - now_ms).abs_diff(KEEP_MS) < 60_000, "{second:?}");
    let third = world.put_secret("s", b"three", Some(0)).await.unwrap();
    assert_eq!(third.before_until_ms, 0);
    world.put_secret("t", b"other", None).await.unwrap();
    let list = async |after: &str, limit| {
        let asked = ListSecretsRequest { place: world.place(), after: after.to_owned(), limit };
        let reply = world.secrets().list(Request::new(asked)).await.unwrap().into_inner();
        (reply.secrets.into_iter().map(|it| it.secret).collect::<Vec<_>>().join(" "), reply.after)
    };
    assert_eq!(list("", 1).await, ("s".to_owned(), "s".to_owned()));
    assert_eq!(list("s", 2).await, ("t".to_owned(), String::new()));
    let delete = async |secret: &str| {
        let (place, secret) = (world.place(), secret.to_owned());
        let delete = DeleteSecretRequest { place, request: request(), secret, force: false };
        world.secrets().delete(Request::new(delete)).await
    };
    delete("s").await.unwrap();
    let (code, sentence) = refused(delete("s").await);
    assert_eq!((code, &sentence[..]), (Code::SecretNotFound, "there is no secret 'shop/s'"));
    assert_eq!(world.put_secret("S", b"x", None).await.unwrap_err().code, Code::InvalidArgument);
    assert_eq!(world.put_secret("s", b"", None).await.unwrap_err().code, Code::InvalidArgument);
    world.end().await;
}

//! Blobs by HTTP (docs/adr/0018): read, written, listed and deleted at any gateway, in ranges, on conditions and in parts.

mod address;
mod answer;
mod conditions;
mod cors;
mod describe;
mod digest;
mod get;
mod list;
mod parts;
mod put;
mod query;
mod range;
mod sent;
mod span;

pub(super) use self::address::Address;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use coracle_proto::attr;
use http::request::Parts;
use http::{Method, Response};
use tracing::Instrument as _;

use self::query::Query;
use super::Inner;
use super::answer::Served;
use super::problem::problem;
use super::replay::Replay;
use super::serve::unless_unheard;
use super::shares::Share;
use crate::blobs::{At, Visitor, Wants};
use crate::call::{Body, CallError};
use crate::stores::BlobClient;
use crate::values::Bucket;
use crate::{clock, hops};

/// What is asked of whoever leads is answered within this, or refused.
const ASK_MAX: Duration = Duration::from_secs(10);
const OF_BUCKET: &str = "GET, HEAD";
const OF_BLOB: &str = "DELETE, GET, HEAD, PUT";
const OF_UPLOADS: &str = "POST";
const OF_UPLOAD: &str = "DELETE, GET, HEAD, POST, PUT";

/// A request about one blob.
struct Visit<'a> {
    front: &'a Inner,
    client: BlobClient,
    at: &'a At,
    head: &'a Parts,
    body: &'a Replay,
    caller: IpAddr,
}

/// Why there is nothing to be had, and an answer that says more than others do.
struct Refused {
    error: CallError,
    response: Option<Box<Response<Body>>>,
}

impl From<CallError> for Refused {
    fn from(error: CallError) -> Self {
        Self { error, response: None }
    }
}

impl From<(CallError, Response<Body>)> for Refused {
    fn from((error, response): (CallError, Response<Body>)) -> Self {
        Self { error, response: Some(Box::new(response)) }
    }
}

impl Inner {
    /// Answers a request about blobs.
    pub(super) async fn blob(
        &self,
        address: &Address,
        head: &Parts,
        body: &Replay,
        caller: IpAddr,
    ) -> Served {
        let Some(bucket) = address.bucket() else {
            return Served::page(match head.method {
                Method::GET | Method::HEAD => answer::usage(),
                _ => answer::not_allowed(&head.method, OF_BUCKET).1,
            });
        };
        let place = match self.place(caller) {
            Ok(place) => place,
            Err(error) => return self.refuse(&error),
        };
        if let Some(response) = cors::preflight(head) {
            return Served::page(response);
        }
        let span = span::blob(bucket, head);
        let answered = self.visit(address, head, (body, caller), place).instrument(span.clone()).await;
        let mut response = answered.unwrap_or_else(|Refused { error, response }| {
            let error = unless_unheard(&self.view.load(), error);
            coracle_proto::trace::failed(&span, &error.refusal);
            self.metrics.refused(error.code());
            response.map_or_else(|| problem(&error), |response| *response)
        });
        cors::allow(head, &mut response);
        span.record(attr::HTTP_STATUS, response.status().as_u16());
        Served::page(response)
    }

    async fn visit(
        &self,
        address: &Address,
        head: &Parts,
        (body, caller): (&Replay, IpAddr),
        place: Share,
    ) -> Result<Response<Body>, Refused> {
        hops::check(&head.headers)?;
        let query = Query::new(head.uri.query().unwrap_or_default())?;
        if matches!(address, Address::Bucket(_)) && (query.uploads || query.upload.is_some()) {
            return Err(answer::no_key().into());
        }
        let visitor = Visitor { wants: wants(&head.method, &query), signature: query.signature };
        let client = self.stores.blobs_for(visitor);
        match address {
            Address::Bucket(bucket) => self.listed(&client, bucket, head, query).await,
            Address::Blob(at) => {
                let visit = Visit { front: self, client, at, head, body, caller };
                Box::pin(visit.answer(&query, place)).await
            }
            Address::Usage => Ok(answer::usage()),
        }
    }

    async fn listed(
        &self,
        client: &BlobClient,
        bucket: &Bucket,
        head: &Parts,
        query: Query,
    ) -> Result<Response<Body>, Refused> {
        match head.method {
            Method::GET | Method::HEAD => {
                Ok(list::list(client, bucket, query, clock::now() + ASK_MAX).await?)
            }
            _ => Err(answer::not_allowed(&head.method, OF_BUCKET).into()),
        }
    }
}

impl Visit<'_> {
    async fn answer(&self, query: &Query, place: Share) -> Result<Response<Body>, Refused> {
        let method = &self.head.method;
        if query.uploads {
            return match *method {
                Method::POST => Ok(self.begin_parts().await?),
                _ => Err(answer::not_allowed(method, OF_UPLOADS).into()),
            };
        }
        let Some(upload) = query.upload else {
            return match *method {
                Method::GET | Method::HEAD => self.get(place).await,
                Method::PUT => Ok(self.put().await?),
                Method::DELETE => Ok(self.delete().await?),
                _ => Err(answer::not_allowed(method, OF_BLOB).into()),
            };
        };
        match (method.clone(), query.part) {
            (Method::PUT, Some(part)) => Ok(self.put_part(upload, part).await?),
            (Method::PUT, None) => Err(answer::no_part().into()),
            (Method::GET | Method::HEAD, _) => Ok(self.parts(upload).await?),
            (Method::POST, _) => Ok(self.complete(upload).await?),
            (Method::DELETE, _) => Ok(self.abort(upload).await?),
            _ => Err(answer::not_allowed(method, OF_UPLOAD).into()),
        }
    }

    fn deadline(&self) -> Instant {
        clock::now() + ASK_MAX
    }

    /// How many calls in a row led to this request.
    fn hops(&self) -> u32 {
        hops::so_far(&self.head.headers)
    }
}

/// What a visitor wants: all steps of an upload in parts are of its writer.
fn wants(method: &Method, query: &Query) -> Wants {
    match *method {
        _ if query.uploads || query.upload.is_some() => Wants::Write,
        Method::GET | Method::HEAD => Wants::Read,
        Method::DELETE => Wants::Delete,
        _ => Wants::Write,
    }
}

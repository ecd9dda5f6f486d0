//! Results as they are shown: each type is one documented form of JSON, with its table beside it.

mod blob;
mod changed;
mod function;
mod group;
mod invocation;
mod kv;
mod letter;
mod log;
mod node;
mod process;
mod published;
mod queue;
mod route;
mod schedule;
mod secret;
mod status;
mod topic;
mod waiting;
mod webhook;

pub(crate) use blob::{BlobView, LinkView, PutView, UploadView};
pub(crate) use changed::Changed;
pub(crate) use function::{FunctionDetailView, FunctionView, function_name, kind};
pub(crate) use group::replicas;
pub(crate) use invocation::{AcceptedView, InvocationView, ResultView, state_word};
pub(crate) use kv::{BucketView, EntryView, NumberView};
pub(crate) use letter::LetterView;
pub(crate) use log::{LogView, gap_sentence};
pub(crate) use node::{NodeDetailView, NodeView};
pub(crate) use process::forget_far_pids;
pub(crate) use published::PublishedView;
pub(crate) use queue::{MovedView, QueueDetailView, QueueView};
pub(crate) use route::RouteView;
pub(crate) use schedule::ScheduleView;
pub(crate) use secret::SecretView;
pub(crate) use status::StatusView;
pub(crate) use topic::TopicView;
pub(crate) use waiting::WaitingView;
pub(crate) use webhook::WebhookView;

use coracle_proto::id::Digest;
use coracle_proto::pb;
use coracle_proto::route::RouteSpec;

/// A route's text; one that is newer than this program is shown by its parts.
fn route_text(wire: pb::RouteSpec) -> String {
    let plain = format!("{}{}", wire.host, wire.path);
    RouteSpec::try_from(wire).map_or(plain, |route| route.to_string())
}

/// The routes of a function; without one of its own it answers at its name.
fn route_texts(namespace: &str, name: &str, routes: Vec<pb::RouteSpec>) -> Vec<String> {
    if routes.is_empty() {
        return vec![format!("{}/*", default_path(namespace, name))];
    }
    routes.into_iter().map(route_text).collect()
}

/// Where a function without a route answers.
pub(crate) fn default_path(namespace: &str, name: &str) -> String {
    match namespace {
        "" | coracle_proto::id::Namespace::DEFAULT => format!("/{name}"),
        namespace => format!("/{namespace}/{name}"),
    }
}

/// `sha256:HEX`, or whatever came.
fn digest_text(bytes: &[u8]) -> String {
    Digest::try_from(bytes).map_or_else(|_| "unknown".to_owned(), |digest| digest.to_string())
}

//! What a request is for: a function, or a page of the platform.

use coracle_proto::id::{FunctionId, InvocationId, Namespace};
use coracle_proto::route::RESERVED_PREFIX;
use coracle_proto::status::Code;

use super::blob::Address;
use super::later::{Asked, What};
use super::publish::Destination;
use super::webhook::Hook;
use crate::call::CallError;
use crate::view::View;

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A function.
    Function {
        /// Which one.
        function: FunctionId,
        /// The matched prefix.
        route: String,
        /// The path that the guest sees, where it is not the request's.
        path: Option<String>,
    },
    /// Nothing is there, but a word of help.
    Welcome,
    /// Whether the gateway runs.
    Health,
    /// What became of a call that was accepted before.
    Invocation(Asked),
    /// A queue or a topic.
    Publish(Destination),
    /// A webhook.
    Webhook(Hook),
    /// Blobs of a bucket.
    Blob(Address),
}

/// Finds what `host` (lower case, no port) and `path` stand for.
pub(super) fn target(view: &View, host: &str, path: &str) -> Result<Target, CallError> {
    if let Some(rest) = path.strip_prefix(RESERVED_PREFIX)
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return reserved(view, path, rest);
    }
    match view.routing.content.routes().find(host, path) {
        Some(route) => Ok(Target::Function {
            function: route.function.clone(),
            route: route.spec.path().to_owned(),
            path: None,
        }),
        None if path == "/" => Ok(Target::Welcome),
        None => {
            let said =
                format!("no route matches '{host}{path}'; `coracle route list` shows those that there are");
            Err(CallError::new(Code::RouteNotFound, said))
        }
    }
}

fn reserved(view: &View, path: &str, rest: &str) -> Result<Target, CallError> {
    if rest == "/health" {
        return Ok(Target::Health);
    }
    if let Some(asked) = rest.strip_prefix("/invocations/").and_then(invocation) {
        return asked.map(Target::Invocation);
    }
    if let Some(to) = rest.strip_prefix("/publish/").and_then(Destination::parse) {
        return to.map(Target::Publish);
    }
    if let Some(to) = rest.strip_prefix("/webhook/").and_then(Hook::parse) {
        return to.map(Target::Webhook);
    }
    if let Some(address) = rest.strip_prefix("/blob").and_then(Address::parse) {
        return address.map(Target::Blob);
    }
    let Some(named) = rest.strip_prefix("/invoke/") else {
        let said = format!(
            "'{path}' is the platform's: below {RESERVED_PREFIX}/ are invoke/NAMESPACE/NAME, publish/NAMESPACE/NAME, \
             webhook/NAMESPACE/NAME, blob/BUCKET/KEY, invocations/ID with /result and /retry, and health"
        );
        return Err(CallError::new(Code::ReservedPath, said));
    };
    let mut parts = named.splitn(3, '/');
    let (namespace, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let not_found =
        |why: &str| CallError::new(Code::FunctionNotFound, format!("'{}/{name}': {why}", shown(namespace)));
    let function = FunctionId::parse(namespace, name).map_err(|error| not_found(&error.to_string()))?;
    if !view.routing.content.functions().contains_key(&function) {
        return Err(not_found("there is no such function"));
    }
    let path = Some(format!("/{}", parts.next().unwrap_or_default()));
    Ok(Target::Function { function, route: String::new(), path })
}

/// What is asked about an invocation; none where nothing is there.
fn invocation(rest: &str) -> Option<Result<Asked, CallError>> {
    let (id, what) = match rest.split_once('/') {
        None => (rest, What::Record),
        Some((id, "result")) => (id, What::Result),
        Some((id, "retry")) => (id, What::Retry),
        Some(_) => return None,
    };
    let id = id
        .parse::<InvocationId>()
        .map_err(|error| CallError::new(Code::InvocationNotFound, error.to_string()));
    Some(id.map(|id| Asked { id, what }))
}

fn shown(namespace: &str) -> &str {
    if namespace.is_empty() { Namespace::DEFAULT } else { namespace }
}

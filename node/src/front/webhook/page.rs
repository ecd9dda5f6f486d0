//! What is said to whoever sends to a webhook.

use coracle_proto::route::RESERVED_PREFIX;
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::Hook;
use crate::call::Body;
use crate::front::answer::set_invocation;
use crate::front::later::{answer, location};
use crate::front::problem::page;
use crate::stores::Heard;

#[derive(Serialize)]
struct Accepted {
    invocation: String,
    repeated: bool,
}

/// That it is kept; or what the sender wants to hear.
pub(super) fn heard(heard: Heard) -> Response<Body> {
    let (invocation, repeated) = match heard {
        Heard::Kept { invocation, repeated } => (invocation, repeated),
        Heard::Asked(text) => {
            let text = String::from_utf8_lossy(&text).into_owned();
            let mut response = page(StatusCode::OK, "text/plain; charset=utf-8", text);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return response;
        }
    };
    // Strings and booleans always have a JSON form.
    let json = serde_json::to_string(&Accepted { invocation: invocation.to_string(), repeated });
    let mut response = answer(StatusCode::ACCEPTED, json.unwrap_or_default());
    let headers = response.headers_mut();
    set_invocation(headers, invocation);
    if let Ok(location) = HeaderValue::try_from(location(invocation)) {
        headers.insert(LOCATION, location);
    }
    response
}

/// How a sender is told of it. That there is such a webhook is said to whoever sends to it.
pub(super) fn usage(to: &Hook) -> Response<Body> {
    let text = format!(
        "POST sends to the webhook '{to}':\n\n  http://HOST{RESERVED_PREFIX}/webhook/{to}\n\n\
         Give this address and the webhook's secret to the service that sends. What is not signed with the secret is\n\
         refused; what is signed is kept when it is answered with 202, and its function is called once for each id of the\n\
         sender's (docs/guide.md, Webhooks).\n"
    );
    page(StatusCode::OK, "text/plain; charset=utf-8", text)
}

//! What was accepted, to and from its wire form.

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::pb;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::stores::message::{Event, EventHead};

pub(super) fn event_body(it: Event) -> pb::EventBody {
    pb::EventBody {
        kind: it.kind,
        source: it.source,
        id: it.id,
        attributes: it.attributes,
        http: it.head.as_ref().map(head_to_wire),
        data: it.data,
    }
}

pub(super) fn event(wire: pb::EventBody) -> Result<Event, DecodeError> {
    Ok(Event {
        kind: wire.kind,
        source: wire.source,
        id: wire.id,
        attributes: wire.attributes,
        head: wire.http.map(head).transpose()?,
        data: wire.data,
    })
}

fn head_to_wire(it: &EventHead) -> pb::EventHttp {
    pb::EventHttp {
        method: it.method.to_string(),
        uri: it.uri.to_string(),
        headers: headers_to_wire(&it.headers),
        route: it.route.clone(),
    }
}

fn head(wire: pb::EventHttp) -> Result<EventHead, DecodeError> {
    Ok(EventHead {
        method: Method::from_bytes(wire.method.as_bytes()).in_field("method")?,
        uri: wire.uri.parse::<Uri>().in_field("uri")?,
        headers: headers(wire.headers)?,
        route: wire.route,
    })
}

/// Headers as they are kept.
pub(super) fn headers_to_wire(headers: &HeaderMap) -> Vec<pb::EventHeader> {
    let one = |(name, value): (&HeaderName, &HeaderValue)| pb::EventHeader {
        name: name.as_str().to_owned(),
        value: bytes::Bytes::copy_from_slice(value.as_bytes()),
    };
    headers.iter().map(one).collect()
}

/// Headers as they were kept.
pub(super) fn headers(wire: Vec<pb::EventHeader>) -> Result<HeaderMap, DecodeError> {
    let mut headers = HeaderMap::with_capacity(wire.len());
    for header in wire {
        let name = HeaderName::try_from(header.name).in_field("headers.name")?;
        headers.append(name, HeaderValue::from_maybe_shared(header.value).in_field("headers.value")?);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_comes_back() {
        let mut headers = HeaderMap::new();
        headers.append("x-twice", HeaderValue::from_static("1"));
        headers.append("x-twice", HeaderValue::from_bytes(b"\xff").unwrap());
        let accepted = Event {
            kind: "async".to_owned(),
            source: "//c/shop/function/f".to_owned(),
            id: "1".to_owned(),
            attributes: [("traceparent".to_owned(), "00-1-2-01".to_owned())].into(),
            head: Some(EventHead {
                method: Method::PUT,
                uri: "http://a.example:81/b?c=%20".parse().unwrap(),
                headers,
                route: "/b".to_owned(),
            }),
            data: bytes::Bytes::from_static(b"\x00\xff"),
        };
        assert_eq!(event(event_body(accepted.clone())), Ok(accepted.clone()));
        let plain = Event { head: None, ..accepted };
        assert_eq!(event(event_body(plain.clone())), Ok(plain));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let http =
            pb::EventHttp { method: "GET".to_owned(), uri: "http://a/".to_owned(), ..Default::default() };
        let field = |http| {
            event(pb::EventBody { http: Some(http), ..Default::default() }).map_err(|error| error.field)
        };
        assert!(field(http.clone()).is_ok());
        assert_eq!(field(pb::EventHttp { method: "a b".to_owned(), ..http.clone() }), Err("method"));
        assert_eq!(field(pb::EventHttp { uri: "http://a b".to_owned(), ..http.clone() }), Err("uri"));
        for (name, value, wrong) in [("a b", "", "headers.name"), ("a", "\n", "headers.value")] {
            let header = pb::EventHeader { name: name.to_owned(), value: value.into() };
            assert_eq!(field(pb::EventHttp { headers: vec![header], ..http.clone() }), Err(wrong));
        }
    }
}

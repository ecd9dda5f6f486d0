//! A function's answer, read to its end and kept as far as it fits.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::BodyExt as _;

use crate::call::{Body, CallError};
use crate::stores::{BODY_BYTES_MAX, HEADERS_MAX, KEPT_HEADERS_BYTES_MAX, Kept};

/// Reads it. What is over the bounds is counted, and dropped.
pub(super) async fn gather(response: Response<Body>) -> Result<Kept, CallError> {
    let (head, mut body) = response.into_parts();
    let (mut kept, mut body_bytes) = (BytesMut::new(), 0_u64);
    while let Some(frame) = body.frame().await {
        // Trailers are not kept.
        let Ok(data) = frame?.into_data() else { continue };
        body_bytes = body_bytes.saturating_add(data.len() as u64);
        let room = BODY_BYTES_MAX.saturating_sub(kept.len()).min(data.len());
        kept.extend_from_slice(data.get(..room).unwrap_or_default());
    }
    if body_bytes > BODY_BYTES_MAX as u64 {
        // Nobody is shown a part of an answer.
        kept.clear();
    }
    let (status, headers) = (head.status, few(head.headers));
    Ok(Kept { status, headers, body: kept.freeze(), body_bytes })
}

/// As many of the headers as fit, in their order.
fn few(headers: HeaderMap) -> HeaderMap {
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len().saturating_add(value.len());
    if headers.len() <= HEADERS_MAX && headers.iter().map(bytes).sum::<usize>() <= KEPT_HEADERS_BYTES_MAX {
        return headers;
    }
    let (mut few, mut left) = (HeaderMap::new(), KEPT_HEADERS_BYTES_MAX);
    for (name, value) in &headers {
        if few.len() < HEADERS_MAX
            && let Some(rest) = left.checked_sub(bytes((name, value)))
        {
            left = rest;
            few.append(name.clone(), value.clone());
        }
    }
    few
}

#[cfg(test)]
mod tests {
    use coracle_proto::status::Code;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn response(pieces: Vec<Result<usize, CallError>>) -> Response<Body> {
        let frames = pieces.into_iter().map(|piece| piece.map(|len| Frame::data(vec![b'x'; len].into())));
        Response::new(Body::new(StreamBody::new(stream::iter(frames))))
    }

    #[tokio::test]
    async fn an_answer_is_kept_whole_or_counted() {
        for (pieces, kept, whole) in [
            (vec![], 0, true),
            (vec![Ok(1), Ok(0), Ok(BODY_BYTES_MAX - 1)], BODY_BYTES_MAX, true),
            (vec![Ok(BODY_BYTES_MAX), Ok(1)], 0, false),
            (vec![Ok(1 << 20), Ok(1 << 20)], 0, false),
        ] {
            let sent: usize = pieces.iter().flatten().sum();
            let answer = gather(response(pieces)).await.unwrap();
            assert_eq!((answer.body.len(), answer.is_whole(), answer.body_bytes), (kept, whole, sent as u64));
        }
        let broken = CallError::new(Code::IdleTimeout, "silent");
        assert_eq!(gather(response(vec![Ok(3), Err(broken.clone())])).await, Err(broken));
    }

    #[tokio::test]
    async fn headers_are_kept_as_far_as_they_fit() {
        let mut answer = response(vec![]);
        for (name, bytes) in [("x-a", 4_000), ("x-b", 5_000), ("x-c", 4_000)] {
            let value = HeaderValue::try_from("v".repeat(bytes)).unwrap();
            answer.headers_mut().append(name, value);
        }
        let kept = gather(answer).await.unwrap().headers;
        assert_eq!(kept.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-a", "x-c"]);

        for (sent, kept) in [(HEADERS_MAX, HEADERS_MAX), (HEADERS_MAX + 1, HEADERS_MAX), (400, HEADERS_MAX)] {
            let mut answer = response(vec![]);
            for _ in 0..sent {
                answer.headers_mut().append("x", HeaderValue::from_static(""));
            }
            assert_eq!(gather(answer).await.unwrap().headers.len(), kept, "{sent}");
        }
    }
}

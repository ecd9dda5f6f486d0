//! What the standard says, and what it leaves open.

use std::collections::BTreeMap;

use http::Request;

use super::*;

fn variables(request: Request<()>, route: &str, body_bytes: usize) -> BTreeMap<String, String> {
    let caller = Origin { route, remote: Some("[::ffff:192.0.2.1]:5".parse().unwrap()) };
    environment(&request.into_parts().0, caller, body_bytes).into_iter().collect()
}

#[test]
fn a_request_is_told_in_the_environment() {
    let request = Request::post("/shop/a%20b?x=1&y")
        .header("host", "example.org:8080")
        .header("content-type", "text/csv")
        .header("x-two", "1")
        .header("x-two", "2")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("proxy", "http://evil/")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x_forwarded_for", "forged")
        .header("x_two", "forged")
        .header("traceparent", "00-1-2-01")
        .body(())
        .unwrap();
    let all = variables(request, "/shop/", 12);
    for (name, value) in [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REQUEST_METHOD", "POST"),
        ("SCRIPT_NAME", "/shop"),
        ("PATH_INFO", "/a b"),
        ("QUERY_STRING", "x=1&y"),
        ("REQUEST_URI", "/shop/a%20b?x=1&y"),
        ("SERVER_NAME", "example.org"),
        ("SERVER_PORT", "8080"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "192.0.2.1"),
        ("CONTENT_TYPE", "text/csv"),
        ("CONTENT_LENGTH", "12"),
        ("HTTP_X_TWO", "1, 2"),
        ("HTTP_COOKIE", "a=1; b=2"),
        ("HTTP_X_FORWARDED_FOR", "192.0.2.1"),
        ("TRACEPARENT", "00-1-2-01"),
        ("HTTP_TRACEPARENT", "00-1-2-01"),
    ] {
        assert_eq!(all.get(name).map(String::as_str), Some(value), "{name}");
    }
    for name in ["HTTP_PROXY", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"] {
        assert!(!all.contains_key(name), "{name}");
    }
}

#[test]
fn the_route_is_split_off_whole_segments_only() {
    let path = |uri: &str, route: &str| {
        let all = variables(Request::get(uri).body(()).unwrap(), route, 0);
        (all["SCRIPT_NAME"].clone(), all["PATH_INFO"].clone())
    };
    assert_eq!(path("/a/b", "/a"), ("/a".into(), "/b".into()));
    assert_eq!(path("/a", "/a"), ("/a".into(), String::new()));
    assert_eq!(path("/ab", "/a"), (String::new(), "/ab".into()));
    assert_eq!(path("/a/b", "/"), (String::new(), "/a/b".into()));
    assert_eq!(path("/%zz%4", "/"), (String::new(), "/%zz%4".into()));
    assert_eq!(path("/%00", "/"), (String::new(), "/%00".into()));
}

fn head(output: &[u8], ended: bool) -> (u16, Vec<(String, String)>, usize) {
    let Parsed::Head(head) = parse(output, ended) else { panic!("{:?}", parse(output, ended)) };
    let fields = head.response.headers().iter();
    let fields = fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    (head.response.status().as_u16(), fields, head.body_at)
}

#[test]
fn only_three_first_lines_make_a_header_block() {
    let field = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    assert_eq!(head(b"Status: 404\n\nno", true), (404, vec![], 13));
    assert_eq!(head(b"content-TYPE: a/b\r\n\r\n", true), (200, field("content-type", "a/b"), 21));
    assert_eq!(head(b"Location: /x\n\n", true), (302, field("location", "/x"), 14));
    let text = field("content-type", "text/plain; charset=utf-8");
    for plain in ["", "hello", "Note: no header\n\nbody", "Statusquo: 1\n\n", "Status", "X-A: b\n\n"] {
        assert_eq!(head(plain.as_bytes(), true), (200, text.clone(), 0), "{plain}");
    }
    // A character that is cut by the end of what is there is text still.
    assert_eq!(head("grün".as_bytes().split_at(3).0, false).1, text);
    assert_eq!(head(&[0xff, 0xfe], true).1, field("content-type", "application/octet-stream"));
    assert_eq!(head(b"Status: 200\nContent-Length: 5\nConnection: close\n\n", true).1, vec![]);
}

#[test]
fn a_header_block_is_waited_for_and_must_be_one() {
    for part in ["St", "status", "Status: 200\n", "Content-Type: a/b\r\n\r"] {
        assert!(matches!(parse(part.as_bytes(), false), Parsed::Incomplete), "{part}");
    }
    let long = format!("Status: 200\n{}", "x: y\n".repeat(14_000));
    for bad in [
        "Status: 200\n",
        "Status: 100\n\n",
        "Status: 20\n\n",
        "Status: 2000\n\n",
        "Status: 200\nno colon\n\n",
        "Location: a\0b\n\n",
        &long,
    ] {
        assert!(matches!(parse(bad.as_bytes(), true), Parsed::Invalid(_)), "{bad:.40}");
    }
}

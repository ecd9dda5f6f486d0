//! The Common Gateway Interface, version 1.1 (RFC 3875): what a command is told, and how its answer is read.

use std::net::SocketAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version, header, request};

#[cfg(test)]
mod tests;

/// Bytes of a response's header block.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// An answer is taken to have a header block only if its first line is one of these fields.
const FIRST_FIELDS: [&str; 3] = ["status", "content-type", "location"];
/// Of what is left out of the environment: `HTTP_PROXY` would redirect the requests of many programs.
const DROPPED: [HeaderName; 3] =
    [header::CONTENT_TYPE, header::CONTENT_LENGTH, HeaderName::from_static("proxy")];

/// Who called, and by which route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    /// The matched prefix.
    pub(super) route: &'a str,
    pub(super) remote: Option<SocketAddr>,
}

/// The environment that tells a command its request.
pub(super) fn environment(
    request: &request::Parts,
    origin: Origin<'_>,
    body_bytes: usize,
) -> Vec<(String, String)> {
    let mut all = Vec::with_capacity(20 + request.headers.len());
    let mut set = |name: &str, value: &str| all.push((name.to_owned(), value.to_owned()));
    let path = request.uri.path();
    let script = origin.route.trim_end_matches('/');
    let (script, rest) = match path.strip_prefix(script) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => (script, rest),
        Some(_) | None => ("", path),
    };
    let host = request.uri.authority().map(|authority| authority.as_str());
    let host = host.or_else(|| text(&request.headers, header::HOST)).unwrap_or_default();
    let (name, port) = split_port(host);
    set("GATEWAY_INTERFACE", "CGI/1.1");
    set("SERVER_SOFTWARE", concat!("coracle/", env!("CARGO_PKG_VERSION")));
    set("SERVER_NAME", name);
    set("SERVER_PORT", port.unwrap_or("80"));
    set("SERVER_PROTOCOL", protocol(request.version));
    set("REQUEST_METHOD", request.method.as_str());
    set("REQUEST_URI", request.uri.path_and_query().map_or(path, |whole| whole.as_str()));
    set("SCRIPT_NAME", script);
    set("PATH_INFO", &percent_decode(rest));
    set("QUERY_STRING", request.uri.query().unwrap_or_default());
    if let Some(remote) = origin.remote {
        let address = remote.ip().to_canonical().to_string();
        set("REMOTE_ADDR", &address);
        set("REMOTE_HOST", &address);
        set("REMOTE_PORT", &remote.port().to_string());
    }
    if body_bytes > 0 || request.headers.contains_key(header::CONTENT_LENGTH) {
        set("CONTENT_LENGTH", &body_bytes.to_string());
    }
    if let Some(kind) = text(&request.headers, header::CONTENT_TYPE) {
        set("CONTENT_TYPE", kind);
    }
    // As a program that is no CGI script looks for it.
    for name in ["traceparent", "tracestate"] {
        if let Some(value) = request.headers.get(name).and_then(|value| value.to_str().ok()) {
            set(&name.to_ascii_uppercase(), value);
        }
    }
    headers(&request.headers, &mut all);
    all
}

fn headers(headers: &HeaderMap, all: &mut Vec<(String, String)>) {
    // `x_forwarded_for` would come as the same variable as `x-forwarded-for`, which the platform vouches for.
    let told = |name: &&HeaderName| !DROPPED.contains(*name) && !name.as_str().contains('_');
    for name in headers.keys().filter(told) {
        let separator = if name == header::COOKIE { "; " } else { ", " };
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let variable = name.as_str().to_ascii_uppercase().replace('-', "_");
        all.push((format!("HTTP_{variable}"), values.join(separator).replace('\0', "")));
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (name, Some(port))
        }
        Some(_) | None => (host, None),
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// As the RFC asks for the path; a zero byte, which no environment can hold, is left encoded.
fn percent_decode(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|_| *byte == b'%').and_then(|hex| {
            let hex = std::str::from_utf8(hex)
                .ok()
                .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
            u8::from_str_radix(hex, 16).ok().filter(|code| *code != 0)
        });
        bytes.push(code.unwrap_or(*byte));
        rest = if code.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the beginning of a command's output is.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A head, given or made up.
    Head(Box<Head>),
    /// A header block that has not ended.
    Incomplete,
    /// A header block that is none, and why.
    Invalid(String),
}

/// A response's head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: Response<()>,
    /// Where the body begins in the output.
    pub(super) body_at: usize,
}

/// Reads the head from the output so far; `ended` tells that no more will come.
pub(super) fn parse(output: &[u8], ended: bool) -> Parsed {
    match begins_with_field(output, ended) {
        Some(true) => {}
        Some(false) => return plain(output),
        None => return Parsed::Incomplete,
    }
    let mut block = Block::default();
    let mut at = 0;
    for line in output.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        if at > HEAD_BYTES_MAX {
            return Parsed::Invalid(format!("the header block is over {} KiB", HEAD_BYTES_MAX >> 10));
        }
        let Some(text) = line.strip_suffix(b"\n") else { break };
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() {
            return Parsed::Head(Box::new(Head { response: block.response(), body_at: at }));
        }
        if let Err(why) = block.field(text) {
            return Parsed::Invalid(why);
        }
    }
    if ended {
        return Parsed::Invalid("the header block has no end: an empty line is missing".into());
    }
    Parsed::Incomplete
}

/// Whether the first line is one of [`FIRST_FIELDS`]; `None` when that cannot be told yet.
fn begins_with_field(output: &[u8], ended: bool) -> Option<bool> {
    for field in FIRST_FIELDS {
        let there = output.get(..field.len()).unwrap_or(output);
        if !there.eq_ignore_ascii_case(field.as_bytes().get(..there.len())?) {
            continue;
        }
        return match output.get(field.len()) {
            Some(byte) => Some(*byte == b':'),
            None if ended => Some(false),
            None => None,
        };
    }
    Some(false)
}

/// The head of output that has no header block, whatever it looks like: text if it is, else bytes. It is never taken for HTML.
pub(super) fn plain(output: &[u8]) -> Parsed {
    let is_text = std::str::from_utf8(output).map_or_else(|error| error.error_len().is_none(), |_| true);
    let kind = if is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    let mut response = Response::new(());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Parsed::Head(Box::new(Head { response, body_at: 0 }))
}

#[derive(Debug, Default)]
struct Block {
    status: Option<StatusCode>,
    headers: HeaderMap,
}

impl Block {
    fn field(&mut self, line: &[u8]) -> Result<(), String> {
        let wrong = || format!("'{}' is not a header field", String::from_utf8_lossy(line));
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(wrong)?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"status") {
            let code = value.get(..3).filter(|_| value.get(3).is_none_or(|byte| *byte == b' '));
            let status = code.and_then(|code| StatusCode::from_bytes(code).ok());
            self.status = Some(status.filter(|status| !status.is_informational()).ok_or_else(wrong)?);
            return Ok(());
        }
        let name = HeaderName::from_bytes(name).map_err(|_| wrong())?;
        // The length is counted, and the rest is between the gateway and its caller.
        let own = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE];
        if !own.contains(&name) {
            self.headers.append(name, HeaderValue::from_bytes(value).map_err(|_| wrong())?);
        }
        Ok(())
    }

    fn response(self) -> Response<()> {
        let implied =
            if self.headers.contains_key(header::LOCATION) { StatusCode::FOUND } else { StatusCode::OK };
        let mut response = Response::new(());
        *response.status_mut() = self.status.unwrap_or(implied);
        *response.headers_mut() = self.headers;
        response
    }
}

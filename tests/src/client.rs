//! An HTTP client that tells an answer from a failure and never waits for ever.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// From sending to the last byte.
    pub elapsed: Duration,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header as text, empty where it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A client with kept connections. Clones share them.
#[derive(Debug, Clone)]
pub struct Client {
    pooled: Pooled<HttpConnector, Full<Bytes>>,
    deadline: Duration,
}

impl Default for Client {
    fn default() -> Self {
        Self::new(Duration::from_secs(60))
    }
}

impl Client {
    /// A client whose calls end after `deadline`.
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(deadline));
        Self { pooled: Pooled::builder(TokioExecutor::new()).build(connector), deadline }
    }

    /// A GET.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn get(&self, url: &str) -> Result<Answer, String> {
        self.send(Method::GET, url, &[], Bytes::new()).await
    }

    /// A POST.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn post(&self, url: &str, body: impl Into<Bytes>) -> Result<Answer, String> {
        self.send(Method::POST, url, &[], body.into()).await
    }

    /// Any request.
    ///
    /// # Errors
    /// Why there was no answer.
    ///
    /// # Panics
    /// When the URL or a header is none.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        let begin = Instant::now();
        let whole = async {
            let response = self.pooled.request(request).await.map_err(|error| chain(&error))?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| format!("body: {}", chain(&error)))?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body, elapsed: begin.elapsed() })
        };
        let slow = |_| Err(format!("no answer within {:?}", self.deadline));
        tokio::time::timeout(self.deadline, whole).await.unwrap_or_else(slow)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

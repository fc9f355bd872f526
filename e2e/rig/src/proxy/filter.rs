use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures::stream;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::RigError;

const BODY_MAX_BYTES: usize = 16 * 1024 * 1024;

/// What a [`Filter`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An error, without asking the server.
    Status {
        /// As 409, 429 or 500.
        code: u16,
        /// Seconds, in the `Retry-After` header.
        retry_after: Option<u32>,
    },
    /// Only of an API server: reads see the cluster as it was at this resource version, and watches tell nothing.
    StaleAt(String),
}

/// Which requests are answered so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What they get.
    pub answer: Answer,
    /// Those whose path has this in it.
    pub path: String,
    /// Only those that change something.
    pub writes_only: bool,
}

impl Fault {
    /// Every request to a path with `path` in it gets an error.
    pub fn status(code: u16, path: &str) -> Self {
        Self { answer: Answer::Status { code, retry_after: None }, path: path.to_owned(), writes_only: false }
    }

    fn hits(&self, method: &Method, path: &str) -> bool {
        path.contains(&self.path) && !(self.writes_only && method.is_safe())
    }
}

/// An HTTP proxy on a loopback port. It ends when it is dropped.
#[derive(Debug)]
pub struct Filter {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    client: reqwest::Client,
    upstream: String,
    fault: watch::Sender<Option<Fault>>,
    requests: Mutex<Vec<String>>,
}

impl Filter {
    /// Passes requests on to `upstream`, by `client`, which trusts it.
    #[allow(clippy::disallowed_methods, reason = "only tests ask here")]
    pub async fn to(upstream: String, client: reqwest::Client) -> Result<Self, RigError> {
        let failed = || RigError::io("binding a proxy to", Path::new("127.0.0.1:0"));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed())?;
        let address = listener.local_addr().map_err(failed())?;
        let (fault, _) = watch::channel(None);
        let shared = Arc::new(Shared { client, upstream, fault, requests: Mutex::default() });
        let app = axum::Router::new().fallback(handle).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            // Ends with the task only.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, shared, serving })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers so from now on; `None` passes everything on.
    pub fn set(&self, fault: Option<Fault>) {
        self.shared.fault.send_replace(fault);
    }

    /// The requests so far, as `GET /path`.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{} {path}", parts.method));
    let fault = shared.fault.borrow().clone().filter(|fault| fault.hits(&parts.method, &path));
    let is_read = parts.method == Method::GET;
    let outcome = match fault.map(|fault| fault.answer) {
        Some(Answer::Status { code, retry_after }) => Ok(refusal(code, retry_after)),
        Some(Answer::StaleAt(version)) if is_read => shared.stale(&parts.uri, &parts.headers, &version).await,
        _ => match to_bytes(body, BODY_MAX_BYTES).await {
            Ok(body) => shared.forward(parts.method, &parts.uri, &parts.headers, body.to_vec()).await,
            Err(_) => Ok(refusal(413, None)),
        },
    };
    outcome.unwrap_or_else(|_unreachable| refusal(502, None))
}

impl Shared {
    async fn forward(
        self: Arc<Self>,
        method: Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Vec<u8>,
    ) -> reqwest::Result<Response> {
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut headers = headers.clone();
        for hop in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            headers.remove(hop);
        }
        let request = self.client.request(method.clone(), format!("{}{target}", self.upstream));
        let answer = request.headers(headers).body(body).send().await?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        headers.remove(header::CONNECTION);
        headers.remove(header::TRANSFER_ENCODING);
        let watched = uri.query().is_some_and(|query| query.contains("watch=true"));
        let path = watched.then(|| uri.path().to_owned());
        let pieces = stream::unfold((answer, self, path), |(mut answer, shared, path)| async move {
            let piece = answer.chunk().await.transpose()?;
            if let Some(path) = &path {
                shared.not_stale(path).await;
            }
            Some((piece, (answer, shared, path)))
        });
        let mut response = Response::new(Body::from_stream(pieces));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// What is watched comes through once nobody is to be kept in the past any more.
    async fn not_stale(&self, path: &str) {
        let current = |fault: &Option<Fault>| {
            !fault.as_ref().is_some_and(|fault| {
                matches!(fault.answer, Answer::StaleAt(_)) && fault.hits(&Method::GET, path)
            })
        };
        // Fails when the filter is gone, and the connection with it.
        let _ = self.fault.subscribe().wait_for(current).await;
    }

    /// A read as of `version`. The server keeps the past of lists only, so one object is the list of one.
    async fn stale(
        self: Arc<Self>,
        uri: &Uri,
        headers: &HeaderMap,
        version: &str,
    ) -> reqwest::Result<Response> {
        if uri.query().is_some_and(|query| query.contains("watch=true")) {
            let (method, uri) = (Method::GET, uri.clone());
            self.not_stale(uri.path()).await;
            return self.forward(method, &uri, headers, Vec::new()).await;
        }
        let segments: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        // apis / group / version / kinds / name
        let (list, name) = match segments[..] {
            [.., kinds, name] if segments.len() == 5 => {
                (format!("/{}/{kinds}", segments[..3].join("/")), Some(name))
            }
            _ => (uri.path().to_owned(), None),
        };
        let url = format!("{}{list}?resourceVersion={version}&resourceVersionMatch=Exact", self.upstream);
        let mut request = self.client.get(url).header(header::ACCEPT, "application/json");
        if let Some(account) = headers.get(header::AUTHORIZATION) {
            request = request.header(header::AUTHORIZATION, account);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let mut found: Value = answer.json().await?;
        let Some(name) = name.filter(|_| status.is_success()) else { return Ok(as_json(status, &found)) };
        let kind = found["kind"].as_str().unwrap_or_default().trim_end_matches("List").to_owned();
        let version = found["apiVersion"].take();
        let items = found["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(match items.into_iter().find(|item| item["metadata"]["name"] == name) {
            Some(mut item) => {
                item["kind"] = json!(kind);
                item["apiVersion"] = version;
                as_json(status, &item)
            }
            None => refusal(404, None),
        })
    }
}

/// As both the API server and the search engine would say it.
fn refusal(code: u16, retry_after: Option<u32>) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code,
        "message": format!("{reason}, said the proxy"), "type": "internal", "link": "",
    });
    let mut response = as_json(status, &body);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn as_json(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// Without a limit on the whole request: a watch lasts for minutes.
pub(super) fn client(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, RigError> {
    crate::endpoints::install_crypto();
    Ok(builder.connect_timeout(Duration::from_secs(5)).build()?)
}

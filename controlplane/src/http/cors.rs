//! Which pages of other origins may call a tenant: those of `spec.cors` of the tenant that the host names, or `X-Tenant`.
//!
//! A preflight has no token, so the tenant is found by name only. That is no secret let out: what is answered is in the
//! tenant's own manifest, and nothing is served without a token. Tokens are sent by scripts and never by browsers of their own
//! accord, so credentials are not allowed.

use std::sync::LazyLock;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    auth::named_tenant,
    describe::ANSWER_HEADERS,
    error::ApiError,
    registry::{Cors, Snapshot},
};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");

/// Headers that scripts may read beside those that every script may: all that the API describes.
static EXPOSED: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let names: Vec<_> = ANSWER_HEADERS.iter().map(|(name, _)| *name).collect();
    HeaderValue::try_from(names.join(", ")).ok()
});

/// What a request with an `Origin` is answered with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    origin: HeaderValue,
}

/// Whether pages of the request's origin may call its tenant; nothing when they may not, and for requests of no page.
pub(super) fn allowed(snapshot: &Snapshot, request: &Request) -> Option<Allowed> {
    let origin = request.headers().get(header::ORIGIN)?;
    let tenant = named_tenant(snapshot, request.headers(), request.uri())?;
    origin_of(&tenant.cors, origin).map(|origin| Allowed { origin })
}

/// Whole origins are compared, letter by letter: parts of one would let `https://example.com.evil.org` in.
fn origin_of(cors: &Cors, origin: &HeaderValue) -> Option<HeaderValue> {
    let listed = |listed: &str| cors.allowed_origins.iter().any(|allowed| allowed == listed);
    if listed("*") {
        return Some(HeaderValue::from_static("*"));
    }
    // What a page without an origin sends: a sandboxed frame, a file. Anybody can make one.
    origin.to_str().ok().filter(|text| *text != "null" && listed(text)).map(|_| origin.clone())
}

/// Whether the browser asks before it sends the request itself.
pub(super) fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight.
pub(super) fn preflight(allowed: Option<Allowed>, asked: &HeaderMap) -> Response {
    let Some(allowed) = allowed else {
        return ApiError::forbidden("pages of this origin may not call this tenant")
            .hint(
                "list the origin in spec.cors.allowedOrigins of the Tenant, and call it by one of its hosts",
            )
            .into_response();
    };
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        // Which headers a request has is no matter of trust here, so what is asked for is allowed.
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    allowed.mark(headers);
    response
}

impl Allowed {
    /// Lets the page read the answer.
    pub(super) fn mark(self, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin);
        headers.extend(EXPOSED.clone().map(|names| (header::ACCESS_CONTROL_EXPOSE_HEADERS, names)));
        headers.append(header::VARY, HeaderValue::from_name(HeaderName::from_static("origin")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lets(listed: &[&str], origin: &str) -> Option<String> {
        let cors = Cors { allowed_origins: listed.iter().map(|origin| (*origin).to_owned()).collect() };
        origin_of(&cors, &origin.parse().unwrap()).map(|origin| origin.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_origin_is_let_in_as_a_whole_or_not_at_all() {
        let listed = ["https://app.example.com", "http://localhost:3000"];
        assert_eq!(lets(&listed, "https://app.example.com").as_deref(), Some("https://app.example.com"));
        for other in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.org",
            "https://evilapp.example.com",
            "https://example.com",
            "HTTPS://APP.EXAMPLE.COM",
            "null",
            "",
        ] {
            assert_eq!(lets(&listed, other), None, "{other}");
        }
        assert_eq!(lets(&["*"], "https://anything.example").as_deref(), Some("*"));
        assert_eq!(lets(&["null"], "null"), None);
        assert_eq!(lets(&[], "https://app.example.com"), None);
    }
}

//! The one error at the HTTP edge: RFC 9457 problem documents with stable codes.
//!
//! A module keeps its own typed errors; at the edge they become an [`ApiError`] by `From`. A cause is logged when the
//! answer is made and never shown.

mod code;

use std::{error::Error as StdError, sync::Arc};

use axum::{
    extract::rejection::{JsonRejection, PathRejection, QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

pub use code::{Code, Nuance};

/// One thing that is wrong with a body or a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where, as a JSON Pointer; the name of the parameter for a query.
    pub pointer: String,
    /// What.
    pub message: String,
}

/// An answer that is not a success.
#[derive(Debug, thiserror::Error)]
#[error("{}: {detail}", .code.as_str())]
pub struct ApiError {
    code: Code,
    detail: Box<str>,
    hint: Option<Box<str>>,
    errors: Vec<FieldError>,
    retry_after_seconds: Option<u64>,
    /// The code that clients of PostgREST know, where ours says less.
    known_as: Option<&'static str>,
    nuance: Option<Nuance>,
    /// The limit that is exceeded: its name, and how many requests a minute it allows.
    limit: Option<Box<(&'static str, u32)>>,
    #[source]
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl ApiError {
    /// A refusal; `detail` is for the caller to read and holds nothing that the caller may not know.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into().into(),
            hint: None,
            errors: Vec::new(),
            retry_after_seconds: None,
            known_as: None,
            nuance: None,
            limit: None,
            cause: None,
        }
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, detail)
    }

    /// 401.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, detail)
    }

    /// 403.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(Code::Forbidden, detail)
    }

    /// 404. Also for what exists and the caller may not know of: the answers are the same.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// 422, with everything that is wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(Code::ValidationFailed, "the document does not follow its type") }
    }

    /// 500. The cause goes to the log.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Code::Internal, "something went wrong on our side").caused_by(cause)
    }

    /// 503: `what` does not answer, and a retry may work.
    pub fn unavailable(what: &str) -> Self {
        Self::new(Code::Unavailable, format!("{what} does not answer; try again")).retry_after(1)
    }

    /// 429: the limit called `name` allows `per_minute` requests, and the next one in so many seconds.
    pub fn rate_limited(
        detail: impl Into<String>,
        name: &'static str,
        per_minute: u32,
        seconds: u64,
    ) -> Self {
        let refusal = Self::new(Code::RateLimited, detail).retry_after(seconds);
        Self { limit: Some(Box::new((name, per_minute))), ..refusal }
    }

    /// What the caller could do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into().into());
        self
    }

    /// When to come back.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The single things that are wrong.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// The same, of a part of the request: what `at` points to.
    #[must_use]
    pub fn within(mut self, at: &str) -> Self {
        for error in &mut self.errors {
            error.pointer.insert_str(0, at);
        }
        if self.errors.is_empty() {
            self.errors.push(FieldError { pointer: at.to_owned(), message: self.detail.to_string() });
        }
        self
    }

    /// Why, for the log only.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The code by which clients of PostgREST know this error.
    #[must_use]
    pub fn known_as(mut self, code: &'static str) -> Self {
        self.known_as = Some(code);
        self
    }

    /// The code.
    #[cfg(test)]
    pub fn code(&self) -> Code {
        self.code
    }

    /// Which of the cases it is that the code stands for.
    #[must_use]
    pub fn nuance(mut self, nuance: Nuance) -> Self {
        self.nuance = Some(nuance);
        self
    }

    /// What it tells, for whoever writes it in another form.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            code: self.code,
            nuance: self.nuance,
            known_as: self.known_as,
            detail: &self.detail,
            details: self.details(),
            hint: self.hint.as_deref(),
        }
    }

    fn details(&self) -> Option<String> {
        let lines: Vec<_> = self
            .errors
            .iter()
            .map(|e| match e.pointer.as_str() {
                "" => e.message.clone(),
                pointer => format!("{pointer}: {}", e.message),
            })
            .collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

/// What an error tells.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The code.
    pub code: Code,
    /// Which of its cases.
    pub nuance: Option<Nuance>,
    /// The code that clients of PostgREST know, where ours says less.
    pub known_as: Option<&'static str>,
    /// What is wrong.
    pub detail: &'a str,
    /// The single things that are wrong.
    pub details: Option<String>,
    /// What the caller could do about it.
    pub hint: Option<&'a str>,
}

/// The error that an answer was made of, in its extensions: the edge writes it again for clients of other dialects.
#[derive(Debug, Clone)]
pub struct MadeOf(pub Arc<ApiError>);

/// The body of a problem document. `message`, `details` and `hint` are what PostgREST's clients read.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    message: &'a str,
    details: Option<String>,
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.code.status();
        if let Some(cause) = &self.cause {
            let chain = Chain(cause.as_ref());
            if status == StatusCode::INTERNAL_SERVER_ERROR {
                tracing::error!(code = self.code.as_str(), cause = %chain, "request failed");
            } else {
                tracing::warn!(code = self.code.as_str(), cause = %chain, "request refused");
            }
        }
        let problem = Problem {
            kind: "about:blank",
            title: self.code.title(),
            status: status.as_u16(),
            detail: &self.detail,
            code: self.code.as_str(),
            message: &self.detail,
            details: self.details(),
            hint: self.hint.as_deref(),
            errors: &self.errors,
        };
        // A struct of texts cannot fail to serialize; an empty body would still carry the status.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json; charset=utf-8"),
        );
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let (Some(limit), Some(seconds)) = (&self.limit, self.retry_after_seconds) {
            let (name, per_minute) = **limit;
            // Numbers and a word of ours: both can stand in a header.
            for (header, value) in [
                ("ratelimit-policy", format!("\"{name}\";q={per_minute};w=60")),
                ("ratelimit", format!("\"{name}\";r=0;t={seconds}")),
            ] {
                if let Ok(value) = HeaderValue::try_from(value) {
                    headers.insert(header, value);
                }
            }
        }
        if self.code == Code::Unauthenticated {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"tenantry\", error=\"invalid_token\""),
            );
        }
        response.extensions_mut().insert(MadeOf(Arc::new(self)));
        response
    }
}

/// An error with its causes, on one line.
pub struct Chain<'a>(pub &'a (dyn StdError + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::MissingJsonContentType(_) => {
                Self::new(Code::UnsupportedMediaType, "send the body as application/json")
            }
            other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(Code::PayloadTooLarge, "the body is too large")
            }
            other if other.status() == StatusCode::UNPROCESSABLE_ENTITY => {
                Self::new(Code::ValidationFailed, other.body_text())
            }
            other => Self::bad_request(other.body_text()).nuance(Nuance::Body),
        }
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        // A path that no thing can have names no thing.
        Self::not_found("there is no such thing").caused_by(rejection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body_of(response: Response) -> serde_json::Value {
        let bytes = axum::body::to_bytes(response.into_body(), 64 * 1024).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn a_fault_of_ours_shows_its_code_and_not_its_cause() {
        let response = ApiError::internal("password=hunter2").into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json; charset=utf-8");
        let body = body_of(response).await;
        assert_eq!(body["code"], "internal");
        assert!(!body.to_string().contains("hunter2"), "{body}");
    }

    #[tokio::test]
    async fn every_wrong_field_is_listed() {
        let wrong = |pointer: &str| FieldError { pointer: pointer.into(), message: "is required".into() };
        let body = body_of(ApiError::invalid(vec![wrong("/name"), wrong("/email")]).into_response()).await;
        assert_eq!(body["status"], 422);
        assert_eq!(body["errors"][1]["pointer"], "/email");
        assert_eq!(body["details"], "/name: is required; /email: is required");
    }
}

//! The one error at the HTTP edge: RFC 9457 problem documents with stable codes.
//!
//! A module keeps its own typed errors; at the edge they become an [`ApiError`] by `From`. A cause is logged when the
//! answer is made and never shown.

use std::error::Error as StdError;

use axum::{
    extract::rejection::{JsonRejection, PathRejection, QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// What went wrong, as programs read it. Codes are part of the API: they never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request cannot be read.
    BadRequest,
    /// No token, or one that is not accepted.
    Unauthenticated,
    /// E-mail address and password do not belong together.
    InvalidCredentials,
    /// Too many attempts failed; there is a time to wait.
    TooManyAttempts,
    /// The user has a second factor, and no code of it was sent.
    SecondFactorRequired,
    /// The code is not the one of the second factor, or was used before.
    InvalidSecondFactor,
    /// The e-mail address has to be verified first.
    EmailNotConfirmed,
    /// A refresh token was used twice; its session has ended.
    TokenReused,
    /// The token's time is over.
    TokenExpired,
    /// The session has ended.
    SessionRevoked,
    /// The password is not one that the tenant takes.
    WeakPassword,
    /// Nobody may make an account here.
    SignupDisabled,
    /// There is an account with this e-mail address.
    UserAlreadyExists,
    /// The caller may not do this.
    Forbidden,
    /// The token is for another tenant than the request.
    TenantMismatch,
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// The route does not have this method.
    MethodNotAllowed,
    /// The state of the thing does not allow this.
    Conflict,
    /// Another document has this value already.
    Duplicate,
    /// Other documents refer to this one, or this one refers to none.
    ReferenceConflict,
    /// A request with the same Idempotency-Key is still on its way.
    IdempotencyRunning,
    /// The Idempotency-Key was used for something else.
    IdempotencyMismatch,
    /// The lease of a job ran out or was settled already.
    StaleLease,
    /// The document changed since the version in `If-Match`.
    PreconditionFailed,
    /// The answer cannot be given in the kind that `Accept` asks for.
    NotAcceptable,
    /// The range begins beyond the end, or ends before it begins.
    RangeNotSatisfiable,
    /// The body is too large.
    PayloadTooLarge,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// Fields of the body do not hold.
    ValidationFailed,
    /// The queue has as many jobs as it may have.
    QueueFull,
    /// More requests than the limit allows.
    RateLimited,
    /// The query is too long.
    UriTooLong,
    /// A fault of ours; the log has the cause under the request's id.
    Internal,
    /// A backend does not answer.
    Unavailable,
    /// A write was being committed when its connection broke: it may or may not have happened.
    OutcomeUnknown,
    /// The tenant is suspended.
    TenantSuspended,
    /// The tenant is still being provisioned.
    TenantNotReady,
    /// The request took too long.
    Timeout,
}

impl Code {
    /// The code as it stands in a problem document.
    pub const fn as_str(self) -> &'static str {
        self.parts().0
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        self.parts().1
    }

    const fn title(self) -> &'static str {
        self.parts().2
    }

    const fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::BadRequest => ("bad_request", StatusCode::BAD_REQUEST, "Bad request"),
            Self::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED, "Not authenticated"),
            Self::InvalidCredentials => {
                ("invalid_credentials", StatusCode::UNAUTHORIZED, "Invalid credentials")
            }
            Self::TooManyAttempts => {
                ("too_many_attempts", StatusCode::TOO_MANY_REQUESTS, "Too many attempts")
            }
            Self::SecondFactorRequired => {
                ("second_factor_required", StatusCode::UNAUTHORIZED, "Second factor required")
            }
            Self::InvalidSecondFactor => {
                ("invalid_second_factor", StatusCode::UNAUTHORIZED, "Invalid second factor")
            }
            Self::EmailNotConfirmed => {
                ("email_not_confirmed", StatusCode::FORBIDDEN, "E-mail address not verified")
            }
            Self::TokenReused => ("token_reused", StatusCode::UNAUTHORIZED, "Refresh token used twice"),
            Self::TokenExpired => ("token_expired", StatusCode::UNAUTHORIZED, "Token expired"),
            Self::SessionRevoked => ("session_revoked", StatusCode::UNAUTHORIZED, "Session ended"),
            Self::WeakPassword => ("weak_password", StatusCode::UNPROCESSABLE_ENTITY, "Weak password"),
            Self::SignupDisabled => ("signup_disabled", StatusCode::FORBIDDEN, "Sign-up not allowed"),
            Self::UserAlreadyExists => {
                ("user_already_exists", StatusCode::UNPROCESSABLE_ENTITY, "User exists already")
            }
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "Forbidden"),
            Self::TenantMismatch => ("tenant_mismatch", StatusCode::FORBIDDEN, "Token of another tenant"),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, "Not found"),
            Self::MethodNotAllowed => {
                ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
            }
            Self::Conflict => ("conflict", StatusCode::CONFLICT, "Conflict"),
            Self::Duplicate => ("duplicate", StatusCode::CONFLICT, "Value already taken"),
            Self::ReferenceConflict => ("reference_conflict", StatusCode::CONFLICT, "Reference conflict"),
            Self::IdempotencyRunning => ("idempotency_running", StatusCode::CONFLICT, "Request on its way"),
            Self::IdempotencyMismatch => {
                ("idempotency_mismatch", StatusCode::UNPROCESSABLE_ENTITY, "Key used for another request")
            }
            Self::StaleLease => ("stale_lease", StatusCode::CONFLICT, "Lease no longer held"),
            Self::PreconditionFailed => {
                ("precondition_failed", StatusCode::PRECONDITION_FAILED, "Document has changed")
            }
            Self::NotAcceptable => ("not_acceptable", StatusCode::NOT_ACCEPTABLE, "Not acceptable"),
            Self::RangeNotSatisfiable => {
                ("range_not_satisfiable", StatusCode::RANGE_NOT_SATISFIABLE, "Range not satisfiable")
            }
            Self::PayloadTooLarge => {
                ("payload_too_large", StatusCode::PAYLOAD_TOO_LARGE, "Payload too large")
            }
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type")
            }
            Self::ValidationFailed => {
                ("validation_failed", StatusCode::UNPROCESSABLE_ENTITY, "Validation failed")
            }
            Self::QueueFull => ("queue_full", StatusCode::TOO_MANY_REQUESTS, "Queue full"),
            Self::RateLimited => ("rate_limited", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Self::UriTooLong => ("uri_too_long", StatusCode::URI_TOO_LONG, "Query too long"),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
            Self::OutcomeUnknown => ("outcome_unknown", StatusCode::SERVICE_UNAVAILABLE, "Outcome unknown"),
            Self::TenantSuspended => {
                ("tenant_suspended", StatusCode::SERVICE_UNAVAILABLE, "Tenant suspended")
            }
            Self::TenantNotReady => ("tenant_not_ready", StatusCode::SERVICE_UNAVAILABLE, "Tenant not ready"),
            Self::Timeout => ("timeout", StatusCode::GATEWAY_TIMEOUT, "Timed out"),
        }
    }
}

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
    pub fn code(&self) -> Code {
        self.code
    }

    /// What is wrong, as clients of PostgREST read it.
    pub fn for_postgrest(&self, code: &str) -> serde_json::Value {
        serde_json::json!({
            "code": self.known_as.unwrap_or(code),
            "message": self.detail,
            "details": self.details(),
            "hint": self.hint,
        })
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
            other => Self::bad_request(other.body_text()),
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

    /// Every code. A new one does not compile before it has a place here.
    fn codes() -> impl Iterator<Item = Code> {
        std::iter::successors(Some(Code::BadRequest), |code| {
            Some(match code {
                Code::BadRequest => Code::Unauthenticated,
                Code::Unauthenticated => Code::InvalidCredentials,
                Code::InvalidCredentials => Code::TooManyAttempts,
                Code::TooManyAttempts => Code::SecondFactorRequired,
                Code::SecondFactorRequired => Code::InvalidSecondFactor,
                Code::InvalidSecondFactor => Code::EmailNotConfirmed,
                Code::EmailNotConfirmed => Code::TokenReused,
                Code::TokenReused => Code::TokenExpired,
                Code::TokenExpired => Code::SessionRevoked,
                Code::SessionRevoked => Code::WeakPassword,
                Code::WeakPassword => Code::SignupDisabled,
                Code::SignupDisabled => Code::UserAlreadyExists,
                Code::UserAlreadyExists => Code::Forbidden,
                Code::Forbidden => Code::TenantMismatch,
                Code::TenantMismatch => Code::NotFound,
                Code::NotFound => Code::MethodNotAllowed,
                Code::MethodNotAllowed => Code::Conflict,
                Code::Conflict => Code::Duplicate,
                Code::Duplicate => Code::ReferenceConflict,
                Code::ReferenceConflict => Code::IdempotencyRunning,
                Code::IdempotencyRunning => Code::IdempotencyMismatch,
                Code::IdempotencyMismatch => Code::StaleLease,
                Code::StaleLease => Code::PreconditionFailed,
                Code::PreconditionFailed => Code::NotAcceptable,
                Code::NotAcceptable => Code::RangeNotSatisfiable,
                Code::RangeNotSatisfiable => Code::PayloadTooLarge,
                Code::PayloadTooLarge => Code::UnsupportedMediaType,
                Code::UnsupportedMediaType => Code::ValidationFailed,
                Code::ValidationFailed => Code::QueueFull,
                Code::QueueFull => Code::RateLimited,
                Code::RateLimited => Code::UriTooLong,
                Code::UriTooLong => Code::Internal,
                Code::Internal => Code::Unavailable,
                Code::Unavailable => Code::OutcomeUnknown,
                Code::OutcomeUnknown => Code::TenantSuspended,
                Code::TenantSuspended => Code::TenantNotReady,
                Code::TenantNotReady => Code::Timeout,
                Code::Timeout => return None,
            })
        })
    }

    #[test]
    fn the_page_has_every_code_with_its_status_and_title_and_no_other() {
        const PAGE: &str = include_str!("../../docs/reference/errors.md");
        let mut expected: Vec<String> = codes()
            .map(|code| format!("| {} | `{}` | {} |", code.status().as_u16(), code.as_str(), code.title()))
            .collect();
        expected.sort();
        let rows = PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| status"));
        let mut rows: Vec<String> =
            rows.map(|row| row.splitn(5, '|').take(4).collect::<Vec<_>>().join("|") + "|").collect();
        assert!(rows.is_sorted_by_key(|row| row.get(..5).map(str::to_owned)), "in the order of their status");
        rows.sort();
        assert_eq!(rows, expected);
    }
}

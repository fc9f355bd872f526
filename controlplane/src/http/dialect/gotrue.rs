//! Refusals as GoTrue tells them: `{code, message}`, and for clients of before 2024 `error_code` and `msg` beside it.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::Told;
use crate::error::{Code, Facts, Nuance};

/// Clients read `code` of an error only under this version.
pub(super) const VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-supabase-api-version"), HeaderValue::from_static("2024-01-01"));

pub(super) fn told(facts: &Facts<'_>) -> Told {
    let (code, status) = translated(facts.code, facts.nuance);
    let mut body = json!({"code": code, "message": facts.detail, "error_code": code, "msg": facts.detail});
    let more = [("details", facts.details.as_deref()), ("hint", facts.hint)];
    for (name, text) in more.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        body[name] = Value::from(text);
    }
    if facts.code == Code::WeakPassword {
        // Python's client does not look whether it is there. What is wrong stands in `details`.
        body["weak_password"] = json!({"reasons": []});
    }
    Told { status, body, challenge: None }
}

/// The code and the status by which clients of GoTrue know a refusal; what it does not have keeps our name.
pub(super) fn translated(code: Code, nuance: Option<Nuance>) -> (&'static str, StatusCode) {
    const REFUSED: StatusCode = StatusCode::FORBIDDEN;
    const BAD: StatusCode = StatusCode::BAD_REQUEST;
    const UNFIT: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
    match (code, nuance) {
        (Code::BadRequest, Some(Nuance::Body)) => ("bad_json", BAD),
        (Code::BadRequest | Code::ValidationFailed, _) => ("validation_failed", BAD),
        (Code::Unauthenticated, Some(Nuance::NoCredentials | Nuance::Key)) => {
            ("no_authorization", StatusCode::UNAUTHORIZED)
        }
        (Code::Unauthenticated, Some(Nuance::SessionEnded)) => ("session_not_found", REFUSED),
        (Code::Unauthenticated, Some(Nuance::UserGone)) => ("user_not_found", REFUSED),
        (Code::Unauthenticated | Code::TenantMismatch, _) => ("bad_jwt", REFUSED),
        (Code::InvalidCredentials, _) => ("invalid_credentials", BAD),
        (Code::EmailNotConfirmed, _) => ("email_not_confirmed", BAD),
        (Code::SecondFactorRequired, _) => ("insufficient_aal", StatusCode::UNAUTHORIZED),
        (Code::InvalidSecondFactor, _) => ("mfa_verification_failed", UNFIT),
        (Code::SessionRevoked, _) => ("refresh_token_not_found", BAD),
        (Code::TokenReused, _) => ("refresh_token_already_used", BAD),
        (Code::TokenExpired, Some(Nuance::Refresh)) => ("session_expired", BAD),
        (Code::TokenExpired, _) => ("otp_expired", REFUSED),
        (Code::SignupDisabled, _) => ("signup_disabled", UNFIT),
        (Code::TooManyAttempts | Code::RateLimited, _) => {
            ("over_request_rate_limit", StatusCode::TOO_MANY_REQUESTS)
        }
        (Code::Duplicate, _) => ("conflict", StatusCode::CONFLICT),
        (Code::Timeout, _) => ("request_timeout", StatusCode::GATEWAY_TIMEOUT),
        (Code::Internal, _) => ("unexpected_failure", StatusCode::INTERNAL_SERVER_ERROR),
        (other, _) => (other.as_str(), other.status()),
    }
}

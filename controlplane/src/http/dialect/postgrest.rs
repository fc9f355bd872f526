//! Refusals as PostgREST tells them: `{code, message, details, hint}`.

use axum::http::{HeaderValue, StatusCode};
use serde_json::json;

use super::Told;
use crate::error::{Code, Facts, Nuance};

pub(super) fn told(facts: &Facts<'_>, function: bool) -> Told {
    let (code, status) = match (facts.code, facts.nuance) {
        (Code::NotFound, Some(Nuance::Route)) if function => ("PGRST202", StatusCode::NOT_FOUND),
        (code, nuance) => translated(code, nuance),
    };
    Told {
        status,
        body: json!({
            "code": facts.known_as.unwrap_or(code), "message": facts.detail, "details": facts.details,
            "hint": facts.hint,
        }),
        challenge: (status == StatusCode::UNAUTHORIZED).then(|| challenge(facts)),
    }
}

/// The code and the status by which clients of PostgREST know a refusal; what it does not have keeps our name.
pub(super) fn translated(code: Code, nuance: Option<Nuance>) -> (&'static str, StatusCode) {
    let (known, status) = match code {
        Code::BadRequest => ("PGRST100", None),
        Code::Unauthenticated => match nuance {
            Some(Nuance::NoCredentials) => ("PGRST302", None),
            Some(Nuance::Claims) => ("PGRST303", None),
            _ => ("PGRST301", None),
        },
        Code::Forbidden | Code::TenantMismatch => ("42501", None),
        Code::NotFound if nuance == Some(Nuance::Route) => ("PGRST125", None),
        Code::NotFound => ("PGRST205", None),
        Code::MethodNotAllowed => ("PGRST117", None),
        Code::ValidationFailed => ("23514", Some(StatusCode::BAD_REQUEST)),
        Code::Duplicate => ("23505", None),
        Code::ReferenceConflict => ("23503", None),
        Code::UnsupportedMediaType | Code::PayloadTooLarge => ("PGRST102", None),
        Code::UriTooLong => ("PGRST100", None),
        Code::NotAcceptable => ("PGRST107", None),
        Code::RangeNotSatisfiable => ("PGRST103", None),
        Code::Timeout => ("57014", None),
        Code::Unavailable => ("PGRST001", None),
        Code::TenantNotReady => ("PGRST002", None),
        Code::OutcomeUnknown => ("08007", None),
        Code::Internal => ("XX000", None),
        other => (other.as_str(), None),
    };
    (known, status.unwrap_or(code.status()))
}

fn challenge(facts: &Facts<'_>) -> HeaderValue {
    let bare = HeaderValue::from_static("Bearer");
    if facts.nuance == Some(Nuance::NoCredentials) {
        return bare;
    }
    let about = facts.detail.replace(['"', '\\'], "'");
    HeaderValue::try_from(format!("Bearer error=\"invalid_token\", error_description=\"{about}\""))
        .unwrap_or(bare)
}

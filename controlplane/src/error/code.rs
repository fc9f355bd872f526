//! The codes of refusals.

use axum::http::StatusCode;

/// Declares the codes: what each is for, its variant, its status, its text in a problem document, and the title.
macro_rules! codes {
    ($($(#[doc = $about:literal])+ $variant:ident = $status:ident, $code:literal, $title:literal;)+) => {
        /// What went wrong, as programs read it. Codes are part of the API: they never change their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $about])+ $variant,)+
        }

        impl Code {
            /// All of them, with what each is for.
            #[cfg(test)]
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$variant, concat!($($about),+))),+];

            const fn parts(self) -> (&'static str, StatusCode, &'static str) {
                match self {
                    $(Self::$variant => ($code, StatusCode::$status, $title),)+
                }
            }
        }
    };
}

codes! {
    /// The request cannot be read.
    BadRequest = BAD_REQUEST, "bad_request", "Bad request";
    /// No token, or one that is not accepted.
    Unauthenticated = UNAUTHORIZED, "unauthenticated", "Not authenticated";
    /// E-mail address and password do not belong together.
    InvalidCredentials = UNAUTHORIZED, "invalid_credentials", "Invalid credentials";
    /// Too many attempts failed; there is a time to wait.
    TooManyAttempts = TOO_MANY_REQUESTS, "too_many_attempts", "Too many attempts";
    /// The user has a second factor, and no code of it was sent.
    SecondFactorRequired = UNAUTHORIZED, "second_factor_required", "Second factor required";
    /// The code is not the one of the second factor, or was used before.
    InvalidSecondFactor = UNAUTHORIZED, "invalid_second_factor", "Invalid second factor";
    /// The e-mail address has to be verified first.
    EmailNotConfirmed = FORBIDDEN, "email_not_confirmed", "E-mail address not verified";
    /// A refresh token was used twice; its session has ended.
    TokenReused = UNAUTHORIZED, "token_reused", "Refresh token used twice";
    /// The token's time is over.
    TokenExpired = UNAUTHORIZED, "token_expired", "Token expired";
    /// The session has ended.
    SessionRevoked = UNAUTHORIZED, "session_revoked", "Session ended";
    /// The password is not one that the tenant takes.
    WeakPassword = UNPROCESSABLE_ENTITY, "weak_password", "Weak password";
    /// Nobody may make an account here.
    SignupDisabled = FORBIDDEN, "signup_disabled", "Sign-up not allowed";
    /// There is an account with this e-mail address.
    UserAlreadyExists = UNPROCESSABLE_ENTITY, "user_already_exists", "User exists already";
    /// The caller may not do this.
    Forbidden = FORBIDDEN, "forbidden", "Forbidden";
    /// The token is for another tenant than the request.
    TenantMismatch = FORBIDDEN, "tenant_mismatch", "Token of another tenant";
    /// There is no such thing, or the caller may not know of it.
    NotFound = NOT_FOUND, "not_found", "Not found";
    /// The route does not have this method.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed";
    /// The state of the thing does not allow this.
    Conflict = CONFLICT, "conflict", "Conflict";
    /// Another document has this value already.
    Duplicate = CONFLICT, "duplicate", "Value already taken";
    /// Other documents refer to this one, or this one refers to none.
    ReferenceConflict = CONFLICT, "reference_conflict", "Reference conflict";
    /// A request with the same Idempotency-Key is still on its way.
    IdempotencyRunning = CONFLICT, "idempotency_running", "Request on its way";
    /// The Idempotency-Key was used for something else.
    IdempotencyMismatch = UNPROCESSABLE_ENTITY, "idempotency_mismatch", "Key used for another request";
    /// The lease of a job ran out or was settled already.
    StaleLease = CONFLICT, "stale_lease", "Lease no longer held";
    /// The document changed since the version in `If-Match`.
    PreconditionFailed = PRECONDITION_FAILED, "precondition_failed", "Document has changed";
    /// The answer cannot be given in the kind that `Accept` asks for.
    NotAcceptable = NOT_ACCEPTABLE, "not_acceptable", "Not acceptable";
    /// The range begins beyond the end, or ends before it begins.
    RangeNotSatisfiable = RANGE_NOT_SATISFIABLE, "range_not_satisfiable", "Range not satisfiable";
    /// The body is too large.
    PayloadTooLarge = PAYLOAD_TOO_LARGE, "payload_too_large", "Payload too large";
    /// The body is not JSON.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Unsupported media type";
    /// Fields of the body do not hold.
    ValidationFailed = UNPROCESSABLE_ENTITY, "validation_failed", "Validation failed";
    /// The queue has as many jobs as it may have.
    QueueFull = TOO_MANY_REQUESTS, "queue_full", "Queue full";
    /// More requests than the limit allows.
    RateLimited = TOO_MANY_REQUESTS, "rate_limited", "Too many requests";
    /// The query is too long.
    UriTooLong = URI_TOO_LONG, "uri_too_long", "Query too long";
    /// A fault of ours; the log has the cause under the request's id.
    Internal = INTERNAL_SERVER_ERROR, "internal", "Internal error";
    /// A backend does not answer.
    Unavailable = SERVICE_UNAVAILABLE, "unavailable", "Unavailable";
    /// A write was being committed when its connection broke: it may or may not have happened.
    OutcomeUnknown = SERVICE_UNAVAILABLE, "outcome_unknown", "Outcome unknown";
    /// The tenant is suspended.
    TenantSuspended = SERVICE_UNAVAILABLE, "tenant_suspended", "Tenant suspended";
    /// The tenant is still being provisioned.
    TenantNotReady = SERVICE_UNAVAILABLE, "tenant_not_ready", "Tenant not ready";
    /// The request took too long.
    Timeout = GATEWAY_TIMEOUT, "timeout", "Timed out";
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

    pub(super) const fn title(self) -> &'static str {
        self.parts().2
    }
}

/// What a code leaves open, and clients of other dialects tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nuance {
    /// No credentials were sent.
    NoCredentials,
    /// It is the API key that is not accepted.
    Key,
    /// The token is ours, and its time or another claim does not hold.
    Claims,
    /// The token's session has ended.
    SessionEnded,
    /// The token's user is gone or was disabled.
    UserGone,
    /// It is a refresh token that is meant.
    Refresh,
    /// The body is not JSON.
    Body,
    /// There is no such route.
    Route,
}

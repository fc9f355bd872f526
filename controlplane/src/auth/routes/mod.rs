//! The routes of sign-in.
//!
//! - [`tokens`]: sign in, go on, exchange; sign up, verify, reset
//! - [`me`]: what users do with their own account
//! - [`keys`]: API keys
//! - [`gotrue`]: the same under `/auth/v1`, as Supabase's clients call it
//! - [`published`]: keys of tokens, and the answer to gateways

mod gotrue;
mod input;
mod keys;
mod me;
mod published;
mod tokens;

use axum::Router;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Scope, accounts::Signed};
use crate::{
    describe::{Access, Parameter, Route, Shape},
    error::ApiError,
    state::AppState,
};

/// Routes that stand inside of the tenant's layers.
pub fn router() -> Router<AppState> {
    me::router().merge(keys::router()).merge(gotrue::router())
}

/// Routes of those who have no token yet, or are no users.
pub fn public_router() -> Router<AppState> {
    tokens::router().merge(gotrue::public_router()).merge(published::router())
}

/// What a sign-in is answered with.
fn signed(signed: &Signed) -> Value {
    json!({
        "access_token": signed.access,
        "token_type": "Bearer",
        "expires_in": signed.lifetime.as_secs(),
        "refresh_token": signed.refresh,
        "roles_withheld": signed.withheld,
        "user": signed.user.shown(),
    })
}

/// The user of the tenant's own who calls, and the session.
fn session(scope: &Scope) -> Result<(Uuid, Uuid), ApiError> {
    match (scope.proof.user, scope.proof.session) {
        (Some(user), Some(session)) => Ok((user, session)),
        _ => Err(ApiError::forbidden("this is for users who signed in here; sign in for it")),
    }
}

/// Lets administrators through.
fn admin(scope: &Scope) -> Result<(), ApiError> {
    if scope.caller.admin { Ok(()) } else { Err(ApiError::forbidden("this is for administrators")) }
}

const TOKEN: &str = r##"{"oneOf": [
    {"type": "object", "required": ["grant_type", "email", "password"], "properties": {
        "grant_type": {"const": "password"}, "email": {"type": "string"}, "password": {"type": "string"},
        "totp": {"type": "string", "description": "the code of a second factor, or a recovery code"}}},
    {"type": "object", "required": ["grant_type", "refresh_token"], "properties": {
        "grant_type": {"const": "refresh_token"}, "refresh_token": {"type": "string"}}},
    {"type": "object", "required": ["grant_type", "subject_token", "audience"], "properties": {
        "grant_type": {"const": "urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {"type": "string"},
        "audience": {"type": "string"}, "expires_in": {"type": "integer", "minimum": 60, "maximum": 300}}}]}"##;
const SIGNED: Shape = Shape::Schema(
    r#"{"type": "object", "properties": {"access_token": {"type": "string"}, "token_type": {"type": "string"},
    "expires_in": {"type": "integer"}, "refresh_token": {"type": "string"},
    "roles_withheld": {"type": "array", "items": {"type": "string"}}, "user": {"type": "object"}}}"#,
);
const USER: Shape = Shape::Schema(r#"{"type": "object"}"#);
const ITEMS: Shape = Shape::Schema(
    r#"{"type": "object", "properties": {"items": {"type": "array", "items": {"type": "object"}}}}"#,
);
const CODE: Shape =
    Shape::Schema(r#"{"type": "object", "required": ["totp"], "properties": {"totp": {"type": "string"}}}"#);
/// What `/auth/v1` answers, which is described where Supabase's clients are.
const AS_SUPABASE: Shape = Shape::Schema(r#"{"type": "object"}"#);

/// How these routes are described.
pub const ROUTES: &[Route] = &[
    Route::post("/api/v1/auth/token", "signIn", "Sign in, go on with a session, or exchange a token")
        .tagged("auth")
        .access(Access::Public)
        .body(Shape::Schema(TOKEN), r#"{"grant_type": "password", "email": "ann@acme.example", "password": "secret"}"#)
        .answers(200, SIGNED),
    Route::post("/api/v1/auth/signup", "signUp", "Make an account, where the tenant allows it")
        .tagged("auth")
        .access(Access::Public)
        .body(
            Shape::Schema(
                r#"{"type": "object", "required": ["email", "password"], "properties": {"email": {"type": "string"},
                "password": {"type": "string"}, "display_name": {"type": "string"}, "metadata": {"type": "object"},
                "redirect_to": {"type": "string"}}}"#,
            ),
            r#"{"email": "ann@acme.example", "password": "secret"}"#,
        )
        .answers(201, SIGNED),
    Route::post("/api/v1/auth/recover", "recoverAccount", "Have a token to set a new password sent by e-mail")
        .tagged("auth")
        .access(Access::Public)
        .body(
            Shape::Schema(
                r#"{"type": "object", "required": ["email"],
                "properties": {"email": {"type": "string"}, "redirect_to": {"type": "string"}}}"#,
            ),
            r#"{"email": "ann@acme.example"}"#,
        )
        .answers(202, Shape::Empty),
    Route::post("/api/v1/auth/verify", "verifyEmail", "Verify an e-mail address by the token that was sent to it")
        .tagged("auth")
        .access(Access::Public)
        .body(
            Shape::Schema(r#"{"type": "object", "required": ["token"], "properties": {"token": {"type": "string"},
                "totp": {"type": "string"}}}"#),
            r#"{"token": "tno_"}"#,
        )
        .answers(200, SIGNED),
    Route::post("/api/v1/auth/reset", "setPassword", "Set a password by the token of a recovery or an invitation")
        .tagged("auth")
        .access(Access::Public)
        .body(
            Shape::Schema(
                r#"{"type": "object", "required": ["token", "password"],
                "properties": {"token": {"type": "string"}, "password": {"type": "string"}, "totp": {"type": "string"}}}"#,
            ),
            r#"{"token": "tno_", "password": "secret"}"#,
        )
        .answers(200, SIGNED),
    Route::get("/api/v1/auth/user", "whoAmI", "Who calls").tagged("auth").answers(200, USER),
    Route::patch("/api/v1/auth/user", "changeMe", "Change the own account")
        .tagged("auth")
        .body(
            Shape::Schema(
                r#"{"type": "object", "properties": {"current_password": {"type": "string"},
                "password": {"type": "string"}, "email": {"type": "string"}, "display_name": {"type": "string"},
                "metadata": {"type": "object"}, "totp": {"type": "string"}, "redirect_to": {"type": "string"}}}"#,
            ),
            r#"{"display_name": "Ann"}"#,
        )
        .answers(200, USER),
    Route::post("/api/v1/auth/logout", "signOut", "End this session, the others, or all")
        .tagged("auth")
        .body(
            Shape::Schema(
                r#"{"type": "object", "properties": {"scope": {"enum": ["local", "others", "global"], "default": "local"}}}"#,
            ),
            r#"{"scope": "local"}"#,
        )
        .answers(204, Shape::Empty),
    Route::get("/api/v1/auth/sessions", "listSessions", "The own sessions").tagged("auth").answers(200, ITEMS),
    Route::delete("/api/v1/auth/sessions/{id}", "endSession", "End one of the own sessions")
        .tagged("auth")
        .answers(204, Shape::Empty),
    Route::get("/api/v1/auth/totp", "readTotp", "Whether there is a second factor").tagged("auth").answers(200, USER),
    Route::post("/api/v1/auth/totp", "enrolTotp", "A new authenticator")
        .tagged("auth")
        .body(
            Shape::Schema(r#"{"type": "object", "properties": {"current_password": {"type": "string"}}}"#),
            r#"{"current_password": "secret"}"#,
        )
        .answers(201, USER),
    Route::delete("/api/v1/auth/totp", "removeTotp", "Take the own authenticator away")
        .tagged("auth")
        .body(CODE, r#"{"totp": "123456"}"#)
        .answers(204, Shape::Empty),
    Route::post("/api/v1/auth/totp/confirm", "confirmTotp", "Confirm a new authenticator with a first code")
        .tagged("auth")
        .body(CODE, r#"{"totp": "123456"}"#)
        .answers(200, SIGNED),
    Route::post("/api/v1/auth/totp/verify", "verifyTotp", "Give this session its second factor")
        .tagged("auth")
        .body(CODE, r#"{"totp": "123456"}"#)
        .answers(200, SIGNED),
    Route::post("/api/v1/auth/invite", "inviteUser", "Invite somebody by e-mail")
        .tagged("auth")
        .access(Access::Admin)
        .body(
            Shape::Schema(
                r#"{"type": "object", "required": ["email"], "properties": {"email": {"type": "string"},
                "display_name": {"type": "string"}, "roles": {"type": "array", "items": {"type": "string"}},
                "redirect_to": {"type": "string"}}}"#,
            ),
            r#"{"email": "guest@acme.example", "roles": []}"#,
        )
        .answers(201, USER),
    Route::get("/api/v1/auth/webhook", "readMailWebhook", "Where e-mails are handed over, and the secret that signs them")
        .tagged("auth")
        .access(Access::Admin)
        .answers(
            200,
            Shape::Schema(
                r#"{"type": "object", "properties": {"url": {"type": "string"}, "secret": {"type": "string"}}}"#,
            ),
        ),
    Route::delete("/api/v1/auth/users/{id}/sessions", "endSessionsOf", "End all sessions of a user")
        .tagged("auth")
        .access(Access::Admin)
        .answers(204, Shape::Empty),
    Route::delete("/api/v1/auth/users/{id}/totp", "removeTotpOf", "Take the authenticator of a user away")
        .tagged("auth")
        .access(Access::Admin)
        .answers(204, Shape::Empty),
    Route::get("/api/v1/auth/keys", "listKeys", "The own API keys; for administrators, all")
        .tagged("auth")
        .answers(200, ITEMS),
    Route::post("/api/v1/auth/keys", "makeKey", "Make an API key, which is shown this once")
        .tagged("auth")
        .body(
            Shape::Schema(
                r#"{"type": "object", "required": ["name"], "properties": {"name": {"type": "string"},
                "roles": {"type": "array", "items": {"type": "string"}}, "expires_at": {"type": "string", "format": "date-time"},
                "acts_as": {"type": "string", "format": "uuid"}, "read_only": {"type": "boolean"},
                "addresses": {"type": "array", "items": {"type": "string"}}}}"#,
            ),
            r#"{"name": "robot", "roles": []}"#,
        )
        .answers(201, USER),
    Route::delete("/api/v1/auth/keys/{id}", "removeKey", "Take an API key away")
        .tagged("auth")
        .answers(204, Shape::Empty),
    Route::get("/api/v1/auth/forward", "forwardAuth", "For gateways: whether a request may pass, and who makes it")
        .tagged("auth")
        .access(Access::Public)
        .answers(200, Shape::Empty),
    Route::get("/.well-known/jwks.json", "readKeys", "The keys that tokens are checked with")
        .tagged("auth")
        .access(Access::Public)
        .answers(200, AS_SUPABASE),
    supabase("get", "/auth/v1/.well-known/jwks.json", "gotrueKeys", "The same for Supabase's clients", Access::Public),
    supabase("post", "/auth/v1/token", "gotrueToken", "Sign in or go on, as Supabase's clients do", Access::Public)
        .takes(&[Parameter::query("grant_type", "password or refresh_token")])
        .body(
            Shape::Schema(
                r#"{"type": "object", "properties": {"email": {"type": "string"}, "password": {"type": "string"},
                "refresh_token": {"type": "string"}, "totp": {"type": "string"}}}"#,
            ),
            "{}",
        ),
    supabase("post", "/auth/v1/signup", "gotrueSignUp", "Make an account, likewise", Access::Public)
        .takes(&[REDIRECT_TO])
        .body(
            Shape::Schema(
                r#"{"type": "object", "properties": {"email": {"type": "string"}, "password": {"type": "string"},
                "data": {"type": "object"}}}"#,
            ),
            "{}",
        ),
    supabase("post", "/auth/v1/recover", "gotrueRecover", "Recover an account, likewise", Access::Public)
        .takes(&[REDIRECT_TO])
        .body(EMAIL, "{}"),
    supabase("post", "/auth/v1/resend", "gotrueResend", "Have a verification sent again, likewise", Access::Public)
        .takes(&[REDIRECT_TO])
        .body(EMAIL, "{}"),
    supabase("post", "/auth/v1/verify", "gotrueVerify", "Redeem a token of an e-mail, likewise", Access::Public).body(
        Shape::Schema(
            r#"{"type": "object", "properties": {"type": {"enum": ["signup", "email", "recovery", "invite", "email_change"]},
            "token": {"type": "string"}, "token_hash": {"type": "string"}, "totp": {"type": "string"}}}"#,
        ),
        "{}",
    ),
    supabase("get", "/auth/v1/settings", "gotrueSettings", "What the tenant allows, likewise", Access::Public),
    supabase("get", "/auth/v1/health", "gotrueHealth", "What answers here", Access::Public),
    supabase("get", "/auth/v1/user", "gotrueUser", "Who calls, likewise", Access::User),
    supabase("put", "/auth/v1/user", "gotrueChange", "Change the own account, likewise", Access::User)
        .takes(&[REDIRECT_TO])
        .body(
            Shape::Schema(
                r#"{"type": "object", "properties": {"email": {"type": "string"}, "password": {"type": "string"},
                "current_password": {"type": "string"}, "totp": {"type": "string"}, "data": {"type": "object"}}}"#,
            ),
            "{}",
        ),
    Route::post("/auth/v1/logout", "gotrueLogout", "End sessions, likewise")
        .tagged("auth")
        .takes(&[Parameter::query("scope", "local, others or global, which it is unless given")])
        .answers(204, Shape::Empty),
];

const REDIRECT_TO: Parameter = Parameter::query("redirect_to", "where the e-mail leads back to");
const EMAIL: Shape = Shape::Schema(r#"{"type": "object", "properties": {"email": {"type": "string"}}}"#);

const fn supabase(
    method: &'static str,
    path: &'static str,
    name: &'static str,
    summary: &'static str,
    access: Access,
) -> Route {
    Route::new(method, path, name, summary).tagged("auth").access(access).answers(200, AS_SUPABASE)
}

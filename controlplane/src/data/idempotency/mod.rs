//! `Idempotency-Key`: a write that is sent again happens once, and gets the same answer.
//!
//! The answer is kept in the transaction of the write itself, so there is never one without the other. A key is bound to the
//! tenant (by row security), to the caller, to the route and to what is asked. The answer is kept as it was read: it is for whoever has the
//! same roles, under the same versions of the apps, and nobody else could read it rightly.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::sql::Kept;
use crate::{
    auth::{Caller, Scope},
    error::{ApiError, Code, FieldError},
};

/// The header with the caller's key.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of an answer that was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters of a key at most.
const MAX_LEN: usize = 255;

/// A key of a caller, bound to what it was sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    id: String,
    asked: String,
}

impl Key {
    /// The key of a request, if it has one; `route` is its method and what it is about, `content` what it says.
    ///
    /// # Errors
    /// 400 for one that cannot be used.
    pub fn of(
        headers: &HeaderMap,
        scope: &Scope,
        route: &str,
        content: &[u8],
    ) -> Result<Option<Self>, ApiError> {
        let mut values = headers.get_all(&KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let fit = value.to_str().ok().map(str::trim).filter(|key| (1..=MAX_LEN).contains(&key.len()));
        let (Some(key), None) = (fit, values.next()) else {
            return Err(ApiError::bad_request("the header cannot be used").with_errors(vec![FieldError {
                pointer: KEY.to_string(),
                message: format!("send one key of 1 to {MAX_LEN} visible characters"),
            }]));
        };
        let of = |name: &str| headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        let sight = sight(scope);
        // All that decides what is written and how the answer looks.
        let mut asked = vec![of("if-match"), of("prefer"), of("accept"), of("content-type"), content];
        asked.extend(sight.iter().map(String::as_bytes));
        // A body can hold a secret of few digits, which a plain digest would give away.
        let asked = scope.tenant.home.vault()?.digest(&asked);
        let id = digest(&[scope.caller.user.as_bytes(), route.as_bytes(), key.as_bytes()]);
        Ok(Some(Self { id, asked }))
    }

    /// The digest of the caller, the route and the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How the answer with this number is kept.
    pub fn part(&self, part: usize) -> Kept<'_> {
        Kept { id: &self.id, asked: &self.asked, part }
    }

    /// Refuses an answer to something else.
    ///
    /// # Errors
    /// 422.
    pub fn check(&self, asked: Option<&str>) -> Result<(), ApiError> {
        if asked == Some(self.asked.as_str()) {
            return Ok(());
        }
        Err(ApiError::new(
            Code::IdempotencyMismatch,
            "this Idempotency-Key was used for another request, with other roles, or under another version of an app",
        )
        .hint("use a new key for a new request; to see what became of the first one, read what it wrote"))
    }
}

/// What decides what a caller sees of an answer: the roles, and the versions of the apps.
fn sight(scope: &Scope) -> Vec<String> {
    let caller = &scope.caller;
    let mut roles: Vec<String> =
        caller.roles.iter().map(|role| format!("{}:{}", role.app, role.role)).collect();
    roles.extend(caller.admin.then(|| Caller::ADMIN.to_owned()));
    roles.sort_unstable();
    let mut versions: Vec<String> =
        scope.tenant.apps.all().map(|app| format!("{} {}", app.name, app.version)).collect();
    versions.sort_unstable();
    [roles, versions].concat()
}

/// A request with the same key is still on its way.
pub fn running() -> ApiError {
    ApiError::new(Code::IdempotencyRunning, "a request with this Idempotency-Key is still on its way")
        .retry_after(1)
        .hint("send it again in a moment to get its answer")
}

/// Keeps the parts apart by their length.
fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

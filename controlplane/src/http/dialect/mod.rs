//! Refusals in the words of those who asked: one place around all layers, so that nothing refuses in another dialect.
//!
//! Whoever refuses answers with a problem document and leaves the error in the answer's extensions ([`MadeOf`]). On paths of
//! [`postgrest`] and [`gotrue`] the edge writes it again as their clients read it.

mod gotrue;
mod postgrest;
#[cfg(test)]
mod tests;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::Value;

use crate::error::{Facts, MadeOf};

/// Whose clients a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EdgeDialect {
    /// Ours: problem documents.
    Own,
    /// `/rest/v1`, as PostgREST.
    PostgRest {
        /// A function is called, of which there are none.
        function: bool,
    },
    /// `/auth/v1`, as GoTrue.
    GoTrue,
}

/// A refusal in a dialect.
struct Told {
    status: StatusCode,
    body: Value,
    /// `WWW-Authenticate`, where the dialect has it.
    challenge: Option<HeaderValue>,
}

impl EdgeDialect {
    /// The dialect of a path, whether or not there is such a route.
    pub(super) fn of(path: &str) -> Self {
        let under =
            |prefix: &str| path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(rest) = under("/rest/v1") {
            Self::PostgRest { function: rest.starts_with("/rpc/") }
        } else if under("/auth/v1").is_some() {
            Self::GoTrue
        } else {
            Self::Own
        }
    }

    /// The answer as the dialect gives it.
    pub(super) fn tell(self, mut response: Response) -> Response {
        if self == Self::GoTrue {
            response.headers_mut().insert(gotrue::VERSION.0, gotrue::VERSION.1);
        }
        match response.extensions_mut().remove::<MadeOf>().and_then(|made| self.told(&made.0.facts())) {
            Some(told) => rewritten(response, told),
            None => response,
        }
    }

    fn told(self, facts: &Facts<'_>) -> Option<Told> {
        match self {
            Self::Own => None,
            Self::PostgRest { function } => Some(postgrest::told(facts, function)),
            Self::GoTrue => Some(gotrue::told(facts)),
        }
    }
}

/// All else that the answer says stays: when to come back, which methods there are, which pages may read it.
fn rewritten(mut response: Response, told: Told) -> Response {
    *response.status_mut() = told.status;
    *response.body_mut() = Body::from(told.body.to_string());
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    match told.challenge {
        Some(challenge) => headers.insert(header::WWW_AUTHENTICATE, challenge),
        None => headers.remove(header::WWW_AUTHENTICATE),
    };
    response
}

//! Extractors whose refusals are problem documents.

use axum::{
    body::{Bytes, HttpBody},
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::{
    auth::RequestInfo,
    error::{ApiError, Code},
};

/// A JSON body.
#[derive(Debug, Clone)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Ok(Self(json(request, state, |_| Ok(())).await?))
    }
}

/// A JSON body that passes `check` before it is read.
///
/// # Errors
/// When it does not pass, or is not what is expected.
pub async fn json<T: DeserializeOwned, S: Send + Sync>(
    request: Request,
    state: &S,
    check: impl FnOnce(&[u8]) -> Result<(), ApiError>,
) -> Result<T, ApiError> {
    let (parts, body) = request.into_parts();
    let body = Content::from_request(Request::from_parts(parts.clone(), body), state).await?.0;
    check(&body)?;
    Ok(axum::Json::from_request(Request::from_parts(parts, body.into()), state).await?.0)
}

/// A body of any kind, as it came.
#[derive(Debug, Clone)]
pub struct Content(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Content {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json = kind.is_some_and(|kind| kind.contains("json"));
        let load =
            request.extensions().get::<RequestInfo>().map(|info| info.load.clone()).unwrap_or_default();
        let held = load.hold_body(request.body().size_hint().upper())?;
        let body =
            Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    ApiError::new(Code::PayloadTooLarge, "the body is too large")
                }
                _ => ApiError::bad_request("the body broke off"),
            })?;
        load.release(held.saturating_sub(body.len()));
        if is_json {
            let found = Nesting::of(&body);
            if found.depth > MAX_DEPTH {
                let detail = format!("the body is nested deeper than {MAX_DEPTH} levels");
                return Err(ApiError::bad_request(detail));
            }
            load.hold(found.values.saturating_mul(VALUE_BYTES))?;
        }
        Ok(Self(body))
    }
}

/// Levels of lists and objects in a body.
const MAX_DEPTH: usize = 64;

/// Memory that a value takes when a body is read, beside its text: in a list that grows, or with its name in an object.
const VALUE_BYTES: usize = 64;

/// What a body of JSON will take when it is read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Nesting {
    /// Levels of lists and objects.
    depth: usize,
    /// Values, about.
    values: usize,
}

impl Nesting {
    /// Brackets and commas in texts do not count.
    fn of(json: &[u8]) -> Self {
        let (mut depth, mut found, mut in_text, mut escaped) = (0_usize, Self::default(), false, false);
        for byte in json {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                b'{' | b'[' if !in_text => {
                    depth += 1;
                    found.values += 1;
                    found.depth = found.depth.max(depth);
                }
                b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
                b',' if !in_text => found.values += 1,
                _ => {}
            }
        }
        found
    }
}

/// The query.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(axum::extract::Query::from_request_parts(parts, state).await?.0))
    }
}

/// The parameters of the path.
#[derive(Debug, Clone)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(axum::extract::Path::from_request_parts(parts, state).await?.0))
    }
}

#[cfg(test)]
mod tests {
    use super::Nesting;

    #[test]
    fn brackets_in_texts_are_no_levels_and_no_values() {
        let of = |json: &str| {
            let Nesting { depth, values } = Nesting::of(json.as_bytes());
            (depth, values)
        };
        assert_eq!(of("1"), (0, 0));
        assert_eq!(of(r#"{"a": [1, {"b": 2}], "c": []}"#), (3, 6));
        assert_eq!(of(r#"{"a": "[[[\"[,["}"#), (1, 1));
        assert_eq!(of("]]]["), (1, 1));
    }
}

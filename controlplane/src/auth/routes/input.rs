//! Bodies of the routes of sign-in. What is in them ends up in the database, which has no NUL in its texts.

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    error::{ApiError, FieldError},
    http,
};

/// A JSON body whose texts can be stored.
#[derive(Debug, Clone)]
pub(super) struct Input<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Ok(Self(http::json(request, state, storable).await?))
    }
}

/// # Errors
/// When a text or a name in the body has a NUL in it: where it is.
fn storable(body: &[u8]) -> Result<(), ApiError> {
    const NUL: &[u8] = br"\u0000";
    if !body.windows(NUL.len()).any(|window| window == NUL) {
        return Ok(());
    }
    // What is no JSON is refused for that, behind this.
    let found = serde_json::from_slice(body).ok().and_then(|body| nul_in(&body));
    match found {
        None => Ok(()),
        Some(pointer) => {
            let message = "has the character NUL in it, which cannot be stored".to_owned();
            let detail = format!("{} {message}", pointer.trim_start_matches('/'));
            Err(ApiError::bad_request(detail)
                .with_errors(vec![FieldError { pointer, message }])
                .hint("send it without \\u0000"))
        }
    }
}

/// Where the first NUL is.
fn nul_in(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(n, item)| Some(format!("/{n}{}", nul_in(item)?)))
        }
        Value::Object(members) => members.iter().find_map(|(name, member)| match name.contains('\0') {
            // The name itself cannot be shown; it is one of the object's.
            true => Some(String::new()),
            false => Some(format!("/{name}{}", nul_in(member)?)),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_refused_by_the_name_of_its_field() {
        let refused = |body: &str| storable(body.as_bytes()).map_err(|error| error.facts().details);
        assert_eq!(refused(r#"{"email": "a@b.example", "metadata": {"path": "C:\\u0000"}}"#), Ok(()));
        let at = |pointer: &str| {
            Err(Some(match pointer {
                "" => "has the character NUL in it, which cannot be stored".to_owned(),
                _ => format!("{pointer}: has the character NUL in it, which cannot be stored"),
            }))
        };
        assert_eq!(refused(r#"{"email": "a\u0000@b.example"}"#), at("/email"));
        assert_eq!(refused(r#"{"metadata": {"a": ["x", "\u0000"]}}"#), at("/metadata/a/1"));
        assert_eq!(refused(r#"{"metadata": {"\u0000": 1}}"#), at("/metadata"));
        assert_eq!(refused(r#"{"\u0000": 1}"#), at(""));
    }
}

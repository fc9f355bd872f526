//! `If-Match` and `If-None-Match`. A document's entity tag is its version in quotes.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::sql::Version;
use crate::error::ApiError;

/// Tags in one header at most.
const MAX_TAGS: usize = 20;

/// The entity tag of a document at `version`.
pub fn entity_tag(version: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{version}\"")).ok()
}

/// Which versions `If-Match` admits. A tag that no version has admits none.
///
/// # Errors
/// 400 when the header cannot be read.
pub fn if_match(headers: &HeaderMap) -> Result<Version, ApiError> {
    Ok(match tags(headers, &header::IF_MATCH)? {
        None => Version::Any,
        Some(tags) if tags.contains(&"*") => Version::Any,
        Some(tags) => Version::OneOf(tags.into_iter().filter_map(version).collect()),
    })
}

/// Whether `If-None-Match` says that the caller has this version.
///
/// # Errors
/// 400 when the header cannot be read.
pub fn is_known(headers: &HeaderMap, current: &str) -> Result<bool, ApiError> {
    let tags = tags(headers, &header::IF_NONE_MATCH)?.unwrap_or_default();
    Ok(tags.iter().any(|tag| *tag == "*" || opaque(tag) == Some(current)))
}

fn tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<Vec<&'a str>>, ApiError> {
    let malformed =
        || ApiError::bad_request(format!("{name}: write \"VERSION\", as an answer's ETag has it"));
    let Some(value) = headers.get(name) else { return Ok(None) };
    let tags: Vec<&str> = value.to_str().map_err(|_| malformed())?.split(',').map(str::trim).collect();
    let readable = tags.len() <= MAX_TAGS && tags.iter().all(|tag| *tag == "*" || opaque(tag).is_some());
    if readable { Ok(Some(tags)) } else { Err(malformed()) }
}

/// What stands between the quotes; a weak tag compares as a strong one, since a version says all about a document.
fn opaque(tag: &str) -> Option<&str> {
    tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')
}

fn version(tag: &str) -> Option<i64> {
    opaque(tag)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn if_match_admits_the_versions_that_it_names() {
        let admits = |value| if_match(&headers(header::IF_MATCH, value));
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), Version::Any);
        assert_eq!(admits("*").unwrap(), Version::Any);
        assert_eq!(admits("\"3\", W/\"4\"").unwrap(), Version::OneOf(vec![3, 4]));
        assert_eq!(admits("\"no-version\"").unwrap(), Version::OneOf(vec![]));
        for wrong in ["3", "\"3", "", "\"3\","] {
            assert!(admits(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn if_none_match_knows_the_current_version() {
        let known = |value| is_known(&headers(header::IF_NONE_MATCH, value), "7").unwrap();
        assert!(known("\"7\"") && known("W/\"7\"") && known("\"6\", \"7\"") && known("*"));
        assert!(!known("\"6\""));
        assert!(!is_known(&HeaderMap::new(), "7").unwrap());
    }
}

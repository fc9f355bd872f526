//! `Range` and `Content-Range` in items. Pure.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::error::{ApiError, Code};

/// The items that `Range: FROM-TO` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Items left out before the first one.
    pub offset: u32,
    /// Items at most.
    pub limit: Option<u32>,
}

impl Range {
    /// Reads `Range`, unless it counts something other than items.
    ///
    /// # Errors
    /// 416 when it ends before it begins.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        if headers.get("range-unit").is_some_and(|unit| unit != "items") {
            return Ok(None);
        }
        let Some(text) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
            return Ok(None);
        };
        let text = text.strip_prefix("items=").unwrap_or(text);
        let Some((from, to)) = text.split_once('-') else { return Ok(None) };
        let Ok(offset) = from.parse() else { return Ok(None) };
        match to {
            "" => Ok(Some(Self { offset, limit: None })),
            to => match to.parse::<u32>() {
                Err(_) => Ok(None),
                Ok(to) if to < offset => Err(unsatisfiable("the range ends before it begins")),
                Ok(to) => Ok(Some(Self { offset, limit: Some((to - offset).saturating_add(1)) })),
            },
        }
    }
}

fn unsatisfiable(detail: impl Into<String>) -> ApiError {
    ApiError::new(Code::RangeNotSatisfiable, "Requested range not satisfiable")
        .hint(detail)
        .known_as("PGRST103")
}

/// `Content-Range` of `shown` items from `offset`, of all that there are.
pub fn content_range(offset: u32, shown: usize, total: Option<u64>) -> Option<HeaderValue> {
    let total = total.map_or("*".to_owned(), |total| total.to_string());
    let range = match shown {
        0 => format!("*/{total}"),
        _ => format!("{offset}-{}/{total}", u64::from(offset) + shown as u64 - 1),
    };
    HeaderValue::try_from(range).ok()
}

/// 206 for some of the items, 200 for all of them or when nobody counted.
///
/// # Errors
/// 416 when the items begin beyond all that there are.
pub fn status(offset: u32, shown: usize, total: Option<u64>) -> Result<StatusCode, ApiError> {
    match total {
        Some(total) if u64::from(offset) > total => Err(unsatisfiable(format!(
            "An offset of {offset} was requested, but there are only {total} rows."
        ))),
        Some(total) if (shown as u64) < total => Ok(StatusCode::PARTIAL_CONTENT),
        _ => Ok(StatusCode::OK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(range: &'static str) -> Option<(u32, Option<u32>)> {
        let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(range))]);
        Range::read(&headers).unwrap().map(|range| (range.offset, range.limit))
    }

    #[test]
    fn a_range_counts_items() {
        assert_eq!(read("0-9"), Some((0, Some(10))));
        assert_eq!(read("items=5-5"), Some((5, Some(1))));
        assert_eq!(read("10-"), Some((10, None)));
        for other in ["bytes=0-9", "x", "-5", "5-x"] {
            assert_eq!(read(other), None, "{other}");
        }
        let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static("9-0"))]);
        assert!(Range::read(&headers).is_err());
    }

    #[test]
    fn what_is_shown_is_said() {
        assert_eq!(content_range(0, 10, Some(30)).unwrap(), "0-9/30");
        assert_eq!(content_range(7, 3, None).unwrap(), "7-9/*");
        assert_eq!(content_range(0, 0, Some(0)).unwrap(), "*/0");
        assert_eq!(status(0, 10, Some(30)).unwrap(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(status(0, 30, Some(30)).unwrap(), StatusCode::OK);
        assert_eq!(status(0, 10, None).unwrap(), StatusCode::OK);
        assert!(status(31, 0, Some(30)).is_err());
    }
}

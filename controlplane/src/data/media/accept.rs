//! What `Accept` asks for.

use axum::http::{HeaderMap, header};

use crate::error::{ApiError, Code};

/// How documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json {
        /// The documents.
        shape: Shape,
        /// Whether members that are NULL are left out.
        strip_nulls: bool,
    },
    /// CSV, its first line the names.
    Csv,
    /// A document of JSON on each line.
    Lines,
}

/// How JSON holds documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As the route usually does.
    Usual,
    /// As an array.
    Array,
    /// As one object; there must be exactly one.
    Object,
}

impl Format {
    /// The first kind in `Accept` that there is; JSON when the header is absent.
    ///
    /// # Errors
    /// 406 when there is none of them.
    pub fn accepted(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut values = headers.get_all(header::ACCEPT).iter().peekable();
        if values.peek().is_none() {
            return Ok(Self::Json { shape: Shape::Usual, strip_nulls: false });
        }
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .find_map(Self::parse)
            .ok_or_else(|| {
                ApiError::new(Code::NotAcceptable, "documents cannot be written in a kind that Accept names")
                    .hint(
                        "accept application/json, application/vnd.pgrst.object+json, text/csv or application/x-ndjson",
                    )
                    .known_as("PGRST107")
            })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let shape = match parts.next()?.to_ascii_lowercase().as_str() {
            "*/*" | "application/*" | "application/json" => Shape::Usual,
            "application/vnd.pgrst.array" | "application/vnd.pgrst.array+json" => Shape::Array,
            "application/vnd.pgrst.object" | "application/vnd.pgrst.object+json" => Shape::Object,
            "text/csv" | "text/*" => return Some(Self::Csv),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => return Some(Self::Lines),
            _ => return None,
        };
        Some(Self::Json { shape, strip_nulls: parts.any(|part| part == "nulls=stripped") })
    }

    /// Whether there must be exactly one document.
    pub fn is_object(self) -> bool {
        matches!(self, Self::Json { shape: Shape::Object, .. })
    }

    /// Whether members that are NULL are left out.
    pub fn strips_nulls(self) -> bool {
        matches!(self, Self::Json { strip_nulls: true, .. })
    }

    /// The content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json { shape: Shape::Usual, .. } => "application/json",
            Self::Json { shape: Shape::Array, .. } => "application/vnd.pgrst.array+json",
            Self::Json { shape: Shape::Object, .. } => "application/vnd.pgrst.object+json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Lines => "application/x-ndjson",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn accepted(accept: &'static str) -> Result<Format, Code> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
        Format::accepted(&headers).map_err(|error| error.code())
    }

    #[test]
    fn the_first_kind_that_there_is_wins() {
        let json = |shape, strip_nulls| Ok(Format::Json { shape, strip_nulls });
        assert_eq!(accepted("application/json"), json(Shape::Usual, false));
        assert_eq!(accepted("application/geo+json, */*;q=0.1"), json(Shape::Usual, false));
        assert_eq!(accepted("application/vnd.pgrst.object+json"), json(Shape::Object, false));
        assert_eq!(accepted("application/vnd.pgrst.array+json;nulls=stripped"), json(Shape::Array, true));
        assert_eq!(accepted("text/csv"), Ok(Format::Csv));
        assert_eq!(accepted("application/x-ndjson"), Ok(Format::Lines));
        assert_eq!(accepted("image/png"), Err(Code::NotAcceptable));
    }
}

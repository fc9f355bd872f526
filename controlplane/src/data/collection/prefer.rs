//! `Prefer` (RFC 7240), with PostgREST's words. Pure.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::ApiError;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What a request prefers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Preferences {
    /// How documents are counted.
    pub count: Option<Count>,
    /// What a write answers.
    pub answer: Option<Return>,
    /// What becomes of a new document that is there already.
    pub resolution: Option<Resolution>,
    /// What members are that a document lacks.
    pub missing: Option<Missing>,
    /// Whether a preference that is not known is an error.
    pub handling: Option<Handling>,
    /// Documents that a write may touch at most; heeded when handling is strict.
    pub max_affected: Option<u32>,
}

/// How documents are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Each of them.
    Exact,
    /// As the server's planner thinks.
    Planned,
    /// Each of them as long as they are few, then as the planner thinks.
    Estimated,
}

/// What a write answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// The documents.
    Representation,
    /// Nothing.
    Minimal,
    /// Nothing but where the document is.
    HeadersOnly,
}

/// What becomes of a new document that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The one that is there gets its values.
    MergeDuplicates,
    /// The one that is there stays.
    IgnoreDuplicates,
}

/// What members are that a document lacks and another of the same request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The field's default.
    Default,
    /// NULL.
    Null,
}

/// Whether a preference that is not known is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// It is.
    Strict,
    /// It is not.
    Lenient,
}

impl Preferences {
    /// Reads all `Prefer` headers. Of a preference that stands twice the first counts, as the RFC wants it.
    ///
    /// # Errors
    /// 400 for one that is not known, when handling is strict.
    pub fn read(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut preferences = Self::default();
        let mut unknown = Vec::new();
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        for word in values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty()) {
            if !preferences.add(word) {
                unknown.push(word.chars().take(60).collect::<String>());
            }
        }
        if preferences.handling == Some(Handling::Strict) && !unknown.is_empty() {
            return Err(ApiError::bad_request(format!(
                "these preferences are not known: {}",
                unknown.join(", ")
            ))
            .hint("leave them out, or prefer handling=lenient")
            .known_as("PGRST122"));
        }
        Ok(preferences)
    }

    fn add(&mut self, word: &str) -> bool {
        fn first<T>(place: &mut Option<T>, value: T) {
            place.get_or_insert(value);
        }
        match word {
            "count=exact" => first(&mut self.count, Count::Exact),
            "count=planned" => first(&mut self.count, Count::Planned),
            "count=estimated" => first(&mut self.count, Count::Estimated),
            "return=representation" => first(&mut self.answer, Return::Representation),
            "return=minimal" => first(&mut self.answer, Return::Minimal),
            "return=headers-only" => first(&mut self.answer, Return::HeadersOnly),
            "resolution=merge-duplicates" => first(&mut self.resolution, Resolution::MergeDuplicates),
            "resolution=ignore-duplicates" => first(&mut self.resolution, Resolution::IgnoreDuplicates),
            "missing=default" => first(&mut self.missing, Missing::Default),
            "missing=null" => first(&mut self.missing, Missing::Null),
            "handling=strict" => first(&mut self.handling, Handling::Strict),
            "handling=lenient" => first(&mut self.handling, Handling::Lenient),
            other => match other.strip_prefix("max-affected=").and_then(|n| n.parse().ok()) {
                Some(most) => first(&mut self.max_affected, most),
                None => return false,
            },
        }
        true
    }

    /// Documents that a write may touch at most, if the request bounds them.
    pub fn bound(&self) -> Option<u32> {
        self.max_affected.filter(|_| self.handling == Some(Handling::Strict))
    }

    /// `Preference-Applied`: those of the given ones that mean something to this request.
    pub fn applied(&self, of: Applies) -> Option<HeaderValue> {
        let mut words: Vec<String> = Vec::new();
        let mut add = |word: Option<&str>| words.extend(word.map(str::to_owned));
        let write = of != Applies::Read;
        add(self.handling.map(|handling| match handling {
            Handling::Strict => "handling=strict",
            Handling::Lenient => "handling=lenient",
        }));
        add(self.resolution.filter(|_| of == Applies::Store).map(|resolution| match resolution {
            Resolution::MergeDuplicates => "resolution=merge-duplicates",
            Resolution::IgnoreDuplicates => "resolution=ignore-duplicates",
        }));
        add(self.missing.filter(|_| of == Applies::Store).map(|missing| match missing {
            Missing::Default => "missing=default",
            Missing::Null => "missing=null",
        }));
        add(self.answer.filter(|_| write).map(|answer| match answer {
            Return::Representation => "return=representation",
            Return::Minimal => "return=minimal",
            Return::HeadersOnly => "return=headers-only",
        }));
        add(self.count.map(|count| match count {
            Count::Exact => "count=exact",
            Count::Planned => "count=planned",
            Count::Estimated => "count=estimated",
        }));
        words.extend(
            self.bound().filter(|_| of == Applies::Change).map(|most| format!("max-affected={most}")),
        );
        if words.is_empty() { None } else { HeaderValue::try_from(words.join(", ")).ok() }
    }
}

/// What a request does, as far as preferences care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// It reads.
    Read,
    /// It stores new documents.
    Store,
    /// It changes or deletes documents.
    Change,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Result<Preferences, ApiError> {
        Preferences::read(&values.iter().map(|value| (PREFER, HeaderValue::from_static(value))).collect())
    }

    #[test]
    fn preferences_come_in_one_header_or_more() {
        let read =
            read(&["count=exact, return=minimal", "resolution=merge-duplicates,return=representation"]);
        let preferences = read.unwrap();
        assert_eq!(preferences.count, Some(Count::Exact));
        assert_eq!(preferences.answer, Some(Return::Minimal));
        let applied = preferences.applied(Applies::Store).unwrap();
        assert_eq!(applied, "resolution=merge-duplicates, return=minimal, count=exact");
        assert_eq!(preferences.applied(Applies::Read).unwrap(), "count=exact");
    }

    #[test]
    fn unknown_ones_are_refused_only_when_that_is_asked_for() {
        assert_eq!(read(&["tx=rollback"]).unwrap(), Preferences::default());
        assert!(read(&["handling=strict", "tx=rollback"]).is_err());
        assert_eq!(read(&["max-affected=5"]).unwrap().bound(), None);
        assert_eq!(read(&["handling=strict, max-affected=5"]).unwrap().bound(), Some(5));
    }
}

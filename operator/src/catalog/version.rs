//! Versions in the order of semantic versioning.

use std::{cmp::Ordering, fmt, sync::Arc};

/// A version as it stands in an App. Ordered as semantic versioning says: a pre-release comes before its release.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(Arc<str>);

impl Version {
    /// Takes a version; the CRD's schema has checked its form.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (impl Iterator<Item = &str>, Option<&str>) {
        let (release, pre) = match self.0.split_once('-') {
            Some((release, pre)) => (release, Some(pre)),
            None => (&*self.0, None),
        };
        (release.split('.'), pre)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((mine, my_pre), (theirs, their_pre)) = (self.parts(), other.parts());
        mine.map(Part)
            .cmp(theirs.map(Part))
            .then_with(|| match (my_pre, their_pre) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(mine), Some(theirs)) => mine.split('.').map(Part).cmp(theirs.split('.').map(Part)),
            })
            // `1.0` and `01.0` are of equal rank, yet not the same version.
            .then_with(|| self.0.cmp(&other.0))
    }
}

/// A number, compared as one however long it is, or an identifier, which comes after any number.
#[derive(PartialEq, Eq)]
struct Part<'a>(&'a str);

impl Ord for Part<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let number = |part: &Self| part.0.bytes().all(|b| b.is_ascii_digit());
        match (number(self), number(other)) {
            (true, true) => {
                let (mine, theirs) = (self.0.trim_start_matches('0'), other.0.trim_start_matches('0'));
                mine.len().cmp(&theirs.len()).then_with(|| mine.cmp(theirs))
            }
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => self.0.cmp(other.0),
        }
    }
}

impl PartialOrd for Part<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_semantic_versioning() {
        let ordered = [
            "0.9.0",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0",
            "1.0.1",
            "1.2.0",
            "1.10.0",
            "99999999999999999999.0.0",
        ];
        let mut versions: Vec<_> = ordered.iter().rev().map(|text| Version::new(text)).collect();
        versions.sort();
        assert_eq!(versions.iter().map(Version::as_str).collect::<Vec<_>>(), ordered);
    }
}

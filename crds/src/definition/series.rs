//! The pattern of a naming series.

/// A prefix and a number of at least `digits` digits, as in `SO-.#####`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesPattern {
    /// What stands before the number.
    pub prefix: String,
    /// The number is filled up with zeros to this many digits; a longer number stays whole.
    pub digits: usize,
}

impl SeriesPattern {
    /// Reads `prefix.###`; nothing for any other shape.
    pub fn parse(pattern: &str) -> Option<Self> {
        let (prefix, hashes) = pattern.split_once('.')?;
        let shaped = prefix.len() <= 20
            && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            && (1..=12).contains(&hashes.len())
            && hashes.bytes().all(|b| b == b'#');
        shaped.then(|| Self { prefix: prefix.to_owned(), digits: hashes.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_prefix_and_digits() {
        assert_eq!(
            SeriesPattern::parse("SO-.#####"),
            Some(SeriesPattern { prefix: "SO-".into(), digits: 5 })
        );
        assert_eq!(SeriesPattern::parse(".#"), Some(SeriesPattern { prefix: String::new(), digits: 1 }));
        for wrong in ["SO-", "SO-.", "SO-.##a", "a'.#", "SO-.#.#"] {
            assert_eq!(SeriesPattern::parse(wrong), None, "{wrong}");
        }
    }
}

//! The form in which a password is hashed. Pure.
//!
//! Keyboards write one character in several ways, so what looks the same on two machines need not be the same bytes. RFC 8265 (OpaqueString)
//! says which form counts: spaces of every kind are the plain one, and letters are composed.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// A password that somebody shows or chooses. It is never printed.
#[derive(Clone)]
pub(in crate::auth) struct Password {
    sent: String,
    /// Where it is another text than what was sent.
    prepared: Option<String>,
}

impl Password {
    pub fn new(sent: String) -> Self {
        let spaced: Cow<'_, str> = match sent.contains(is_other_space) {
            true => sent.replace(is_other_space, " ").into(),
            false => sent.as_str().into(),
        };
        let prepared: String = spaced.nfc().collect();
        let prepared = (prepared != sent).then_some(prepared);
        Self { sent, prepared }
    }

    /// What is hashed.
    pub fn prepared(&self) -> &str {
        self.prepared.as_deref().unwrap_or(&self.sent)
    }

    /// What was sent, where that is another text: hashes from before this form, and from elsewhere, may be of it.
    pub fn as_sent(&self) -> Option<&str> {
        self.prepared.is_some().then_some(self.sent.as_str())
    }
}

/// Spaces (category Zs) beside the one of ASCII.
fn is_other_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_is_hashed_the_same() {
        for (sent, prepared) in [
            ("émile Paris 2026 x", "émile Paris 2026 x"),
            ("e\u{301}mile Paris 2026 x", "émile Paris 2026 x"),
            ("émile\u{a0}Paris\u{3000}2026\u{2003}x", "émile Paris 2026 x"),
        ] {
            let password = Password::new(sent.to_owned());
            assert_eq!(password.prepared(), prepared);
            assert_eq!(password.as_sent(), (sent != prepared).then_some(sent));
        }
        // Capitals, and letters that only look alike, are what they are.
        assert_ne!(Password::new("Émile".into()).prepared(), Password::new("émile".into()).prepared());
        assert_ne!(Password::new("ﬁne".into()).prepared(), "fine");
    }
}

//! E-mail addresses: their grammar, and the one form in which two of them are the same. Pure.
//!
//! Whatever writes or looks for an account's address goes through [`canonical`]: documents, sign-up, invitations, changes, sign-in,
//! the count of attempts, one-time tokens. What was written is kept beside it, since e-mail goes there: a mailbox may tell capitals
//! apart, even if we do not.

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

/// The longest address, by RFC 5321.
const MAX_BYTES: usize = 254;
/// Longer texts are no address in any form.
const LOOKED_AT: usize = 4 * MAX_BYTES;

/// An address that an account may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Who it is.
    pub canonical: String,
    /// How it was written, where that is another text.
    pub written: Option<String>,
}

impl Address {
    /// # Errors
    /// What is wrong with `text`.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let (written, canonical) = (text.trim(), canonical(text));
        check(&canonical)?;
        let written = (written != canonical).then(|| written.to_owned());
        Ok(Self { canonical, written })
    }

    /// Where e-mail goes.
    pub fn mailbox(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.canonical)
    }
}

/// The one form of an address: trimmed, without a difference of case, composed. Empty for what no address can be.
pub fn canonical(text: &str) -> String {
    let text = text.trim();
    if text.len() > LOOKED_AT || text.contains('\0') {
        return String::new();
    }
    // Decomposed first: of some letters, only that has all parts folded.
    text.nfd().default_case_fold().nfc().collect()
}

/// Whether `text` is an address.
///
/// # Errors
/// What to write instead.
pub fn check(text: &str) -> Result<(), &'static str> {
    let plain = text.chars().all(|c| !c.is_whitespace() && !c.is_control());
    let shaped = text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && !domain.contains('@')
            && domain.contains('.')
            && domain.split('.').all(|label| !label.is_empty())
    });
    if plain && shaped && text.len() <= MAX_BYTES {
        Ok(())
    } else {
        Err("write an e-mail address, as ann@example.com")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_shape() {
        assert!(check("ann@example.com").is_ok());
        let long = format!("{}@example.com", "a".repeat(MAX_BYTES));
        for wrong in [
            "",
            "ann",
            "ann@",
            "@example.com",
            "a b@example.com",
            "a@b@c.de",
            "ann@localhost",
            "a@.com",
            "ann@x..example",
            "ann@x.example.",
            "a\0nn@x.example",
            &long,
        ] {
            assert!(check(wrong).is_err() && Address::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_person_has_one_form() {
        for (form, ways) in [
            ("bob@acme.example", ["Bob@Acme.Example", " bob@acme.example\n", "BOB@ACME.EXAMPLE"]),
            ("émile@x.example", ["E\u{301}mile@x.example", "Émile@X.Example", "e\u{301}MILE@x.example"]),
            ("strasse@x.example", ["Straße@x.example", "STRASSE@x.example", "STRA\u{1e9e}E@x.example"]),
            ("οδοσ@x.example", ["ΟΔΟΣ@x.example", "οδος@x.example", "οδοσ@X.example"]),
        ] {
            for way in ways {
                assert_eq!(canonical(way), form, "{way:?}");
            }
        }
        assert_ne!(canonical("anna@x.example"), canonical("ann@x.example"));
        assert_eq!(canonical("a\0@x.example"), "");
    }

    #[test]
    fn what_was_written_is_kept_where_it_says_more() {
        let bob = Address::new(" Bob@Acme.Example ").unwrap();
        assert_eq!((bob.canonical.as_str(), bob.mailbox()), ("bob@acme.example", "Bob@Acme.Example"));
        assert_eq!(Address::new("bob@acme.example").unwrap().written, None);
    }

    #[test]
    fn the_form_of_a_form_is_the_same() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let once = canonical(&format!("a{c}\u{345}b@x.example"));
            assert_eq!(canonical(&once), once, "{c:?}");
        }
    }
}
